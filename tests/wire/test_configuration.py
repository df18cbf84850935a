"""A configuration on the wire, read back slot by slot with a reader of its own."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    ControlNetConfig,
    ImageGenerationConfig,
    LoRAConfig,
    LoRAMode,
    SamplerType,
    SeedMode,
)
from drawthings_mcp.wire.configuration import build_configuration, parse_configuration
from tests.slots import SLOTS, RawTable, read_slots

GOLDEN = Path(__file__).parents[1] / "golden" / "wire"


def config(**fields: Any) -> ImageGenerationConfig:
    return ImageGenerationConfig(**{"model": "m.ckpt", "seed": 0, **fields})


EVERY_FIELD: dict[str, tuple[Any, str, Any]] = {
    "model": ("flux.ckpt", "model", "flux.ckpt"),
    "width": (640, "start_width", 10),
    "height": (896, "start_height", 14),
    "seed": (4294967295, "seed", 4294967295),
    "steps": (33, "steps", 33),
    "guidance_scale": (7.5, "guidance_scale", 7.5),
    "strength": (0.25, "strength", 0.25),
    "sampler": (SamplerType.TCDTrailing, "sampler", 19),
    "seed_mode": (SeedMode.NvidiaGpuCompatible, "seed_mode", 3),
    "shift": (3.0, "shift", 3.0),
    "resolution_dependent_shift": (False, "resolution_dependent_shift", False),
    "batch_count": (7, "batch_count", 7),
    "batch_size": (3, "batch_size", 3),
    "clip_skip": (2, "clip_skip", 2),
    "hires_fix": (True, "hires_fix", True),
    "hires_fix_width": (512, "hires_fix_start_width", 8),
    "hires_fix_height": (576, "hires_fix_start_height", 9),
    "hires_fix_strength": (0.5, "hires_fix_strength", 0.5),
    "upscaler": ("up.ckpt", "upscaler", "up.ckpt"),
    "upscaler_scale_factor": (4, "upscaler_scale_factor", 4),
    "face_restoration": ("face.ckpt", "face_restoration", "face.ckpt"),
    "refiner_model": ("refiner.ckpt", "refiner_model", "refiner.ckpt"),
    "refiner_start": (0.125, "refiner_start", 0.125),
    "image_guidance_scale": (2.5, "image_guidance_scale", 2.5),
    "sharpness": (4.0, "sharpness", 4.0),
    "mask_blur": (6.5, "mask_blur", 6.5),
    "mask_blur_outset": (-12, "mask_blur_outset", -12),
    "preserve_original_after_inpaint": (False, "preserve_original_after_inpaint", False),
    "color_calibration": (ColorCalibration.Lab, "color_calibration", 1),
    "tiled_decoding": (True, "tiled_decoding", True),
    "decoding_tile_width": (768, "decoding_tile_width", 12),
    "decoding_tile_height": (832, "decoding_tile_height", 13),
    "decoding_tile_overlap": (192, "decoding_tile_overlap", 3),
    "tiled_diffusion": (True, "tiled_diffusion", True),
    "diffusion_tile_width": (1088, "diffusion_tile_width", 17),
    "diffusion_tile_height": (1152, "diffusion_tile_height", 18),
    "diffusion_tile_overlap": (256, "diffusion_tile_overlap", 4),
    "speed_up_with_guidance_embed": (False, "speed_up_with_guidance_embed", False),
    "guidance_embed": (50.0, "guidance_embed", 50.0),
    "t5_text_encoder": (False, "t5_text_encoder", False),
    "separate_clip_l": (True, "separate_clip_l", True),
    "clip_l_text": ("clip l ä", "clip_l_text", "clip l ä"),
    "separate_open_clip_g": (True, "separate_open_clip_g", True),
    "open_clip_g_text": ("clip g", "open_clip_g_text", "clip g"),
    "separate_t5": (True, "separate_t5", True),
    "t5_text": ("t5 漢字", "t5_text", "t5 漢字"),
    "zero_negative_prompt": (True, "zero_negative_prompt", True),
    "expand_prompt_to_json": (True, "expand_prompt_to_json", True),
    "tea_cache": (True, "tea_cache", True),
    "tea_cache_start": (9, "tea_cache_start", 9),
    "tea_cache_end": (-4, "tea_cache_end", -4),
    "tea_cache_threshold": (0.5, "tea_cache_threshold", 0.5),
    "tea_cache_max_skip_steps": (8, "tea_cache_max_skip_steps", 8),
    "cfg_zero_star": (True, "cfg_zero_star", True),
    "cfg_zero_init_steps": (6, "cfg_zero_init_steps", 6),
    "stochastic_sampling_gamma": (0.75, "stochastic_sampling_gamma", 0.75),
    "original_image_width": (1001, "original_image_width", 1001),
    "original_image_height": (1002, "original_image_height", 1002),
    "crop_top": (11, "crop_top", 11),
    "crop_left": (13, "crop_left", 13),
    "target_image_width": (1003, "target_image_width", 1003),
    "target_image_height": (1004, "target_image_height", 1004),
    "negative_original_image_width": (501, "negative_original_image_width", 501),
    "negative_original_image_height": (502, "negative_original_image_height", 502),
    "aesthetic_score": (7.25, "aesthetic_score", 7.25),
    "negative_aesthetic_score": (1.5, "negative_aesthetic_score", 1.5),
    "clip_weight": (0.5, "clip_weight", 0.5),
    "negative_prompt_for_image_prior": (False, "negative_prompt_for_image_prior", False),
    "image_prior_steps": (15, "image_prior_steps", 15),
    "stage_2_steps": (21, "stage_2_steps", 21),
    "stage_2_guidance": (1.25, "stage_2_cfg", 1.25),
    "stage_2_shift": (2.0, "stage_2_shift", 2.0),
    "num_frames": (81, "num_frames", 81),
    "fps": (24, "fps_id", 24),
    "motion_scale": (99, "motion_bucket_id", 99),
    "guiding_frame_noise": (0.5, "cond_aug", 0.5),
    "start_frame_guidance": (1.75, "start_frame_cfg", 1.75),
    "causal_inference_enabled": (True, "causal_inference_enabled", True),
    "causal_inference": (5, "causal_inference", 5),
    "causal_inference_pad": (2, "causal_inference_pad", 2),
    "compression_artifacts": (CompressionMethod.H265, "compression_artifacts", 2),
    "compression_artifacts_quality": (50.5, "compression_artifacts_quality", 50.5),
    "shift_for_audio": (5.5, "shift_for_audio", 5.5),
    "uses_sol_attention": (True, "uses_sol_attention", True),
    "sol_attention_start": (7, "sol_attention_start", 7),
    "sol_attention_tau": (0.25, "sol_attention_tau", 0.25),
    "name": ("my preset", "name", "my preset"),
}


def test_every_field_of_a_configuration_has_a_slot_and_every_slot_a_field() -> None:
    fields = set(ImageGenerationConfig.model_fields)
    assert fields == {*EVERY_FIELD, "loras", "controls"}
    live = {row["name"] for row in SLOTS if not row["deprecated"]}
    assert live == {slot for _, slot, _ in EVERY_FIELD.values()} | {"id", "loras", "controls"}


@pytest.mark.parametrize("field", EVERY_FIELD)
def test_a_field_lands_in_its_slot_in_the_unit_of_the_wire(field: str) -> None:
    value, slot, expected = EVERY_FIELD[field]
    plain = read_slots(build_configuration(config()))
    changed = read_slots(build_configuration(config(**{field: value})))
    if field == "causal_inference_enabled":
        assert changed["causal_inference_enabled"] is True
    else:
        assert changed == {**plain, slot: expected}
    assert plain[slot] != expected


def test_every_scalar_is_written_and_retired_slots_stay_empty() -> None:
    table = RawTable(build_configuration(config()))
    for row in SLOTS:
        written = table.offset(row["slot"]) != 0
        if row["deprecated"]:
            assert not written, row["name"]
        elif row["type"] not in {"string", "tables"}:
            assert written, row["name"]


def test_loras_and_controls_keep_their_order_and_all_their_fields() -> None:
    control = ControlNetConfig(
        file="c.ckpt",
        weight=0.75,
        guidance_start=0.25,
        guidance_end=0.5,
        no_prompt=True,
        global_average_pooling=False,
        down_sampling_rate=2.0,
        control_mode=ControlMode.Control,
        target_blocks=("a", "b"),
        input_override=ControlInputType.Canny,
    )
    loras = (LoRAConfig(file="1.ckpt", weight=-0.5, mode=LoRAMode.Refiner), LoRAConfig(file="2.ckpt"))
    table = RawTable(build_configuration(config(loras=loras, controls=(control,))))
    first, second = table.tables(20)
    assert (first.string(0), first.scalar(1, "float32", None), first.scalar(2, "int8", None)) == ("1.ckpt", -0.5, 2)
    assert (second.string(0), second.scalar(2, "int8", None)) == ("2.ckpt", 0)
    assert second.scalar(1, "float32", None) == pytest.approx(0.6)
    (raw,) = table.tables(19)
    kinds = ("float32", "float32", "float32", "bool", "bool", "float32", "int8")
    assert [raw.scalar(slot, kind, None) for slot, kind in enumerate(kinds, 1)] == [
        0.75, 0.25, 0.5, True, False, 2.0, 2,
    ]  # fmt: skip
    assert (raw.string(0), raw.scalar(9, "int8", None)) == ("c.ckpt", 3)
    parsed = parse_configuration(table.data)
    assert (parsed.loras, parsed.controls) == (loras, (control,))


def test_a_buffer_of_another_writer_is_read() -> None:
    data = bytes.fromhex((GOLDEN / "configuration_worked_buffer.hex").read_text())
    assert len(data) == 280
    expected = ImageGenerationConfig(
        model="z_image_turbo_1.0_q6p.ckpt",
        width=1024,
        height=1024,
        seed=42,
        steps=8,
        guidance_scale=1,
        strength=1,
        sampler=SamplerType.UniPCTrailing,
        shift=3,
        resolution_dependent_shift=False,
        refiner_start=0.7,
        hires_fix_width=0,
        hires_fix_height=0,
        loras=(LoRAConfig(file="x_lora_f16.ckpt", weight=0.8),),
    )
    assert parse_configuration(data) == expected
    assert read_slots(build_configuration(expected)) == read_slots(data)


@given(st.floats(0, 1), st.integers(0, 2**32 - 1), st.integers(2, 128), st.text(max_size=20))
def test_a_configuration_survives_the_wire(strength: float, seed: int, units: int, text: str) -> None:
    strength = struct.unpack("<f", struct.pack("<f", strength))[0]
    sent = config(strength=strength, seed=seed, width=units * 64, t5_text=text)
    received = parse_configuration(build_configuration(sent))
    assert received.strength == pytest.approx(strength, rel=1e-7)
    assert received.replace(strength=strength) == sent


@pytest.mark.parametrize(("fields", "word"), [({"seed": -1}, "seed"), ({"model": ""}, "model")])
def test_what_a_server_would_guess_is_refused(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInputError, match=word):
        build_configuration(config(**fields))


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\xff" * 64, b"not a buffer at all"])
def test_bytes_that_are_no_configuration_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        parse_configuration(data)
