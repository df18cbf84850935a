"""What all dialects share: the tags of a picture that they read, the metadata that they make of them, lenient JSON.

``ImageTags`` has every text under the name that it has in PNG, wherever the file's format puts it (formats §4.1).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.containers.bounded import CAPTION_KEYWORD, COMMENT_KEYWORD, RawMetadata
from drawthings_mcp.metadata.exif import DESCRIPTION, MAKER_NOTE, SOFTWARE, ExifTags, find_user_comment, parse_exif
from drawthings_mcp.metadata.xmp import XMP_KEYWORD, Packet, parse_packet

FOOOCUS_SCHEME = "fooocus_scheme"
PARAMETERS = "parameters"

_GRAPH = re.compile(r"\s*(prompt|workflow)\s*:\s*(?=\{)", re.IGNORECASE)
_GRAPH_TAGS = range(0x0110, 0x0100, -1)
"""ComfyUI counts down from Model in WebP, nodes of others use any of these; each text begins with its keyword."""


MAX_VALUES = 50_000
"""Of one text: a value of two characters takes a hundred bytes of memory. The largest graphs have some ten thousand."""
MAX_DEPTH = 64
"""Lists and objects within each other; graphs have about ten."""

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_HALVES = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"\s*[+-]?\d{1,20}(\.0{0,9})?\s*")
_FLOAT = re.compile(r"\s*[+-]?\d{1,20}(\.\d{0,40})?([eE][+-]?\d{1,3})?\s*")
_MAX_INTEGER = 2**64
"""Seeds of ComfyUI have 64 bits."""


@dataclass(frozen=True, slots=True)
class ImageTags:
    """Every text of a picture by which a dialect knows it.

    Attributes
    ----------
    texts
        By PNG keyword.
    packet
        The texts of XMP.
    exif
        The tags of EXIF.
    user_comment
        EXIF's, as text.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    packet: Packet = field(default_factory=Packet)
    exif: ExifTags = field(default_factory=ExifTags)
    user_comment: str = ""

    @property
    def parameters(self) -> str:
        """The text that half of all programs call ``parameters`` in PNG, and put into a comment elsewhere."""
        return self.texts.get(PARAMETERS) or self.comment

    @property
    def comment(self) -> str:
        """EXIF's comment, else that of the file."""
        return self.user_comment or self.texts.get(COMMENT_KEYWORD, "")

    @property
    def descriptions(self) -> tuple[str, ...]:
        """The texts for people: of XMP, IPTC and EXIF."""
        texts = (self.packet.description, self.texts.get(CAPTION_KEYWORD, ""), self.exif.get_text(DESCRIPTION))
        return tuple(filter(None, texts))


def collect_tags(raw: RawMetadata) -> ImageTags:
    """The tags in what a file carries.

    Raises
    ------
    InvalidImageError
        Its XMP is hostile.
    """
    xmp = raw.texts.get(XMP_KEYWORD)
    packet = parse_packet(xmp) if xmp else Packet()
    if not raw.exif:
        return ImageTags(raw.texts, packet)
    exif = parse_exif(raw.exif)
    texts = {**_list_graphs(exif), **_list_scheme(exif), **raw.texts}
    return ImageTags(texts, packet, exif, find_user_comment(exif))


def _list_graphs(exif: ExifTags) -> dict[str, str]:
    texts = (exif.get_text(number) for number in _GRAPH_TAGS if number in exif.picture)
    found = ((match, text) for text in texts if (match := _GRAPH.match(text)))
    return {match[1].lower(): text[match.end() :] for match, text in found}


def is_graph(text: str) -> bool:
    """Whether a text of EXIF is a graph of ComfyUI, whatever the tag is meant for."""
    return _GRAPH.match(text) is not None


def _list_scheme(exif: ExifTags) -> dict[str, str]:
    """Fooocus writes its scheme where cameras write notes."""
    is_fooocus = exif.get_text(SOFTWARE).startswith("Fooocus")
    return {FOOOCUS_SCHEME: exif.get_text(MAKER_NOTE)} if is_fooocus else {}


