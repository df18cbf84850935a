"""The short keys of Draw Things' image metadata ↔ configurations (formats §3.3), and ↔ the text for people (§3.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation import ControlNetConfig, ImageGenerationConfig, LoRAConfig, SamplerType, SeedMode
from drawthings_mcp.generation.app_json import shorten_float32
from drawthings_mcp.limits import MAX_SEED, UNIT

_ItemT = TypeVar("_ItemT")
Keys: TypeAlias = dict[str, Any]
_Applies: TypeAlias = "Callable[[ImageGenerationConfig, ModelKind], bool]"


@dataclass(frozen=True, slots=True)
class ModelKind:
    """Version and modifier of the model as a server's catalog names them; empty when unknown."""

    version: str = ""
    modifier: str = ""


_CONTROL_KEYS = ("file", "weight", "no_prompt", "guidance_start", "guidance_end", "global_average_pooling")


def _of(*versions: str) -> _Applies:
    return lambda _, kind: kind.version in versions


def _same(*names: str) -> Mapping[str, str]:
    return {name: name for name in names}


def _is_tiled(configuration: ImageGenerationConfig, stage: str) -> bool:
    """Whether a tiling that is switched on has more than one tile."""
    width, height = (getattr(configuration, f"{stage}_tile_{side}") for side in ("width", "height"))
    return bool(width < configuration.width or height < configuration.height)


_SDXL = _of("sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b")

_SCALARS: tuple[tuple[_Applies, Mapping[str, str]], ...] = (
    (lambda *_: True, {**_same("steps", "model", "strength"), "scale": "guidance_scale"}),
    (lambda c, _: bool(c.upscaler), _same("upscaler")),
    (lambda c, _: c.shift != 1, _same("shift")),
    (lambda c, _: c.clip_skip > 1, _same("clip_skip")),
    (lambda c, _: c.sharpness > 0, _same("sharpness")),
    (lambda c, _: c.mask_blur > 0, _same("mask_blur")),
    (lambda c, _: c.mask_blur_outset != 0, _same("mask_blur_outset")),
    (lambda _, kind: kind.modifier == "editing", {"image_guidance": "image_guidance_scale"}),
    (lambda c, _: c.hires_fix, {"hires_fix": "hires_fix", "second_stage_strength": "hires_fix_strength"}),
    (lambda c, _: bool(c.refiner_model), {"refiner": "refiner_model", "refiner_start": "refiner_start"}),
    (_SDXL, _same("crop_top", "crop_left", "aesthetic_score", "negative_aesthetic_score", "zero_negative_prompt")),
    (_of("kandinsky2.1"), _same("clip_weight", "image_prior_steps", "negative_prompt_for_image_prior")),
    (_of("ideogram_4"), _same("expand_prompt_to_json")),
    (_of("wurstchen_v3.0_stage_c"), _same("stage_2_steps", "stage_2_guidance", "stage_2_shift")),
    (_of("svd_i2v", "hunyuan_video"), _same("num_frames")),
    (
        _of("svd_i2v"),
        {**_same("fps", "motion_scale"), "cond_aug": "guiding_frame_noise", "min_cfg": "start_frame_guidance"},
    ),
    (
        lambda c, _: c.tiled_decoding and _is_tiled(c, "decoding"),
        _same("tiled_decoding", "decoding_tile_width", "decoding_tile_height", "decoding_tile_overlap"),
    ),
    (
        lambda c, _: c.tiled_diffusion and _is_tiled(c, "diffusion"),
        _same("tiled_diffusion", "diffusion_tile_width", "diffusion_tile_height", "diffusion_tile_overlap"),
    ),
    (
        lambda c, _: c.tea_cache,
        _same("tea_cache", "tea_cache_start", "tea_cache_end", "tea_cache_threshold", "tea_cache_max_skip_steps"),
    ),
    (lambda c, _: c.causal_inference_enabled and c.causal_inference > 0, _same("causal_inference")),
    (
        lambda c, _: c.sampler in (SamplerType.TCD, SamplerType.TCDTrailing),
        _same("stochastic_sampling_gamma"),
    ),
)
"""When some keys are written, and the field that each stands for."""

