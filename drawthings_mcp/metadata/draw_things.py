"""Draw Things' own dialect of image metadata, and this package's record within it (formats §3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version as get_version
from typing import Any

from drawthings_mcp.errors import InvalidImageError, InvalidInputError
from drawthings_mcp.generation import ImageGenerationConfig, LoRAConfig, ResultImage, SamplerType
from drawthings_mcp.generation.app_json import MAX_FLOAT32, shorten_float32, widen_float32
from drawthings_mcp.generation.configuration import AppSettings, parse_app_json
from drawthings_mcp.limits import MAX_SEED
from drawthings_mcp.metadata.dialect import (
    ImageMetadata,
    ImageTags,
    find_float,
    find_int,
    find_list,
    find_moment,
    find_object,
    find_text,
    parse_object,
    replace_halves,
)
from drawthings_mcp.metadata.draw_things_keys import (
    ModelKind,
    build_keys,
    build_text,
    parse_keys,
    parse_size,
    parse_text,
)
from drawthings_mcp.metadata.xmp import Packet, build_packet, parse_packet

SOFTWARE = "Draw Things"
SIMULATED_SOFTWARE = "Draw Things (simulated)"
OWN_SOFTWARE = "drawthings-mcp"
RECORD_KEY = "drawthings_mcp"
"""Key of this package's own record; the app ignores keys that it does not know."""
EXPORTED = "exported"
"""Key within it that marks a copy which was made for others."""

_LOST = re.compile(r"[?\u0080-\U0010ffff]+")
_MEDIA_ID = re.compile(r"[avpi][1-9]\d{0,15}")
_NOT_XML = re.compile("[\ufffe\uffff]")
"""What JSON does not escape by itself and XML cannot contain."""


@dataclass(frozen=True, slots=True)
class DrawThingsMetadata:
    """How a picture was made, as far as it says so.

    Attributes
    ----------
    sampler
        The app's display name; as found when it is none of the app's.
    size
        Width and height in pixels of the canvas it was rendered on; the picture itself may be cropped.
    configuration
        Complete when the picture carries the app's whole object, otherwise completed by defaults; None when
        values of it are of the wrong type.
    unknown
        Keys and values of the app's whole object that are not known here, for people; they stand in ``raw``.
    record
        This package's own record; empty for pictures from elsewhere.
    raw
        The whole object as found; for a picture that only carries text, what was found in it.
    """

    prompt: str
    negative_prompt: str = ""
    model: str = ""
    seed: int | None = None
    steps: int | None = None
    sampler: str = ""
    guidance_scale: float | None = None
    size: tuple[int, int] | None = None
    loras: tuple[LoRAConfig, ...] = ()
    configuration: ImageGenerationConfig | None = None
    unknown: tuple[str, ...] = ()
    software: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_simulated(self) -> bool:
        """Whether the picture was drawn by the simulator."""
        return self.record.get("simulated") is True or self.software == SIMULATED_SOFTWARE


