"""Which model is taken when it is left open."""

from __future__ import annotations

import pytest

from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.presets.mode_table import choose_model, find_recipe, list_preferred_models, list_recipes
from drawthings_mcp.presets.preset import find_family, list_checkpoints, strip_variant

KLEIN = "flux_2_klein_9b_q6p.ckpt"


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({KLEIN, "z_image_turbo_1.0_q8p.ckpt", "z_image_turbo_1.0_f16.ckpt"}, "z_image_turbo_1.0_q8p.ckpt"),
        ({KLEIN, "z_image_turbo_1.0_f16.ckpt", "z_image_turbo_1.0_q6p.ckpt"}, "z_image_turbo_1.0_q6p.ckpt"),
        ({KLEIN, "z_image_turbo_1.0_q5p.ckpt"}, "z_image_turbo_1.0_q5p.ckpt"),  # a variant nobody listed
        ({KLEIN, "z_image_turbo_1.0_special.ckpt"}, KLEIN),  # another model
        ({"sd_v1.5_f16.ckpt", "flux_2_klein_4b_i8x.ckpt"}, "flux_2_klein_4b_i8x.ckpt"),
        ({"qwen_image_edit_2511_q6p.ckpt", "wan_v2.1_1.3b_480p_f16.ckpt"}, None),
        (set(), None),
    ],
)
def test_the_preferred_model_that_is_there_is_taken(installed: set[str], chosen: str | None) -> None:
    assert choose_model(installed) == chosen


@pytest.mark.parametrize(
    ("family", "chosen"),
    [("z-image", "z_image_1.0_q8p.ckpt"), ("qwen-image", "qwen_image_2512_q6p.ckpt"), ("flux", KLEIN)],
)
def test_a_family_keeps_to_its_own_models(family: str, chosen: str) -> None:
    installed = ["qwen_image_2512_q6p.ckpt", "z_image_1.0_q8p.ckpt", KLEIN, "sd_v1.5_f16.ckpt"]
    assert choose_model(installed, family) == chosen


def test_the_choice_does_not_depend_on_the_order_of_the_list() -> None:
    installed = ["z_image_turbo_1.0_svd.ckpt", "z_image_turbo_1.0_q5p_svd.ckpt"]  # two variants nobody ranked
    assert choose_model(installed) == choose_model(installed[::-1])


def test_an_unknown_family_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnknownNameError, match="qwen-image") as caught:
        choose_model([], family="qwen")
    assert {"z-image", "qwen-image", "flux"} <= set(caught.value.nearest)


@pytest.mark.parametrize("family", ["auto", "z-image", "qwen-image", "flux"])
def test_what_is_looked_for_on_a_server_would_be_chosen_there(family: str) -> None:
    files = list_preferred_models(family)
    assert len(files) == len(set(files))
    for file in files:
        assert choose_model([file], family) == file
        assert find_recipe(file)


def test_the_first_of_the_preferred_files_are_different_models() -> None:
    assert list_preferred_models()[:2] == ("z_image_turbo_1.0_q8p.ckpt", KLEIN)
    assert "z_image_turbo_1.0_q6p.ckpt" in list_preferred_models()


@pytest.mark.parametrize(
    ("version", "family"),
    [
        *(("flux2_9b", "flux"), ("z_image", "z-image"), ("v1", "sd15"), ("unheard_of", ""), ("", "")),
        *(("qwen_image_2.1", "qwen-image"), ("minimax_h3", "minimax"), ("krea_2", "krea")),
    ],
)
def test_a_version_belongs_to_a_family(version: str, family: str) -> None:
    assert find_family(version) == family


@pytest.mark.parametrize("base", list_checkpoints())
def test_the_facts_about_a_model_agree_with_each_other(base: str) -> None:
    checkpoint = list_checkpoints()[base]
    assert find_family(checkpoint.version)
    assert {strip_variant(file) for file in checkpoint.files} == {base}
    assert checkpoint.native_side in (512, 768, 1024, 1536)


def test_every_recipe_is_for_a_known_model() -> None:
    for recipe in list_recipes():
        assert recipe.model in recipe.checkpoint.files
        assert recipe.native_side == recipe.checkpoint.native_side
