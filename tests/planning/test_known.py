"""The facts that ship with the package."""

from __future__ import annotations

import json

import pytest

from drawthings_mcp.catalog import Catalog
from drawthings_mcp.packaged import find_configs
from drawthings_mcp.planning.known import is_whole, load_known
from drawthings_mcp.presets.mode_table import list_recipes
from drawthings_mcp.simulator.catalog import parse_override

KNOWN = load_known()


def test_the_file_stays_small() -> None:
    assert len((find_configs() / "known_models.json").read_bytes()) < 250_000


def test_the_file_is_read_once() -> None:
    assert load_known() is KNOWN


def test_every_entry_is_of_a_known_version() -> None:
    for entries in (KNOWN.models, KNOWN.loras, KNOWN.controls):
        assert {entry.version for entry in entries.values()} <= KNOWN.versions.keys()


def test_every_modifier_of_a_known_model_fits_its_version() -> None:
    for model in KNOWN.models.values():
        fitting = KNOWN.modifier_versions.get(model.modifier)
        assert fitting is None or model.version in fitting, model.file


def test_what_counts_as_complete_has_all_keys_that_a_server_requires() -> None:
    kinds = (("models", KNOWN.models), ("loras", KNOWN.loras), ("controlNets", KNOWN.controls))
    complete = [(kind, entries[file]) for kind, entries in kinds for file in KNOWN.complete if file in entries]
    assert len(complete) == len(KNOWN.complete)
    for kind, entry in complete:
        assert is_whole(kind, entry.specification), entry.file
        assert "{file}" not in str(entry.specification)


def test_a_model_that_is_built_into_the_app_does_not_count_as_complete() -> None:
    for file in ("z_image_turbo_1.0_q6p.ckpt", "qwen_image_edit_2511_q6p.ckpt", "wan_v2.1_1.3b_vace_480p_q8p.ckpt"):
        assert file in KNOWN.models or file in KNOWN.controls
        assert file not in KNOWN.complete


def test_an_encoder_in_the_models_own_file_is_named_after_it() -> None:
    assert KNOWN.models["anima_turbo_1.0_q8p.ckpt"].specification["clip_encoder"] == "anima_turbo_1.0_q8p.ckpt"


def test_the_published_example_of_a_specification_is_reproduced() -> None:
    assert dict(KNOWN.models["flux_2_klein_9b_kv_q8p.ckpt"].specification) == {
        "name": "FLUX.2 [klein] 9B KV",
        "file": "flux_2_klein_9b_kv_q8p.ckpt",
        "prefix": "",
        "version": "flux2_9b",
        "upcast_attention": False,
        "default_scale": 16,
        "hires_fix_scale": 32,
        "modifier": "kontext_kv",
        "text_encoder": "qwen_3_8b_q8p.ckpt",
        "autoencoder": "flux_2_vae_f16.ckpt",
        "high_precision_autoencoder": False,
        "objective": {"u": {"condition_scale": 1000}},
        "padded_text_encoding_length": 512,
    }


def test_a_server_takes_every_complete_specification(catalog: Catalog) -> None:
    for kind, entries in (("models", KNOWN.models), ("loras", KNOWN.loras), ("controlNets", KNOWN.controls)):
        wanted = [dict(entry.specification) for file, entry in entries.items() if file in KNOWN.complete]
        taken, dropped = parse_override(kind, json.dumps(wanted).encode())
        assert (len(taken), dropped) == (len(wanted), 0)


def test_known_facts_agree_with_what_a_server_lists(catalog: Catalog) -> None:
    for model in catalog.models:
        known = KNOWN.models[model.file]
        found = (known.version, known.modifier, known.default_scale, known.guidance_embed)
        assert found == (model.version, model.modifier, model.default_scale, model.guidance_embed), model.file
    for control in catalog.controls:
        known_control = KNOWN.controls[control.file]
        found_control = (known_control.version, known_control.modifier, known_control.type)
        assert found_control == (control.version, control.modifier, control.type), control.file


def test_nearly_every_recommended_model_is_known() -> None:
    unknown = {recipe.model for recipe in list_recipes()} - KNOWN.models.keys()
    assert unknown == {"hidream_o1_dev_2604_f16.ckpt"}


@pytest.mark.parametrize(("wanted", "count"), [(1, 1), (4, 1), (5, 5), (21, 5), (22, 22), (124, 124), (140, 124)])
def test_frames_of_a_video_with_a_first_group_of_its_own(wanted: int, count: int) -> None:
    assert KNOWN.versions["minimax_h3"].count_frames(wanted) == count


@pytest.mark.parametrize(
    ("version", "side", "shift"),
    [
        *(("z_image", 512, 1.8776), ("z_image", 1024, 3.1582), ("z_image", 1536, 7.5132)),
        *(("qwen_image_2.1", 256, 1.6487), ("qwen_image_2.1", 1024, 2.0008), ("qwen_image_2.1", 1536, 2.5899)),
    ],
)
def test_the_shift_follows_from_the_size_by_the_rule_of_the_version(version: str, side: int, shift: float) -> None:
    assert KNOWN.versions[version].find_shift((side // 16) ** 2) == pytest.approx(shift, abs=1e-4)


def test_what_is_not_known_in_full_of_a_newer_model_is_never_sent() -> None:
    newer = {model.file for model in KNOWN.models.values() if model.version in {"qwen_image_2.1", "minimax_h3"}}
    assert len(newer) == 14
    assert not newer & KNOWN.complete


def test_frames_of_a_video_come_in_groups() -> None:
    counts = {version: KNOWN.versions[version].count_frames(14) for version in ("wan_v2.1_14b", "ltx2", "svd_i2v")}
    assert counts == {"wan_v2.1_14b": 13, "ltx2": 9, "svd_i2v": 14}