def build_metadata(
    image: ResultImage,
    *,
    server: str = "",
    requested_size: tuple[int, int] | None = None,
    kind: ModelKind | None = None,
    created: datetime | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """The XMP packet of a picture.

    That a picture is simulated is said plainly, in the software's name and in the record.

    Parameters
    ----------
    server
        Address of the server that made it.
    requested_size
        Width and height in pixels that were asked for, when they differ from the canvas.
    kind
        The model's version and modifier. Keys that belong to some models only (SDXL's sizes, the frames of
        a video) are left out without it; the complete configuration is always in ``v2``.
    created
        Time zone aware; now when left out.
    extra
        More of this package's record, as JSON values: mode, preset, pass ….

    Raises
    ------
    InvalidInputError
        The image's seed is not the one that was used.
    """
    keys = build_keys(image.configuration, kind or ModelKind())
    prompt, negative_prompt = image.prompt.strip(), image.negative_prompt.strip()
    record = {
        **_build_record(image.size, extra, created),
        "server": server,
        "simulated": image.simulated,
        "requested_size": "{}x{}".format(*(requested_size or image.size)),
    }
    comment = {
        **_widen({**keys, "v2": image.configuration.to_app_json()}),
        "c": prompt,
        "uc": negative_prompt,
        RECORD_KEY: record,
    }
    return build_packet(
        Packet(
            software=SIMULATED_SOFTWARE if image.simulated else SOFTWARE,
            description=build_text(prompt, negative_prompt, keys),
            comment=_dump(comment),
        )
    )


def build_made_metadata(size: tuple[int, int], *, extra: Mapping[str, Any] | None = None) -> str:
    """The XMP packet of a picture that was made from others without Draw Things: this package's record only.

    Parameters
    ----------
    size
        Width and height in pixels.
    extra
        More of the record, as JSON values.
    """
    comment = {"c": "", RECORD_KEY: _build_record(size, extra, None)}
    return build_packet(Packet(software=OWN_SOFTWARE, comment=_dump(comment)))


def mark_exported(packet: str) -> str:
    """A packet of this package for a copy that is given to others: such a file is none of the catalog's.

    Any other packet is given back as it is.
    """
    parsed = parse_packet(packet)
    data = parse_object(parsed.comment) if parsed.comment else None
    record = data.get(RECORD_KEY) if data is not None else None
    if data is None or not isinstance(record, dict):
        return packet
    return build_packet(replace(parsed, comment=_dump({**data, RECORD_KEY: {**record, EXPORTED: True}})))


def _build_record(size: tuple[int, int], extra: Mapping[str, Any] | None, created: datetime | None) -> dict[str, Any]:
    return {
        **(extra or {}),
        "version": _find_own_version(),
        "created": (created or datetime.now(UTC)).isoformat(timespec="seconds"),
        "size": "{}x{}".format(*size),
    }


@cache
def _find_own_version() -> str:
    return get_version("drawthings-mcp")


def _dump(data: Mapping[str, Any]) -> str:
    """Compact JSON with sorted keys that XML can contain (formats §3.4)."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _NOT_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", replace_halves(text))


def _widen(value: Any) -> Any:
    """Floats as exact 32-bit floats, integral ones as integers: what the app writes and reads (formats §3.4)."""
    if isinstance(value, float):
        single = widen_float32(value)
        return int(single) if single.is_integer() else single
    if isinstance(value, dict):
        return {key: _widen(item) for key, item in value.items()}
    return [_widen(item) for item in value] if isinstance(value, list | tuple) else value


def parse_metadata(raw: Mapping[str, Any], software: str = "") -> DrawThingsMetadata:
    """The value of an object of this dialect; ``c`` is a text."""
    data: dict[str, Any] = _shorten(dict(raw))
    settings, short = _parse_complete(data.get("v2")), parse_keys(data)
    complete = settings.fields
    # When the two disagree, the short keys are what was rendered (formats §3.5); of controls they have half.
    fields = {**complete, **short, **{name: complete[name] for name in ("controls",) if name in complete}}
    for name in ImageGenerationConfig.list_unsendable(fields):
        del fields[name]
    configuration = _build_configuration(fields)
    values = {name: getattr(configuration, name) for name in fields} if configuration else short
    sampler = values.get("sampler")
    canvas = (values["width"], values["height"]) if {"width", "height"} <= values.keys() else None
    return DrawThingsMetadata(
        prompt=raw["c"],
        negative_prompt=raw["uc"] if isinstance(raw.get("uc"), str) else "",
        model=values.get("model", ""),
        seed=values.get("seed"),
        steps=values.get("steps"),
        sampler=str(raw.get("sampler", "")) if sampler is None else sampler.display_name,
        guidance_scale=values.get("guidance_scale"),
        size=parse_size(raw.get("size")) or canvas,
        loras=values.get("loras", ()),
        configuration=configuration,
        unknown=settings.unknown,
        software=software,
        record=raw[RECORD_KEY] if isinstance(raw.get(RECORD_KEY), dict) else {},
        raw=raw,
    )


def _shorten(value: Any) -> Any:
    """Floats as the decimals that somebody chose: 0.6 for the 0.6000000238418579 that is stored."""
    if isinstance(value, float):
        return shorten_float32(value) if abs(value) <= MAX_FLOAT32 else value
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    return [_shorten(item) for item in value] if isinstance(value, list) else value


def _parse_complete(data: Any) -> AppSettings:
    """What the app's whole object sets; a seed of -1 says nothing."""
    try:
        settings = parse_app_json(data) if data is not None else AppSettings({})
    except InvalidInputError:
        return AppSettings({})
    fields = {name: value for name, value in settings.fields.items() if (name, value) != ("seed", -1)}
    return AppSettings(fields, settings.unknown)


def _build_configuration(fields: Mapping[str, Any]) -> ImageGenerationConfig | None:
    try:
        return ImageGenerationConfig.from_saved(**fields) if fields else None
    except InvalidInputError:
        return None


def parse_xmp_comment(tags: ImageTags) -> ImageMetadata | None:
    """What the JSON that the app writes into XMP says."""
    return _parse_comment(tags.packet.comment, tags)


def parse_exif_comment(tags: ImageTags) -> ImageMetadata | None:
    """The same from EXIF's UserComment, where other programs and the app's JPEGs have it."""
    return _parse_comment(tags.user_comment, tags)


def parse_description(tags: ImageTags) -> ImageMetadata | None:
    """What the text for people says, the last resort."""
    found = _parse_descriptions(tags)
    return None if found is None else _build_metadata(found, tags)


def _parse_descriptions(tags: ImageTags) -> dict[str, Any] | None:
    return next(filter(None, map(parse_text, tags.descriptions)), None)


def _parse_comment(text: str, tags: ImageTags) -> ImageMetadata | None:
    found = _parse_own_object(text)
    return None if found is None else _build_metadata(_restore(found, tags), tags)


def _parse_own_object(text: str) -> dict[str, Any] | None:
    """The object of this dialect in a text; None for any other JSON."""
    found = parse_object(text)
    return found if found is not None and isinstance(found.get("c"), str) else None


def find_own_object(tags: ImageTags) -> dict[str, Any] | None:
    """The object of this dialect in a picture's tags; None when there is none."""
    for text in (tags.packet.comment, tags.user_comment):
        with suppress(InvalidImageError):
            if found := _parse_own_object(text):
                return _restore(found, tags)
    return _parse_descriptions(tags)


def _restore(found: dict[str, Any], tags: ImageTags) -> dict[str, Any]:
    """The object with the texts that EXIF's comment, which is ASCII in the app's JPEGs, has as question marks."""
    if "?" not in tags.user_comment:
        return found
    described = [parse_text(text) or {"c": text} for text in tags.descriptions]
    whole = {_mask(text): text for values in described for text in _list_texts(values)}
    return {key: _replace_texts(value, whole) for key, value in found.items()}


def _mask(text: str) -> str:
    """A text with one ``?`` for what may have been any run of others than ASCII, however they were counted."""
    return _LOST.sub("?", text.strip())


def _list_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and _mask(value) != value.strip():
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _list_texts(item)


def _replace_texts(value: Any, whole: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return whole.get(_mask(value), value) if "?" in value else value
    if isinstance(value, dict):
        return {key: _replace_texts(item, whole) for key, item in value.items()}
    return [_replace_texts(item, whole) for item in value] if isinstance(value, list) else value


def _build_metadata(raw: Mapping[str, Any], tags: ImageTags) -> ImageMetadata:
    complete, record = find_object(raw.get("v2")), find_object(raw.get(RECORD_KEY))
    # The short keys are what was rendered (formats §3.5).
    values = {**{short: complete.get(key) for short, key in _LONG_NAMES.items()}, **raw}
    return ImageMetadata(
        dialect="draw-things",
        prompt=raw["c"],
        negative_prompt=find_text(values.get("uc")),
        model=find_text(values["model"]),
        loras=tuple(_list_loras(values.get("lora")) or _list_loras(complete.get("loras"))),
        seed=_find_seed(values["seed"]),
        steps=find_int(values["steps"]),
        guidance_scale=_find_single(values["scale"]),
        sampler=_find_sampler(values["sampler"]),
        strength=_find_single(values["strength"]),
        created=find_moment(record.get("created")),
        software=tags.packet.software or SOFTWARE,
        media_id=_find_media_id(record),
        configuration=complete or _complete(raw),
    )


_LONG_NAMES = {
    **{name: name for name in ("model", "seed", "steps", "strength", "sampler")},
    "scale": "guidanceScale",
}
"""Short key → key of the complete object."""


def _find_seed(value: Any) -> int | None:
    seed = find_int(value)
    return seed if seed is not None and 0 <= seed <= MAX_SEED else None


def _find_single(value: Any) -> float | None:
    number = find_float(value)
    return None if number is None else float(_shorten(number))


def _find_sampler(value: Any) -> str:
    is_number = isinstance(value, int) and value in SamplerType.__members__.values()
    return SamplerType(value).display_name if is_number else find_text(value)


def _list_loras(items: Any) -> list[tuple[str, float | None]]:
    loras = [item for item in find_list(items) if isinstance(item, dict)]
    named = [(find_text(lora.get("model") or lora.get("file")), _find_single(lora.get("weight"))) for lora in loras]
    return [(name, weight) for name, weight in named if name]


def _find_media_id(record: Mapping[str, Any]) -> str:
    ids = (find_text(record.get(key)) for key in ("media_id", "id"))
    return next((found for found in ids if _MEDIA_ID.fullmatch(found)), "")


def _complete(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The complete object for a picture of an older app, which wrote the short keys only."""
    configuration = parse_metadata(raw).configuration
    return configuration.to_app_json() if configuration else {}
