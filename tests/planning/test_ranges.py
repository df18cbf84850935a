"""Numbers outside the app's user interface count where the model at hand reads them, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.generation.configuration import list_ranges
from drawthings_mcp.planning.rules.ranges import ANY_VALUE
from tests.planning.checks import check_request

Z_IMAGE = "z_image_turbo_1.0_q8p.ckpt"
SD = "sd_v1.5_f16.ckpt"
XL = "sd_xl_base_1.0_f16.ckpt"
FLUX = "flux_1_dev_q8p.ckpt"
WAN = "wan_2.1_14b_t2v_fusionx_q8p.ckpt"
SVD = "svd_i2v_xt_1.1_q6p_q8p.ckpt"
PICTURE = {"canvas": np.zeros((128, 128, 3), np.uint8)}
MASKED = {**PICTURE, "mask": np.full((128, 128), 2, np.uint8)}
DEFAULTS = ImageGenerationConfig()

READ: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "width height steps guidance_scale strength batch_count batch_size": (Z_IMAGE, {}, {}),
    "stage_2_steps stage_2_guidance stage_2_shift": ("wurstchen_3.0_stage_c_f32_f16.ckpt", {}, {}),
    "clip_weight image_prior_steps": ("kandinsky_f16.ckpt", {}, {}),
    "num_frames": (WAN, {}, {}),
    "fps motion_scale guiding_frame_noise start_frame_guidance": (SVD, {}, PICTURE),
    "shift_for_audio": ("minimax_h3_fl2va_q8p.ckpt", {"num_frames": 124}, {}),
    "causal_inference causal_inference_pad": (WAN, {"num_frames": 81, "causal_inference_enabled": True}, {}),
    "shift": (Z_IMAGE, {"resolution_dependent_shift": False}, {}),
    "decoding_tile_width decoding_tile_height decoding_tile_overlap": (Z_IMAGE, {"tiled_decoding": True}, {}),
    "diffusion_tile_width diffusion_tile_height diffusion_tile_overlap": (Z_IMAGE, {"tiled_diffusion": True}, {}),
    "hires_fix_width hires_fix_height hires_fix_strength": (Z_IMAGE, {"hires_fix": True}, {}),
    "refiner_start": (XL, {"refiner_model": "sd_xl_refiner_1.0_f16.ckpt"}, {}),
    "upscaler_scale_factor": (Z_IMAGE, {"upscaler": "remacri_4x_f16.ckpt"}, {}),
    "tea_cache_start tea_cache_end tea_cache_threshold tea_cache_max_skip_steps": (FLUX, {"tea_cache": True}, {}),
    "cfg_zero_init_steps": (Z_IMAGE, {"cfg_zero_star": True}, {}),
    "sol_attention_start sol_attention_tau": (Z_IMAGE, {"uses_sol_attention": True}, {}),
    "guidance_embed": (FLUX, {}, {}),
    "image_guidance_scale": ("hidream_e1_full_f16.ckpt", {}, PICTURE),
    "clip_skip": (SD, {}, {}),
    "mask_blur mask_blur_outset": (Z_IMAGE, {"strength": 0.5}, MASKED),
    "stochastic_sampling_gamma": (SD, {"sampler": "TCD Trailing"}, {}),
    "original_image_width original_image_height target_image_width target_image_height crop_top crop_left": (
        XL,
        {},
        {},
    ),
    "negative_original_image_width negative_original_image_height": (XL, {}, {}),
}
"""Fields, and model, settings and pictures with which they are read."""

NEVER_REFUSED = {*ANY_VALUE, "compression_artifacts_quality"}
FIELDS = [(field, *given) for fields, given in READ.items() for field in fields.split()]


def request(model: str, settings: dict[str, Any], pictures: dict[str, Any]) -> GenerationRequest:
    config = ImageGenerationConfig.from_saved(**{"model": model, "width": 128, "height": 128, **settings})
    return GenerationRequest("a fox", config, **pictures)


def find_value_outside(field: str) -> Any:
    allowed = list_ranges()[field]
    default = getattr(DEFAULTS, field)
    above = allowed.le * 2 if allowed.le > 1 else allowed.le + 1
    return type(default)(min(above, 255) if field == "upscaler_scale_factor" else above)


@pytest.mark.parametrize(("field", "model", "settings", "pictures"), [pytest.param(*row, id=row[0]) for row in FIELDS])
def test_a_number_outside_is_refused_where_it_is_read(
    field: str, model: str, settings: dict[str, Any], pictures: dict[str, Any]
) -> None:
    value = find_value_outside(field)
    with pytest.raises(InvalidInputError, match=rf"^{field}: must be .*, got {value}") as refusal:
        check_request(request(model, {**settings, field: value}, pictures))
    assert (refusal.value.parameter, refusal.value.value) == (field, value)


@pytest.mark.parametrize("field", [row[0] for row in FIELDS[7:]])
def test_a_number_outside_is_noted_where_it_is_not_read(field: str) -> None:
    model = SD if field == "shift" else Z_IMAGE
    notes = check_request(request(model, {field: find_value_outside(field)}, {}))
    assert [note for note in notes if note.startswith(field) and "not read by this model" in note]


def test_the_table_of_readers_is_whole() -> None:
    assert {row[0] for row in FIELDS} | NEVER_REFUSED == list_ranges().keys()


def test_nothing_is_refused_for_a_version_that_came_later() -> None:
    always = set(next(iter(READ)).split())
    settings = {field: find_value_outside(field) for field in list_ranges() if field not in always}
    assert check_request(request("home_made.ckpt", settings, {}))
