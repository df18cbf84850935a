"""Which settings go with which model."""

from __future__ import annotations

import dataclasses

import pytest

from drawthings_mcp.generation import ImageGenerationConfig, LoRAConfig, SamplerType
from drawthings_mcp.generation.configuration import parse_app_json
from drawthings_mcp.presets.mode_table import find_recipe, list_recipes, recommended_configuration
from drawthings_mcp.presets.preset import Preset, strip_variant

LIGHTNING_4 = "qwen_image_edit_2509_lightning_4_step_v1.0_lora_f16.ckpt"
LIGHTNING_8 = "qwen_image_edit_2509_lightning_8_step_v1.0_lora_f16.ckpt"
WAN_BASE = "wan_v2.2_a14b_hne_t2v_lightning_v1.1_lora_f16.ckpt"


def _name(model: str, version: str = "", loras: tuple[str, ...] = ()) -> str | None:
    recipe = find_recipe(model, version, loras)
    return recipe.name if recipe else None


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_every_recipe_is_a_valid_configuration_of_known_keys_only(recipe: Preset) -> None:
    complete = ImageGenerationConfig(**parse_app_json(recipe.configuration).fields).to_app_json()
    assert recipe.configuration.keys() <= complete.keys()
    # Nothing is floored or renamed on the way; floats come back as 32-bit floats.
    for key, value in recipe.configuration.items():
        assert complete[key] == (pytest.approx(value) if isinstance(value, float) else value)


def test_recipes_have_names_of_their_own_and_no_seed() -> None:
    recipes = list_recipes()
    assert len(recipes) == 61
    assert len({recipe.name for recipe in recipes}) == 61
    assert not any("seed" in recipe.configuration for recipe in recipes)


def test_a_recipe_cannot_be_changed() -> None:
    recipe = list_recipes()[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        recipe.configuration["steps"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("file", "base"),
    [
        ("z_image_turbo_1.0_q8p.ckpt", "z_image_turbo_1.0"),
        ("qwen_image_2512_bf16_i8x.ckpt", "qwen_image_2512"),
        ("sd_xl_base_1.0_q6p_q8p.ckpt", "sd_xl_base_1.0"),
        ("wan_v2.1_14b_720p_q6p_svd.ckpt", "wan_v2.1_14b_720p"),
        ("krea_2_turbo_i6x.ckpt", "krea_2_turbo"),
        ("qwen_image_2.1_i4x.ckpt", "qwen_image_2.1"),
        ("my_model.ckpt", "my_model"),
    ],
)
def test_precision_is_no_part_of_a_models_base_name(file: str, base: str) -> None:
    assert strip_variant(file) == base


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("flux_1_schnell_q5p.ckpt", "FLUX.1 [schnell]"),  # the same file
        ("z_image_turbo_1.0_q8p.ckpt", "Z Image Turbo 1.0"),  # inherits from q6p
        ("qwen_image_2512_bf16_q8p.ckpt", "Qwen Image 2512"),
        ("flux_1_dev_de_distill_q8p.ckpt", "FLUX.1 [dev]"),  # extends the name
        ("flux_2_klein_9b_kv_tuned_q8p.ckpt", "FLUX.2 [klein] 9B KV"),  # extends two names
        ("ideogram_4_fast_v2_q6p.ckpt", "Ideogram 4 Fast"),
        ("ltx_2.3_22b_distilled_1.1_i8x.ckpt", "LTX-2.3 22B [distilled] 720p"),
        ("z_imagery_q8p.ckpt", None),  # shares letters, not a name
        ("my_finetune_q8p.ckpt", None),
    ],
)
def test_a_model_finds_its_nearest_recipe(model: str, name: str | None) -> None:
    assert _name(model) == name


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("sdxl_base_v0.9", "SDXL v1.0"),
        ("z_image", "Z Image Turbo 1.0"),
        ("qwen_image", "Qwen Image 2512"),
        ("unheard_of", None),
    ],
)
def test_an_unknown_model_gets_what_is_recommended_for_its_version(version: str, name: str | None) -> None:
    assert _name("my_finetune_q8p.ckpt", version) == name


def test_a_recipe_of_another_version_is_not_taken_for_its_name() -> None:
    assert _name("z_image_turbo_1.0_q8p.ckpt", "z_image_2") is None
    assert _name("qwen_image_2.1_tuned_q8p.ckpt", "qwen_image_2.1") == "Qwen Image 2.1"
    assert _name("my_finetune_q8p.ckpt", "minimax_h3") == "MiniMax H3 FL2VA"


def test_a_models_own_recipe_counts_before_its_version() -> None:
    assert _name("z_image_1.0_q8p.ckpt", "z_image") == "Z Image Base 1.0"


@pytest.mark.parametrize("model", ["qwen_image_edit_2509_q6p.ckpt", "qwen_image_edit_2509_bf16_q8p.ckpt"])
@pytest.mark.parametrize(
    ("loras", "steps"),
    [
        ((), 30),
        ((LIGHTNING_4,), 4),
        ((LIGHTNING_8,), 8),
        (("style.ckpt",), 30),
        ((LIGHTNING_4, "style.ckpt"), 4),
    ],
)
def test_the_requested_loras_choose_among_recipes(model: str, loras: tuple[str, ...], steps: int) -> None:
    assert recommended_configuration(model, loras=loras)["steps"] == steps


def test_a_recipe_that_holds_the_requested_lora_among_others_is_preferred() -> None:
    recipe = find_recipe("wan_v2.2_a14b_hne_t2v_q8p.ckpt", loras=[WAN_BASE])
    assert recipe is not None
    assert len(recipe.loras) == 2


def test_a_recipe_tells_every_file_it_needs() -> None:
    recipe = find_recipe("wan_v2.2_a14b_hne_t2v_q8p.ckpt", loras=[WAN_BASE])
    assert recipe is not None
    assert recipe.files == (
        "wan_v2.2_a14b_hne_t2v_q6p_svd.ckpt",
        "wan_v2.2_a14b_lne_t2v_q6p_svd.ckpt",
        WAN_BASE,
        "wan_v2.2_a14b_lne_t2v_lightning_v1.1_lora_f16.ckpt",
    )


def test_a_recommendation_is_made_of_fields_for_the_very_model() -> None:
    fields = recommended_configuration(
        "qwen_image_2512_q8p.ckpt", loras=["qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt"]
    )
    assert fields == {
        "model": "qwen_image_2512_q8p.ckpt",
        "steps": 4,
        "guidance_scale": 1,
        "sampler": SamplerType.UniPCTrailing,
        "seed_mode": 2,
        "shift": 3,
        "resolution_dependent_shift": False,
        "strength": 1,
        "clip_skip": 1,
        "mask_blur": 1.5,
        "loras": (LoRAConfig(file="qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt", weight=1.0),),
    }


def test_nothing_is_recommended_for_a_model_nobody_knows() -> None:
    assert recommended_configuration("my_finetune.ckpt") == {"model": "my_finetune.ckpt"}