_SIZES: tuple[tuple[_Applies, Mapping[str, tuple[str, str]]], ...] = (
    (lambda *_: True, {"size": ("width", "height")}),
    (lambda c, _: c.hires_fix, {"first_stage_size": ("hires_fix_width", "hires_fix_height")}),
    (
        _SDXL,
        {
            "target_size": ("target_image_width", "target_image_height"),
            "original_size": ("original_image_width", "original_image_height"),
            "negative_original_size": ("negative_original_image_width", "negative_original_image_height"),
        },
    ),
)
"""When ``WxH`` in pixels is written, and the two fields that it stands for."""

_ZERO_MEANS: Mapping[str, str] = {
    "target_image_width": "width",
    "target_image_height": "height",
    "original_image_width": "width",
    "original_image_height": "height",
    "negative_original_image_width": "original_image_width",
    "negative_original_image_height": "original_image_height",
}
"""The field that counts when one is 0 (formats §1.3)."""

_IN_UNITS = frozenset({"size", "first_stage_size"})
"""Sizes that the app floors to multiples of 64 when it reads them."""


def build_keys(configuration: ImageGenerationConfig, kind: ModelKind) -> Keys:
    """Every key that applies but the prompts, ``v2`` and our own; floats as configured.

    Raises
    ------
    InvalidInputError
        The seed is not the one that was used: -1 would crash the app when it reads the picture.
    """
    if configuration.seed < 0:
        raise InvalidInputError("metadata need the seed that was used, got -1.", parameter="seed")
    keys: Keys = {
        "seed": configuration.seed,
        "sampler": configuration.sampler.display_name,
        "seed_mode": configuration.seed_mode.display_name,
        "lora": [
            {"model": lora.file, "weight": lora.weight, "mode": lora.mode.name.lower()} for lora in configuration.loras
        ],
    }
    for applies, names in _SCALARS:
        if applies(configuration, kind):
            keys |= {key: getattr(configuration, name) for key, name in names.items()}
    for applies, pairs in _SIZES:
        if applies(configuration, kind):
            keys |= {key: "x".join(str(_get_side(configuration, s)) for s in sides) for key, sides in pairs.items()}
    if configuration.controls:
        keys["control"] = [_build_control(control) for control in configuration.controls]
    return keys


def _get_side(configuration: ImageGenerationConfig, name: str) -> int:
    side: int = getattr(configuration, name)
    return _get_side(configuration, _ZERO_MEANS[name]) if side == 0 and name in _ZERO_MEANS else side


def _build_control(control: ControlNetConfig) -> Keys:
    return {key: getattr(control, key) for key in _CONTROL_KEYS}


