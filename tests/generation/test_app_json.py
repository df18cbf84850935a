"""The app's JSON object: complete, partial, and with the spellings of real files."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp.errors import DrawThingsWarning, InvalidInputError
from drawthings_mcp.generation import (
    ControlInputType,
    ControlMode,
    ControlNetConfig,
    ImageGenerationConfig,
    LoRAConfig,
    LoRAMode,
)

RENAMED = {
    "fps": "fps",
    "motion_scale": "motionScale",
    "guiding_frame_noise": "guidingFrameNoise",
    "start_frame_guidance": "startFrameGuidance",
    "stage_2_guidance": "stage2Guidance",
    "stage_2_shift": "stage2Shift",
    "stage_2_steps": "stage2Steps",
    "t5_text": "t5Text",
    "clip_l_text": "clipLText",
    "open_clip_g_text": "openClipGText",
    "width": "width",
    "hires_fix_width": "hiresFixWidth",
}


@pytest.mark.parametrize(("field", "key"), RENAMED.items())
def test_keys_are_spelled_as_the_app_spells_them(field: str, key: str) -> None:
    config = ImageGenerationConfig()
    assert config.to_app_json()[key] == pytest.approx(getattr(config, field))


def test_a_partial_preset_merges_over_the_apps_defaults() -> None:
    config = ImageGenerationConfig.from_app_json({"sharpness": 4})
    assert config == ImageGenerationConfig(sharpness=4)


def test_sizes_are_pixels_floored_to_64_as_the_app_does() -> None:
    config = ImageGenerationConfig.from_app_json({"width": 1000, "hiresFixHeight": 500, "decodingTileWidth": 700})
    assert (config.width, config.hires_fix_height, config.decoding_tile_width) == (960, 448, 640)


def test_causal_inference_of_zero_means_off() -> None:
    off = ImageGenerationConfig.from_app_json({"causalInference": 0, "causalInferencePad": 2})
    on = ImageGenerationConfig.from_app_json({"causalInference": 4})
    assert (off.causal_inference_enabled, on.causal_inference_enabled, on.causal_inference) == (False, True, 4)
    assert (off.to_app_json()["causalInference"], off.to_app_json()["causalInferencePad"]) == (0, 0)
    assert on.to_app_json()["causalInference"] == 4


def test_nested_objects_use_the_apps_words() -> None:
    data: dict[str, Any] = {
        "loras": [{"file": "l.ckpt", "weight": 0.5}, {"file": "m.ckpt", "weight": 1, "mode": "refiner"}],
        "controls": [
            {
                "file": "c.ckpt",
                "weight": 1,
                "guidanceStart": 0,
                "guidanceEnd": 0.5,
                "noPrompt": False,
                "globalAveragePooling": False,
                "downSamplingRate": 1,
                "controlImportance": "control",
                "inputOverride": "normal bae",
                "targetBlocks": ["x"],
            }
        ],
    }
    config = ImageGenerationConfig.from_app_json(data)
    assert config.loras == (
        LoRAConfig(file="l.ckpt", weight=0.5),
        LoRAConfig(file="m.ckpt", weight=1, mode=LoRAMode.Refiner),
    )
    assert config.controls == (
        ControlNetConfig(
            file="c.ckpt",
            guidance_end=0.5,
            global_average_pooling=False,
            control_mode=ControlMode.Control,
            input_override=ControlInputType.Normalbae,
            target_blocks=("x",),
        ),
    )
    assert config.to_app_json()["controls"] == data["controls"]


def test_a_configuration_comes_back_equal_from_its_own_object() -> None:
    config = ImageGenerationConfig(strength=0.6, guidance_scale=4.1, loras=(LoRAConfig(file="l.ckpt", weight=0.8),))
    assert ImageGenerationConfig.from_app_json(config.to_app_json()) == config


def test_null_is_left_out_and_any_negative_seed_is_random() -> None:
    config = ImageGenerationConfig.from_app_json({"upscaler": None, "refinerModel": "", "seed": -42})
    assert config == ImageGenerationConfig(seed=-1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"mystery": 1}, "“mystery”"),
        ({"stepz": 9}, "“stepz” (did you mean 'steps'?)"),
        ({"colorCalibration": "hsv"}, "colorCalibration “hsv”"),
        ({"sampler": 20}, "sampler 20"),
        ({"stage2Steps": -1}, "stage2Steps -1"),
        ({"upscalerScaleFactor": 256}, "upscalerScaleFactor 256"),
        ({"maskBlur": 1e39}, "maskBlur 1e+39"),
        ({"loras": [{"file": "l.ckpt", "mode": "both", "warmth": 1}]}, "“warmth” in loras, mode “both” in loras"),
        ({"loras": [{"weight": 1}, {"file": ""}, {"file": "l.ckpt"}]}, "left out: a LoRA without a file"),
        ({f"key{number:02}": 1 for number in range(10)}, "“key07” and 2 more"),
    ],
)
def test_what_a_newer_app_wrote_is_left_out_and_named(data: dict[str, Any], words: str) -> None:
    with pytest.warns(DrawThingsWarning) as caught:
        config = ImageGenerationConfig.from_app_json({**data, "clipSkip": 2})
    assert str(caught[0].message).endswith(words)
    assert caught[0].filename == __file__
    assert config.replace(loras=()) == ImageGenerationConfig(clip_skip=2)


def test_numbers_outside_the_user_interface_are_kept_and_come_back() -> None:
    data: dict[str, Any] = {
        "stage2Steps": 0,
        "sharpness": 200,
        "numFrames": 0,
        "decodingTileWidth": 0,
        "width": 0,
        "seed": 4,
    }
    data |= {"loras": [{"file": "l.ckpt", "weight": 40, "mode": "all"}]}
    config = ImageGenerationConfig.from_app_json(data)
    assert {key: config.to_app_json()[key] for key in data} == data
    assert (config.replace(steps=4).stage_2_steps, config.replace(steps=4).loras[0].weight) == (0, 40)


def test_a_colour_calibration_of_none_reads_like_the_older_word_and_is_written() -> None:
    for word in ("none", "disabled"):
        config = ImageGenerationConfig.from_app_json({"colorCalibration": word})
        assert config.to_app_json()["colorCalibration"] == "none"


@pytest.mark.parametrize("data", [[], "x", {"loras": {}}, {"loras": ["x"]}, {"steps": "x"}, {"tiledDecoding": "often"}])
def test_a_malformed_preset_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInputError):
        ImageGenerationConfig.from_app_json(data)


@given(st.floats(0, 1), st.floats(0, 50), st.integers(-1, 2**32 - 1))
def test_a_complete_object_round_trips_with_exact_float32(strength: float, guidance: float, seed: int) -> None:
    data = ImageGenerationConfig(strength=strength, guidance_scale=guidance, seed=seed).to_app_json()
    again = ImageGenerationConfig.from_app_json(json.loads(json.dumps(data))).to_app_json()
    assert again == data
    for value in data.values():
        if isinstance(value, float):
            assert struct.unpack("<f", struct.pack("<f", value))[0] == value


@given(st.floats(0, 1))
def test_any_number_is_read_as_a_decimal_of_its_float32(strength: float) -> None:
    read = ImageGenerationConfig.from_app_json({"strength": strength}).strength
    assert struct.pack("<f", read) == struct.pack("<f", strength)


def test_a_number_between_two_float32_is_read() -> None:
    assert ImageGenerationConfig.from_app_json({"strength": 1.5903880349941829e-12}).strength == 1.5903881e-12