Weights: TypeAlias = tuple[tuple[str, float | None], ...]
"""LoRAs by name, each with its weight, None where none is given, in the order in which they apply."""


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """What a picture says about itself, whichever program wrote it; empty or None where it says nothing.

    Texts contain neither NUL nor halves of surrogate pairs.

    Attributes
    ----------
    dialect
        ``draw-things``, ``comfyui``, ``a1111``, ``invokeai``, ``swarmui``, ``fooocus``, ``ruined-fooocus``,
        ``novelai``, ``stability-matrix``, ``civitai``; ``exif`` for photos, ``plain`` for files that have nothing but
        a size.
    width, height
        Pixels of the file as it is shown, 0 when unknown.
    model
        As found: a file, with or without its folder or its ending, or a name.
    seed
        0 to 2**64 - 1; some programs use 64 bits.
    sampler
        As found, with the schedule behind it where the two are separate.
    strength
        0 to 1; 1 when nothing of another picture was kept.
    created
        From the metadata; with a time zone, the machine's own where they name none.
    camera
        Maker and model.
    position
        Latitude and longitude in degrees, north and east positive.
    software
        The program that wrote the picture, with its version where it is given.
    media_id
        This package's own id, when the picture is from its library.
    configuration
        The app's own JSON (formats §1.3) when it is a picture of Draw Things, as found: the other fields are what was
        rendered, should the two disagree.
    others
        Settings of another program that have no place here, ``name value``.
    """

    dialect: str
    width: int = 0
    height: int = 0
    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    loras: Weights = ()
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str = ""
    strength: float | None = None
    created: datetime | None = None
    camera: str = ""
    position: tuple[float, float] | None = None
    software: str = ""
    media_id: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = field(default=(), compare=False)


_COMPLETED = (
    *("prompt", "negative_prompt", "model", "loras", "seed", "steps", "guidance_scale"),
    *("sampler", "strength", "created"),
)


def complete_metadata(found: ImageMetadata, other: ImageMetadata | None) -> ImageMetadata:
    """Metadata with what they lack taken from others of the same picture; dialect and software stay."""
    lacking = [name for name in _COMPLETED if getattr(found, name) in (None, "", ())]
    return found if other is None else replace(found, **{name: getattr(other, name) for name in lacking})


def parse_json(text: str) -> Any:
    """The value of a text, None when it is no JSON; bare NaN and Infinity pass (formats §4.2).

    Raises
    ------
    InvalidImageError
        It has more than ``MAX_VALUES`` values, or is nested more than ``MAX_DEPTH`` deep.
    """
    check_values(text)
    try:
        data = json.loads(text.strip("\ufeff\0 \r\n\t"), strict=False)
    except ValueError:
        return None
    except RecursionError as error:
        raise _describe_depth() from error
    _check_depth(data)
    return json.loads(replace_halves(json.dumps(data, ensure_ascii=False))) if _HALF_PAIR.search(text) else data


def check_values(text: str) -> None:
    """Refuses a text of more than ``MAX_VALUES``, counted by what divides them."""
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise InvalidImageError(f"The picture's metadata have more than {MAX_VALUES:,} values and are not read.")


def parse_object(text: str) -> dict[str, Any] | None:
    """The object of a text; None for anything else. Otherwise as ``parse_json``."""
    if not text.lstrip("\ufeff\0 \r\n\t").startswith("{"):
        return None
    data = parse_json(text)
    return data if isinstance(data, dict) else None


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for parent in level
            for item in (parent.values() if isinstance(parent, dict) else parent if isinstance(parent, list) else ())
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    raise _describe_depth()


def _describe_depth() -> InvalidImageError:
    return InvalidImageError(f"The picture's metadata are nested more than {MAX_DEPTH} deep and are not read.")


def replace_halves(text: str) -> str:
    """Text without halves of surrogate pairs, which are no text and can be neither encoded nor stored."""
    return _HALVES.sub("\ufffd", text)


def clean_text(text: str) -> str:
    """Text that can be stored anywhere: trimmed, no NUL, no halves of surrogate pairs."""
    return replace_halves(text.strip().replace("\0", ""))


def find_text(value: Any) -> str:
    """A text; empty for anything else."""
    return value if isinstance(value, str) else ""


def find_int(value: Any) -> int | None:
    """A whole number, also one that was written as a text; None for anything else."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_INTEGER
    return value if is_number else None


def find_float(value: Any) -> float | None:
    """A finite number, also one that was written as a text; None for anything else."""
    if isinstance(value, str) and _FLOAT.fullmatch(value):
        value = float(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MAX_INTEGER:
        value = float(value)
    return value if isinstance(value, float) and math.isfinite(value) else None


def find_object(value: Any) -> dict[str, Any]:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def find_list(value: Any) -> list[Any]:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def find_moment(value: Any) -> datetime | None:
    """A time in ISO 8601, in this machine's zone where it names none; None for anything else."""
    try:
        return datetime.fromisoformat(value).astimezone() if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None


_FINDERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("prompt", "negative_prompt", "model", "sampler"), find_text),
    **dict.fromkeys(("seed", "steps"), find_int),
    **dict.fromkeys(("guidance_scale", "strength"), find_float),
}


def pick_fields(data: Mapping[str, Any], **keys: str) -> dict[str, Any]:
    """Fields of ``ImageMetadata``, each by the key that it has in an object of strangers."""
    return {name: _FINDERS[name](data.get(key)) for name, key in keys.items()}
