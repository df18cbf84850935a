"""The text for people that Draw Things writes beside its short keys (formats §3.2).

Owns labels and their order. Knows nothing of configurations: it words what the keys say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drawthings_mcp.generation.app_json import shorten_float32

_LABELS: Mapping[str, str] = {
    "steps": "Steps",
    "sampler": "Sampler",
    "scale": "Guidance Scale",
    "seed": "Seed",
    "size": "Size",
    "model": "Model",
    "strength": "Strength",
    "seed_mode": "Seed Mode",
    "upscaler": "Upscaler",
    "shift": "Shift",
    "clip_skip": "CLIP Skip",
    "sharpness": "Sharpness",
    "mask_blur_outset": "Mask Blur Outset",
    "image_guidance": "Image Guidance",
    "hires_fix": "Hires Fix",
    "first_stage_size": "First Stage Size",
    "second_stage_strength": "Second Stage Strength",
    "clip_weight": "CLIP Weight",
    "image_prior_steps": "Image Prior Steps",
    "negative_prompt_for_image_prior": "Negative Prompt for Image Prior",
    "expand_prompt_to_json": "Expand Prompt to JSON",
    "stage_2_steps": "Stage 2 Steps",
    "stage_2_guidance": "Stage 2 Guidance",
    "stage_2_shift": "Stage 2 Shift",
    "refiner": "Refiner",
    "refiner_start": "Refiner Start",
    "target_size": "Target Size",
    "original_size": "Original Size",
    "negative_original_size": "Negative Original Size",
    "crop_top": "Crop Top",
    "crop_left": "Crop Left",
    "aesthetic_score": "Aesthetic Score",
    "negative_aesthetic_score": "Negative Aesthetic Score",
    "zero_negative_prompt": "Zero Negative Prompt",
    "num_frames": "Number of Frames",
    "fps": "FPS",
    "motion_scale": "Motion Scale",
    "cond_aug": "Guiding Frame Noise",
    "min_cfg": "Start Frame Guidance",
    "tiled_decoding": "Tiled Decoding Enabled",
    "tiled_diffusion": "Tiled Diffusion Enabled",
    "tea_cache": "TeaCache Enabled",
    "causal_inference": "Causal Inference",
    "stochastic_sampling_gamma": "Strategic Stochastic Sampling",
}
"""Key → label, in the app's order; mask blur is not told."""

_KEYS = {label: key for key, label in _LABELS.items()}
_PARAMETERS = "Steps: "
_PART = re.compile(r", (?=[A-Z][A-Za-z0-9 ]*: )")


def build_text(prompt: str, negative_prompt: str, keys: Mapping[str, Any]) -> str:
    """Prompt, negative prompt behind a ``-``, and one line of parameters."""
    parts = [f"{label}: {_word(key, keys)}" for key, label in _LABELS.items() if key in keys]
    parts += _list_numbered("LoRA", "model", keys.get("lora", []))
    parts += _list_numbered("Control", "file", keys.get("control", []))
    negative = [f"-{negative_prompt}"] if negative_prompt else []
    return "\n".join([prompt, *negative, ", ".join(parts)])


def _word(key: str, keys: Mapping[str, Any]) -> str:
    value = keys[key]
    if key in ("tiled_decoding", "tiled_diffusion"):
        stage = key.removeprefix("tiled_")
        width, height, overlap = (keys[f"{stage}_tile_{part}"] for part in ("width", "height", "overlap"))
        return f"{width}x{height} [{overlap}]"
    if key == "refiner_start":
        return f"{shorten_float32(100 * value)}%"
    return str(value).lower() if isinstance(value, bool) else _word_number(value)


def _word_number(value: object) -> str:
    return str(shorten_float32(value) if isinstance(value, float) else value)


def _list_numbered(what: str, name_key: str, items: list[Mapping[str, Any]]) -> list[str]:
    """``LoRA Model: …`` for one item, ``LoRA 1 Model: …`` and so on for several."""
    return [
        f"{what}{f' {number}' if len(items) > 1 else ''} {label}: {_word_number(item[key])}"
        for number, item in enumerate(items, 1)
        for label, key in (("Model", name_key), ("Weight", "weight"))
    ]


def parse_text(text: str) -> dict[str, Any] | None:
    """Prompts and short keys of a text that this module or the app wrote; None for any other text.

    Prompts contain commas and lines of their own, so this is a last resort: the last line of parameters
    counts, and before it the last line that begins with ``-``.
    """
    before, found, parameters = text.rpartition(f"\n{_PARAMETERS}")
    if not found:
        return None
    values = dict(part.split(": ", 1) for part in _PART.split(_PARAMETERS + parameters) if ": " in part)
    if not {"Sampler", "Seed", "Size", "Model"} <= values.keys():
        return None
    prompt, negative, negative_prompt = f"\n{before}".rpartition("\n-")
    keys = {_KEYS[label]: _parse_value(value) for label, value in values.items() if label in _KEYS}
    return {
        **keys,
        "c": (prompt if negative else before).strip(),
        "uc": negative_prompt if negative else "",
        "lora": _parse_loras(values),
    }


def _parse_loras(values: Mapping[str, str]) -> list[dict[str, Any]]:
    models = {
        label.removesuffix(" Model"): v for label, v in values.items() if re.fullmatch(r"LoRA (\d+ )?Model", label)
    }
    return [{"model": file, "weight": _parse_value(values.get(f"{name} Weight", ""))} for name, file in models.items()]


def _parse_value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