def parse_keys(data: Mapping[str, Any]) -> Keys:
    """The configuration's fields that the short keys set; what cannot be understood is left out."""
    fields = {
        name: value
        for _, names in _SCALARS
        for key, name in names.items()
        if (value := _parse_scalar(name, data.get(key))) is not None
    }
    for key, sides in (pair for _, pairs in _SIZES for pair in pairs.items()):
        if size := parse_size(data.get(key)):
            unit = UNIT if key in _IN_UNITS else 1
            fields |= {name: length // unit * unit for name, length in zip(sides, size, strict=True)}
    found = {
        "seed": _find_seed(data.get("seed")),
        "sampler": find_sampler(data.get("sampler")),
        "seed_mode": _find_seed_mode(data.get("seed_mode")),
        "loras": _parse_items(data.get("lora"), _parse_lora),
        "controls": _parse_items(data.get("control"), _parse_control),
    }
    return fields | {name: value for name, value in found.items() if value is not None}


def _parse_scalar(field: str, value: Any) -> Any:
    """A JSON value as the type of a field, None when it is not of that type."""
    kind = type(ImageGenerationConfig.model_fields[field].default)
    if kind is float:
        return float(value) if _is_number(value) else None
    if kind is int:
        return int(value) if _is_number(value) and value == value // 1 else None
    return value if isinstance(value, kind) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def parse_size(text: Any) -> tuple[int, int] | None:
    """Width and height of ``WxH``."""
    match = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", text) if isinstance(text, str) else None
    return (int(match[1]), int(match[2])) if match else None


def _parse_items(items: Any, parse_one: Callable[[Mapping[str, Any]], _ItemT]) -> tuple[_ItemT, ...] | None:
    """A list of objects, without those that cannot be used, as the app reads it."""
    if not isinstance(items, list):
        return None
    parsed = []
    for item in items:
        with suppress(InvalidInputError):
            parsed.append(parse_one(item if isinstance(item, Mapping) else {}))
    return tuple(parsed)


def _parse_lora(item: Mapping[str, Any]) -> LoRAConfig:
    fields = {"file": item.get("model"), "weight": item.get("weight"), "mode": item.get("mode", "all")}
    return LoRAConfig.from_saved(**fields)


def _parse_control(item: Mapping[str, Any]) -> ControlNetConfig:
    return ControlNetConfig.from_saved(**{key: item[key] for key in _CONTROL_KEYS if key in item})


def _find_seed(value: Any) -> int | None:
    seed = _parse_scalar("seed", value)
    return seed if seed is not None and 0 <= seed <= MAX_SEED else None


_SAMPLER_STEMS = (
    (("dpm", "sde"), "DPMPPSDE", "Karras"),
    (("dpm",), "DPMPP2M", "Karras"),
    (("euler",), "EulerA", ""),
    *(((stem.lower(),), stem, "") for stem in ("UniPC", "PLMS", "DDIM", "LCM", "TCD")),
)
"""The app's own lenient reading: the first row all of whose words occur, and then the first schedule (formats §1.4)."""
_SCHEDULES = ("Substep", "Trailing", "AYS")


def find_sampler(name: Any) -> SamplerType | None:
    """The sampler that a text in metadata means, None when it means none of the app's."""
    if not isinstance(name, str):
        return None
    try:
        return SamplerType.parse(name)
    except UnknownNameError:
        words = name.lower()
        rows = (row for row in _SAMPLER_STEMS if all(word in words for word in row[0]))
        _, stem, plain = next(rows, ((), "", ""))
        known = (stem + schedule for schedule in _SCHEDULES if schedule.lower() in words)
        members = SamplerType.__members__
        return next((members[member] for member in known if member in members), members.get(stem + plain))


def _find_seed_mode(name: Any) -> SeedMode | None:
    # Other tools write "Nvidia GPU Compatible"; the app itself only knows the exact case.
    return next((mode for mode in SeedMode if str(name).lower() == mode.display_name.lower()), None)


_TITLES = {
    "scale": "Guidance Scale",
    "clip_skip": "CLIP Skip",
    "clip_weight": "CLIP Weight",
    "negative_prompt_for_image_prior": "Negative Prompt for Image Prior",
    "expand_prompt_to_json": "Expand Prompt to JSON",
    "num_frames": "Number of Frames",
    "fps": "FPS",
    "cond_aug": "Guiding Frame Noise",
    "min_cfg": "Start Frame Guidance",
    "tiled_decoding": "Tiled Decoding Enabled",
    "tiled_diffusion": "Tiled Diffusion Enabled",
    "tea_cache": "TeaCache Enabled",
    "stochastic_sampling_gamma": "Strategic Stochastic Sampling",
}
_ORDER = """
steps sampler scale seed size model strength seed_mode upscaler shift clip_skip sharpness mask_blur_outset
image_guidance hires_fix first_stage_size second_stage_strength clip_weight image_prior_steps
negative_prompt_for_image_prior expand_prompt_to_json stage_2_steps stage_2_guidance stage_2_shift refiner
refiner_start target_size original_size negative_original_size crop_top crop_left aesthetic_score
negative_aesthetic_score zero_negative_prompt num_frames fps motion_scale cond_aug min_cfg tiled_decoding
tiled_diffusion tea_cache causal_inference stochastic_sampling_gamma
"""
_LABELS = {key: _TITLES.get(key) or key.replace("_", " ").title() for key in _ORDER.split()}
"""Key → label, in the app's order; mask blur is not in the text."""

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
    if not {"Sampler", "Guidance Scale", "Seed", "Size", "Model"} <= values.keys():
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
