"""Arguments of a tool as models write them, read as what they mean: ``16x9``, ``768px``, ``7,5``, ``txt2img``.

Only what has one meaning is read; everything else is left for the checks, which say what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from drawthings_mcp.limits import PAPERS, PRINT_DPI
from drawthings_mcp.validation import strip_separators

_NULL = "null"
_PROMPTS = ("prompt", "prompts")
_BY_DEFAULT = frozenset({"auto", "automatic", "default", "random", "any", "none"})
"""What stands for a number that the server is to choose."""
_RATIO = re.compile(r"(\d)\s*[x×/:]\s*(\d)")
_SIZE = re.compile(r"\s*(\d{3,4})\s*[x×*]\s*(\d{3,4})\s*(?:px|pixels)?\s*", re.IGNORECASE)
_NUMBER = re.compile(
    r"\s*(?P<number>[-+]?\d+(?:[.,]\d+)?)\s*(?P<unit>%|px|pixels?|steps?|images?|pictures?|variants?|stars?|s|sec(?:onds?)?)?\s*",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"\d{1,3}[,.]\d{3}")
_AXIS = re.compile(r"\s*(\w+)\s*[:=]\s*([^:=;]+)(?:;|$)")
"""An axis of a sweep as text: ``steps: 4, 8``; another one comes after a semicolon."""
_MEANINGS: Mapping[str, str] = {
    **dict.fromkeys(("txt2img", "text2img", "t2i", "texttoimage", "generate", "create", "draw"), "text2image"),
    **dict.fromkeys(("img2img", "i2i", "imagetoimage"), "image2image"),
    **dict.fromkeys(("editing", "imageedit", "instructpix2pix"), "edit"),
    **dict.fromkeys(("inpainting", "mask", "fill"), "inpaint"),
    **dict.fromkeys(("wide", "horizontal", "widescreen"), "landscape"),
    **dict.fromkeys(("tall", "vertical", "upright"), "portrait"),
    **dict.fromkeys(("11", "quadratic"), "square"),
    **dict.fromkeys(("true", "yes", "on"), "always"),
    **dict.fromkeys(("false", "no", "off"), "never"),
    "model": "models",
    **dict.fromkeys(("lora", "lycoris"), "loras"),
    **dict.fromkeys(("guide", "help"), "guides"),
    **dict.fromkeys(("maskrect", "rectanglemask", "createmask", "mask"), "mask_rectangle"),
    **dict.fromkeys(("compare", "sidebyside"), "side_by_side"),
    **dict.fromkeys(("grid", "sheet", "strip"), "contact_sheet"),
    **dict.fromkeys(("grow", "growmask", "shrinkmask", "expandmask", "feather", "feathermask"), "adjust_mask"),
    **dict.fromkeys(("enlarge", "upscaling"), "upscale"),
    **dict.fromkeys(("scale",), "resize"),
    **dict.fromkeys(("invert",), "invert_mask"),
    **dict.fromkeys(("save",), "export"),
    **dict.fromkeys(("local", "everything"), "all"),
    **dict.fromkeys(("internet", "online"), "web"),
    "jpg": "jpeg",
    "control": "controls",
    "preset": "presets",
    "upscaler": "upscalers",
    "embedding": "embeddings",
}
"""Other words for allowed values, without separators; one counts where its meaning is allowed."""
_ALSO: Mapping[str, str] = {"mask": "inpaint"}


ALIASES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("cfg", "cfg_scale", "guidance", "scale"), ("guidance_scale",)),
    **dict.fromkeys(("num_inference_steps", "sampling_steps", "iterations"), ("steps",)),
    **dict.fromkeys(("n", "num_images", "number", "count", "batch_size", "num", "amount"), ("variants", "limit")),
    **dict.fromkeys(("size", "resolution", "dimensions"), ("width", "height", "long_edge")),
    **dict.fromkeys(("aspect_ratio", "aspect", "ratio", "orientation", "format"), ("image_format",)),
    **dict.fromkeys(
        ("image", "input", "input_image", "init_image", "source_image", "picture", "id", "path", "file", "url"),
        ("canvas", "images", "job"),
    ),
    **dict.fromkeys(("reference", "references", "reference_images", "image_2", "style_image"), ("moodboard", "like")),
    **dict.fromkeys(("denoise", "denoising_strength", "image_strength"), ("strength",)),
    **dict.fromkeys(("text", "description", "instruction", "caption"), ("prompt", "query")),
    **dict.fromkeys(("negative", "avoid", "exclude"), ("negative_prompt",)),
    **dict.fromkeys(("checkpoint", "model_name", "engine"), ("model",)),
    **dict.fromkeys(("scheduler", "sampling_method"), ("sampler",)),
    **dict.fromkeys(("config", "settings", "options"), ("configuration", "settings")),
    **dict.fromkeys(("tags", "label", "labels"), ("add", "tag")),
    **dict.fromkeys(("action", "type", "task"), ("operation", "kind", "mode")),
    **dict.fromkeys(("search", "keywords", "q", "name"), ("query",)),
    **dict.fromkeys(("rect", "rectangle", "region", "area", "bbox"), ("boxes", "box")),
    **dict.fromkeys(("timeout", "seconds"), ("wait",)),
    "job_id": ("job",),
    **dict.fromkeys(("print", "paper", "paper_size", "max_size"), ("long_edge",)),
    "lora": ("loras", "lora"),
}
"""Other names for arguments, from other programs and from everyday speech; those that a call has are suggested."""


def read_arguments(given: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """The arguments of a call with what stands for nothing left out and what is understood put right."""
    return {name: value for pair in _spread(given, fields) for name, value in _read_one(*pair, fields)}


def _spread(given: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> Iterator[tuple[str, Any]]:
    """Every argument; a size where a shape is asked for is width and height, unless these are given.

    One prompt in a list, and several where one is asked for, go where they belong.
    """
    for name, value in given.items():
        size = _SIZE.fullmatch(value) if name == "image_format" and isinstance(value, str) else None
        if size and {"width", "height"} <= fields.keys() and given.get("width") is given.get("height") is None:
            yield from zip(("width", "height"), size.groups(), strict=True)
        elif name in _PROMPTS and "prompt" in fields and not all(map(given.get, _PROMPTS)):
            placed = _place_prompts(name, value)
            yield placed if placed[0] in fields else (name, value)
        else:
            yield name, value


def _place_prompts(name: str, value: Any) -> tuple[str, Any]:
    """One prompt, or one for each panel: a list, or lines."""
    listed = value.strip().splitlines() if name == "prompts" and isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(text, str) and text.strip() for text in listed):
        return name, value
    is_one = len(listed) == 1 and isinstance(value, list)
    return ("prompt", listed[0]) if is_one else ("prompts", listed) if len(listed) > 1 else (name, value)


def _read_one(name: str, value: Any, fields: Mapping[str, FieldInfo]) -> Iterator[tuple[str, Any]]:
    field = fields.get(name)
    if name == "long_edge" and isinstance(value, str) and value.strip().lower() in PAPERS:
        value = round(PAPERS[value.strip().lower()] * PRINT_DPI)
    if field is None or field.is_required() or not _is_left_out(value):
        read = value if field is None else _read_axes(value, fields) if name == "sweep" else _read(value, field)
        if read is not _NOTHING:
            yield name, read


def _read_axes(axes: Any, fields: Mapping[str, FieldInfo]) -> Any:
    """The arguments of a sweep by their own names, their values as those of a call."""
    if isinstance(axes, str):
        axes = dict(_AXIS.findall(axes)) or axes
    if isinstance(axes, list) and all(isinstance(axis, Mapping) for axis in axes):
        axes = {name: values for axis in axes for name, values in axis.items()}
    if not isinstance(axes, Mapping):
        return axes
    named = {name if name in fields else _find_alias(name, fields): values for name, values in axes.items()}
    return {
        name: [_read_swept(value, fields[name]) for value in listed]
        if name in fields and isinstance(listed := _list_values(name, values), list)
        else values
        for name, values in named.items()
    }


def _list_values(name: str, values: Any) -> Any:
    """The values of an axis that is a text with commas, which those of a prompt may have themselves."""
    if not isinstance(values, str) or "prompt" in name:
        return values
    return [value.strip() for value in values.strip("[] ").split(",")]


def _read_swept(value: Any, field: FieldInfo) -> Any:
    """A value of an axis; in place of what asks for the default, the default."""
    read = _read(value, field)
    return field.default if read is _NOTHING else read


def _find_alias(name: str, fields: Mapping[str, FieldInfo]) -> str:
    """The one argument of another name; the name itself when there is none."""
    meant = [other for other in ALIASES.get(name.lower(), ()) if other in fields]
    return meant[0] if len(meant) == 1 else name


_NOTHING = object()
"""In place of a value that asks for the default."""


def _is_left_out(value: Any) -> bool:
    """Whether a value stands for none: many clients send null for what they leave out, models the word."""
    return value is None or (isinstance(value, str) and (not value or value.strip().lower() == _NULL))


def _read(value: Any, field: FieldInfo) -> Any:
    kinds = set(_list_kinds(field.annotation))
    if isinstance(value, str) and not value.strip() and str not in kinds and not field.is_required():
        return _NOTHING
    allowed = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if allowed:
        return _choose(value, allowed)
    if kinds & {int, float} and not isinstance(value, bool):
        return _read_number(value, field, is_whole=float not in kinds)
    if str in kinds and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value}"
    return value


def _list_kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)


def _choose(value: Any, allowed: list[Any]) -> Any:
    """The allowed value that is meant, if it is one."""
    if value in allowed or not isinstance(value, str | bool):
        return value
    wanted = strip_separators(_RATIO.sub(r"\1:\2", f"{value}"))
    by_spelling = {strip_separators(choice): choice for choice in allowed}
    meanings = (wanted, _MEANINGS.get(wanted, ""), _ALSO.get(wanted, ""))
    found = (by_spelling.get(strip_separators(meaning)) for meaning in meanings if meaning)
    return next(filter(None, found), value)


def _read_number(value: Any, field: FieldInfo, *, is_whole: bool) -> Any:
    if isinstance(value, str):
        if not field.is_required() and value.strip().lower() in _BY_DEFAULT:
            return _NOTHING
        value = _parse_number(value, is_whole=is_whole)
    least = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), 0)
    # 0 where the least is 1 or more and the default depends on the call: the model means the default.
    return _NOTHING if value == 0 and least > 0 and field.default is None else value


def _parse_number(text: str, *, is_whole: bool) -> Any:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    digits = match["number"]
    if is_whole and _THOUSANDS.fullmatch(digits):
        return int(re.sub(r"[,.]", "", digits))
    number = float(digits.replace(",", "."))
    if match["unit"] == "%":
        return text if is_whole else number / 100
    return int(number) if number.is_integer() else number
