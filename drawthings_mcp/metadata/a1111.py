"""The text ``parameters`` of AUTOMATIC1111's WebUI, Forge, SD.Next, Civitai and all that imitate it (formats §4.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    Weights,
    check_values,
    find_float,
    find_int,
    find_list,
    find_moment,
    find_text,
    parse_json,
    parse_object,
)
from drawthings_mcp.validation import shorten

_STEPS = re.compile(r"(?:^|,)\s*Steps:\s*\d", re.IGNORECASE)
_COMPANIONS = re.compile(r"(?:^|,)\s*(Sampler|CFG scale|Seed|Size):", re.IGNORECASE)
_MIN_COMPANIONS = 2
_NEGATIVE = re.compile(r"\s*Negative prompt:", re.IGNORECASE)
_KEY = re.compile(r"\s*([\w][\w \-/]{0,63}):\s*")
_JSON_STARTS = ('"', "{", "[")
_TAG = re.compile(r"(?:,\s*)?<(?:lora|lyco|locon):([^<>:]{1,200})((?::[^<>:]{0,40}){0,4})>")
_JSON = json.JSONDecoder(strict=False)
_MAX_PAIRS = 1000
_HASHED = "lora:"
"""Before the name of a LoRA in the list of all hashes."""
_LORA_KINDS = frozenset(("lora", "locon", "lycoris", "dora"))
_OTHERS = (
    *("clip skip", "hires upscale", "hires upscaler", "refiner", "adetailer model", "controlnet 0", "face restoration"),
    *("variation seed strength", "tiling", "vae", "freeu"),
)
"""What changes the picture and has no place in ``ImageMetadata``."""
_NONE = (None, "", "1", "None", "Automatic")
"""Values, of clip skip and of others, that change nothing."""
_COMFYUI = "ComfyUI"
"""The version that nodes of ComfyUI write which imitate this text."""


def parse_a1111(tags: ImageTags) -> ImageMetadata | None:
    """What a text of this grammar says; None for any other text."""
    text = tags.parameters
    return None if "steps:" not in text.lower() or text.lstrip().startswith("{") else parse_parameters(text)


def parse_parameters(text: str) -> ImageMetadata | None:
    """The same of a text; None when no line of it is a line of parameters."""
    check_values(text)
    lines = text.splitlines()
    place = _find_parameters(lines)
    if place is None:
        return None
    before = next((number for number, line in enumerate(lines[:place]) if _NEGATIVE.match(line)), place)
    values = parse_pairs(lines[place])
    prompt, loras = take_loras("\n".join(lines[:before]))
    has_hires = any(key.startswith("hires") for key in values)
    model, resources = parse_resources(_parse_list(values.get("civitai resources", "")))
    return ImageMetadata(
        dialect="a1111",
        prompt=prompt,
        negative_prompt=_NEGATIVE.sub("", "\n".join(lines[before:place]), count=1).strip(),
        model=values.get("model", "") or model,
        loras=_add_missing(loras, values, resources),
        seed=find_int(values.get("seed")),
        steps=find_int(values.get("steps")),
        guidance_scale=_find_guidance(values),
        sampler=_name_sampler(values),
        strength=None if has_hires else find_float(values.get("denoising strength")),
        created=find_moment(values.get("created date")),
        software=_name_software(values),
        others=tuple(f"{key} {shorten(values[key])}" for key in _OTHERS if values.get(key) not in _NONE),
    )


def _find_parameters(lines: list[str]) -> int | None:
    """The last line that is one of parameters: prompts may contain anything, also "Steps:"."""
    for number in range(len(lines) - 1, -1, -1):
        companions = set(_COMPANIONS.findall(lines[number]))
        if len(companions) >= _MIN_COMPANIONS and _STEPS.search(lines[number]):
            return number
    return None


def parse_pairs(line: str) -> dict[str, str]:
    """Keys, in lower case, and values of a line of parameters; of a key that is there twice, the first counts."""
    values: dict[str, str] = {}
    place = 0
    for _ in range(_MAX_PAIRS):
        key = _KEY.match(line, place)
        if key is None:
            following = line.find(",", place)
            if following < 0:
                break
            place = following + 1
            continue
        value, end = _read_value(line, key.end())
        values.setdefault(key[1].strip().lower(), value)
        place = end + 1
    return values


def _read_value(line: str, place: int) -> tuple[str, int]:
    """A value and where it ends: JSON as a whole, for it has commas of its own, else up to the next comma."""
    if line.startswith(_JSON_STARTS, place):
        try:
            value, end = _JSON.raw_decode(line, place)
        except (ValueError, RecursionError):
            pass
        else:
            return value if isinstance(value, str) else line[place:end], end
    end = line.find(",", place)
    end = len(line) if end < 0 else end
    return line[place:end].strip(), end


def take_loras(prompt: str) -> tuple[str, Weights]:
    """A prompt without its LoRA tags, and the LoRAs: ``<lora:name:weight>``, or with two weights the model's last."""
    loras = [(match[1].strip(), _find_weight(match[2])) for match in _TAG.finditer(prompt)]
    clean = _TAG.sub("", prompt)
    return (clean.lstrip(" ,\n").rstrip() if loras else clean.strip()), tuple(loras)


