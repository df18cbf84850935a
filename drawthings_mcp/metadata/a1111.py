"""The text ``parameters`` of AUTOMATIC1111's WebUI, Forge, SD.Next and all that imitate it (formats §4.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from drawthings_mcp.metadata.dialect import ImageMetadata, ImageTags, Weights, check_values, find_float, find_int

_STEPS = re.compile(r"(?:^|,)\s*Steps:\s*\d")
_COMPANIONS = re.compile(r"(?:^|,)\s*(Sampler|CFG scale|Seed|Size):")
_MIN_COMPANIONS = 2
_NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"\s*([\w][\w \-/]{0,63}):\s*")
_JSON_STARTS = ('"', "{", "[")
_TAG = re.compile(r"(?:,\s*)?<(?:lora|lyco|locon):([^<>:]{1,200})((?::[^<>:]{0,40}){0,4})>")
_JSON = json.JSONDecoder(strict=False)
_MAX_PAIRS = 1000


def parse_a1111(tags: ImageTags) -> ImageMetadata | None:
    """What a text of this grammar says; None for any other text."""
    text = tags.parameters
    return None if "Steps:" not in text or text.lstrip().startswith("{") else parse_parameters(text)


def parse_parameters(text: str) -> ImageMetadata | None:
    """The same of a text; None when no line of it is a line of parameters."""
    check_values(text)
    lines = text.splitlines()
    place = _find_parameters(lines)
    if place is None:
        return None
    before = next((number for number, line in enumerate(lines[:place]) if line.startswith(_NEGATIVE)), place)
    values = parse_pairs(lines[place])
    prompt, loras = take_loras("\n".join(lines[:before]))
    has_hires = any(key.startswith("Hires") for key in values)
    return ImageMetadata(
        dialect="a1111",
        prompt=prompt,
        negative_prompt="\n".join(lines[before:place]).removeprefix(_NEGATIVE).strip(),
        model=values.get("Model", ""),
        loras=_add_hashed(loras, values),
        seed=find_int(values.get("Seed")),
        steps=find_int(values.get("Steps")),
        guidance_scale=_find_guidance(values),
        sampler=join_sampler(values.get("Sampler", ""), values.get("Schedule type", "")),
        strength=None if has_hires else find_float(values.get("Denoising strength")),
        software=_name_software(values),
    )


def _find_parameters(lines: list[str]) -> int | None:
    """The last line that is one of parameters: prompts may contain anything, also "Steps:"."""
    for number in range(len(lines) - 1, -1, -1):
        companions = set(_COMPANIONS.findall(lines[number]))
        if len(companions) >= _MIN_COMPANIONS and _STEPS.search(lines[number]):
            return number
    return None


def parse_pairs(line: str) -> dict[str, str]:
    """Keys and values of a line of parameters; of a key that is there twice, the first counts."""
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
        values.setdefault(key[1].strip(), value)
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


def _add_hashed(loras: Weights, values: Mapping[str, str]) -> Weights:
    """Those that only stand in the list of weights, or of hashes."""
    weights = dict(_split_pairs(values.get("Lora weights", "")))
    names = [*weights, *(name for name, _ in _split_pairs(values.get("Lora hashes", "")))]
    known = {name for name, _ in loras}
    return (*loras, *((name, find_float(weights.get(name))) for name in dict.fromkeys(names) if name not in known))


def _split_pairs(text: str) -> list[tuple[str, str]]:
    parts = (part.rpartition(":") for part in text.split(",") if ":" in part)
    return [(name.strip(), value.strip()) for name, _, value in parts]


def _find_guidance(values: Mapping[str, str]) -> float | None:
    guidance = find_float(values.get("CFG scale"))
    return find_float(values.get("Distilled CFG Scale")) if guidance is None else guidance


def join_sampler(sampler: str, schedule: str) -> str:
    """Sampler and schedule as one name; a schedule that says nothing is left out."""
    counts = schedule and schedule.lower() not in ("automatic", "normal") and schedule.lower() not in sampler.lower()
    return f"{sampler} {schedule}" if sampler and counts else sampler


def _name_software(values: Mapping[str, str]) -> str:
    version, program = values.get("Version", ""), values.get("App", "")
    if not program:
        # Forge counts its versions with an f before the number.
        program = "Forge" if version.startswith("f") else "Stable Diffusion WebUI"
    return f"{program} {version}".strip()
