"""Looking things up in what a server lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drawthings_mcp.catalog import Catalog, Model, ServerInventory, Upscaler, accepts_lora, find_entry
from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.planning.lookup import get_model
from drawthings_mcp.planning.selection import select_model
from drawthings_mcp.presets.collection import PresetCollection
from drawthings_mcp.presets.mode_table import match_family


def test_entries_are_found_by_file_and_by_name_without_regard_to_case(catalog: Catalog) -> None:
    assert catalog.get_control("CONTROLNET_TILE_1.x_v1.1_f16").modifier == "tile"
    assert catalog.get_upscaler("remacri").scale_factor == 4
    assert catalog.get_embedding("action helper").keyword == "actionhelper"


def test_an_embedding_is_also_found_by_its_keyword(catalog: Catalog) -> None:
    assert catalog.get_embedding("ActionHelper").file == "actionhelper_ti_f16.ckpt"


def test_what_is_not_there_is_refused_with_the_nearest(catalog: Catalog) -> None:
    with pytest.raises(
        UnknownNameError, match=r"There is no control 'canny sdxl' on the server\. Name one of the nearest: "
    ):
        catalog.get_control("canny sdxl")
    with pytest.raises(
        UnknownNameError, match=r"There is no upscaler 'ultrasharp' on the server\. Name one of the nearest: "
    ):
        catalog.get_upscaler("ultrasharp")
    with pytest.raises(UnknownNameError, match="There is no embedding 'helper'"):
        catalog.get_embedding("helper")


def test_finding_says_nothing_instead_of_refusing(catalog: Catalog) -> None:
    assert catalog.find_model("Z Image Turbo 1.0") == catalog.get_model("z_image_turbo_1.0_q8p.ckpt")
    assert catalog.find_model("no") is None


@pytest.mark.parametrize("name", ["4x UltraSharp", "4xultrasharp", "4X-Ultra_Sharp", "4x ultrasharp f16"])
def test_punctuation_and_case_do_not_count(catalog: Catalog, name: str) -> None:
    assert catalog.get_upscaler(name).file == "4x_ultrasharp_f16.ckpt"


def test_a_name_without_punctuation_that_two_files_have_is_none(catalog: Catalog) -> None:
    twins = (Upscaler("a_b.ckpt", "A-B"), Upscaler("ab.ckpt", "A B"))
    assert find_entry(twins, "a/b") is None
    assert find_entry(twins, "a b") is twins[1]
    assert find_entry(twins, "--") is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("flux 2 klein", "flux_2_klein_9b_q6p.ckpt"),
        ("FLUX.2 klein 4b", "flux_2_klein_4b_q6p.ckpt"),
        ("z image turbo", "z_image_turbo_1.0_q8p.ckpt"),
        ("SDXL refiner", "sd_xl_refiner_1.0_f16.ckpt"),
        ("wan 2.1 t2v", "wan_v2.1_1.3b_480p_q8p.ckpt"),
    ],
)
def test_a_models_name_may_lack_size_precision_and_version(catalog: Catalog, name: str, file: str) -> None:
    assert get_model(ServerInventory(catalog), name).file == file


@pytest.mark.parametrize("name", ["flux dev", "turbo", "qwen image edit", "wan", "klein", "!"])
def test_a_name_that_means_several_versions_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(UnknownNameError, match="Name one of the nearest"):
        get_model(ServerInventory(catalog), name)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        *((name, "sdxl") for name in ("stable diffusion xl", "Stable-Diffusion XL 1.0", "SDXL base", "sdxl v1.0")),
        *((name, "sd15") for name in ("sd 1.5", "SD v1.5", "stable diffusion 1.5", "Stable Diffusion v1.5")),
        *((name, "") for name in ("stable diffusion", "sd", "sdxl turbo", "stable diffusion 3")),
    ],
)
def test_families_have_the_names_that_people_know(name: str, family: str) -> None:
    assert match_family(name) == family


def test_a_model_of_the_server_counts_before_another_name_of_a_family(catalog: Catalog) -> None:
    named = replace(catalog, models=(*catalog.models, Model("mine.ckpt", "SDXL Base", "sdxl_base_v0.9")))
    params = GenerateParams(prompt="a fox", model="sdxl base")
    assert select_model(params, ServerInventory(named), PresetCollection(())).model.file == "mine.ckpt"


def test_what_goes_with_a_model_has_its_version(catalog: Catalog) -> None:
    model = catalog.get_model("sd_v1.5_f16.ckpt")
    assert {lora.file for lora in catalog.compatible_loras(model)} == {
        "moxin_v1.0_lora_f16.ckpt",
        "analog_diffusion_v1_lora_f16.ckpt",
        "lcm_sd_v1.5_lora_f16.ckpt",
    }
    assert {control.version for control in catalog.compatible_controls(model)} == {"v1"}
    assert catalog.compatible_controls(catalog.get_model("z_image_turbo_1.0_q8p.ckpt")) == ()


def test_kandinsky_takes_loras_of_the_first_version_but_not_the_other_way_round() -> None:
    assert accepts_lora("kandinsky2.1", "v1")
    assert not accepts_lora("v1", "kandinsky2.1")
