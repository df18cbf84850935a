"""Looking things up in what a server lists."""

from __future__ import annotations

import pytest

from drawthings_mcp.catalog import Catalog, accepts_lora
from drawthings_mcp.errors import UnknownNameError


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
    assert catalog.find_lora("moxin_v1.0_lora_f16") is not None
    assert catalog.find_control("flux_1_redux_f16.ckpt") is not None
    assert (catalog.find_model("no"), catalog.find_lora("no"), catalog.find_control("no")) == (None, None, None)


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