def _find_weight(text: str) -> float | None:
    weights = (find_float(part.rpartition("=")[2]) for part in reversed(text.split(":")))
    return next((weight for weight in weights if weight is not None), None)


def _add_missing(loras: Weights, values: Mapping[str, str], resources: Weights) -> Weights:
    """Those that only stand in the list of weights, of resources or of hashes; the last two name the same files."""
    weights = dict(_split_pairs(values.get("lora weights", "")))
    known = {name for name, _ in loras}
    weighted = (*loras, *((name, find_float(weight)) for name, weight in weights.items() if name not in known))
    if not weighted and resources:
        return resources
    known |= weights.keys()
    hashed = dict.fromkeys(name for name in _list_hashed(values) if name not in known)
    return (*weighted, *hashed.items())


def _list_hashed(values: Mapping[str, str]) -> Iterator[str]:
    yield from (name for name, _ in _split_pairs(values.get("lora hashes", "")))
    hashes = parse_object(values.get("hashes", "")) or {}
    yield from (name[len(_HASHED) :] for name in hashes if name.lower().startswith(_HASHED))


def _split_pairs(text: str) -> list[tuple[str, str]]:
    parts = (part.rpartition(":") for part in text.split(",") if ":" in part)
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _find_guidance(values: Mapping[str, str]) -> float | None:
    guidance = find_float(values.get("cfg scale"))
    return find_float(values.get("distilled cfg scale")) if guidance is None else guidance


def _name_sampler(values: Mapping[str, str]) -> str:
    sampler = values.get("sampler", "")
    # Civitai's word for a sampler that it did not keep.
    return "" if sampler == "Undefined" else join_sampler(sampler, values.get("schedule type", ""))


def _parse_list(text: str) -> Any:
    return parse_json(text) if text.startswith("[") else None


def parse_resources(items: Any) -> tuple[str, Weights]:
    """Checkpoint and LoRAs of a list of Civitai's resources, by their names there."""
    found = [item for item in find_list(items) if isinstance(item, dict)]
    named = [(_find_kind(item), find_text(item.get("modelName") or item.get("name")), item) for item in found]
    model = next((name for kind, name, _ in named if kind in ("checkpoint", "model") and name), "")
    loras = ((name, find_float(item.get("weight"))) for kind, name, item in named if kind in _LORA_KINDS and name)
    return model, tuple(loras)


def _find_kind(item: Mapping[str, Any]) -> str:
    """The type of a resource, which its address also has: ``urn:air:sdxl:lora:civitai:1@2``."""
    address = find_text(item.get("air")).split(":")
    return find_text(item.get("type")).lower() or (address[3].lower() if len(address) > 3 else "")


def join_sampler(sampler: str, schedule: str) -> str:
    """Sampler and schedule as one name; a schedule that says nothing is left out."""
    counts = schedule and schedule.lower() not in ("automatic", "normal") and schedule.lower() not in sampler.lower()
    return f"{sampler} {schedule}" if sampler and counts else sampler


def _name_software(values: Mapping[str, str]) -> str:
    version, program = values.get("version", ""), values.get("app", "")
    if not program and version == _COMFYUI:
        return _COMFYUI
    if not program and not version and "civitai resources" in values:
        return "Civitai"
    if not program:
        # Forge counts its versions with an f before the number.
        program = "Forge" if version.startswith("f") else "Stable Diffusion WebUI"
    return f"{program} {version}".strip()
