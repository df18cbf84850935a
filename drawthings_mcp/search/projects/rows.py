"""The rows of a project's tables → entries, prompts, thumbnails and pixels (formats §5.2 to §5.7).

Generated code would read a table of 114 slots into 114 attributes, trusts every offset, and fails on a blob that was
cut off. Here a field is a slot, a type and a default; what stands outside of the blob counts as absent.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, TensorError
from drawthings_mcp.generation import SamplerType
from drawthings_mcp.generation.app_json import shorten_float32
from drawthings_mcp.limits import UNIT
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader, build_header
from drawthings_mcp.tensors.image import decode_image
from drawthings_mcp.validation import shorten

Scalar: TypeAlias = int | float | bool

_FORMATS: Mapping[str, struct.Struct] = {
    "bool": struct.Struct("<?"),
    "u8": struct.Struct("<B"),
    "i8": struct.Struct("<b"),
    "u16": struct.Struct("<H"),
    "i32": struct.Struct("<i"),
    "u32": struct.Struct("<I"),
    "i64": struct.Struct("<q"),
    "f32": struct.Struct("<f"),
    "f64": struct.Struct("<d"),
}
_OFFSET = _FORMATS["u32"]
_MAX_ITEMS = 10_000
"""Of one list of tables; the longest in use are edits of a text, fifty."""
_MICROSECONDS_FROM = 10**14
"""Older apps wrote seconds; as seconds this would be in three million years."""
_LORA_FILE, _LORA_WEIGHT = 0, 1
_DEFAULT_LORA_WEIGHT = 0.6
_LAYER_IDS = (9, 10, 22, 28, 29, 31, 33)
"""Tensor, mask, depth map, scribble, pose, palette, custom: what the preview's id is the sum of in older rows."""
_LAYER_IDS_OF_DATA = (8, 9, 10, 11, 12, 13, 14)
"""The same in rows of ``tensordata``."""
EDITS_PER_NODE = 50
"""After so many edits the app begins a new node with the whole text."""
_NEGATIVE = 1
_MAX_TEXT = 1 << 20
"""UTF-16 code units; a hostile history could double a text with every edit."""
FindText: TypeAlias = Callable[[int, int], bytes | None]
"""Lineage and logical time → the blob of a node."""
_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
_DATA = 1
_CODEC_SHIFT = 32


class Table:
    """One table of a FlatBuffer: it begins at ``place``, by default the root."""

    __slots__ = ("_data", "_place", "_vtable", "_vtable_size")

    def __init__(self, data: bytes, place: int | None = None) -> None:
        self._data = data
        self._place: int = self._read(_OFFSET, 0) if place is None else place
        self._vtable = self._place - int(self._read(_FORMATS["i32"], self._place))
        self._vtable_size = int(self._read(_FORMATS["u16"], self._vtable))

    def get(self, slot: int, kind: str, default: Scalar = 0) -> Scalar:
        """A number, or the default where it is absent."""
        place = self._find(slot)
        value: Scalar = default if place is None else self._read(_FORMATS[kind], place, default)
        return value

    def get_text(self, slot: int) -> str:
        """A text; empty where it is absent."""
        return bytes(self.get_bytes(slot)).decode("utf-8", "replace")

    def get_bytes(self, slot: int) -> memoryview:
        """A vector of bytes, or those of a text; empty where it is absent or would end outside of the buffer."""
        place = self._follow(slot)
        if place is None:
            return memoryview(b"")
        length = self._read(_OFFSET, place)
        data = memoryview(self._data)[place + 4 : place + 4 + length]
        return data if len(data) == length else memoryview(b"")

    def get_tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty where it is absent."""
        place = self._follow(slot)
        if place is None:
            return []
        count = min(self._read(_OFFSET, place), _MAX_ITEMS, (len(self._data) - place) // 4)
        places = range(place + 4, place + 4 + 4 * count, 4)
        return [Table(self._data, item + self._read(_OFFSET, item)) for item in places]

    def get_range(self, slot: int) -> tuple[int, int]:
        """A struct of two 32-bit integers; zeros where it is absent."""
        place = self._find(slot)
        number = _FORMATS["i32"]
        return (0, 0) if place is None else (self._read(number, place), self._read(number, place + 4))

    def _follow(self, slot: int) -> int | None:
        place = self._find(slot)
        return None if place is None else place + int(self._read(_OFFSET, place))

    def _find(self, slot: int) -> int | None:
        entry = 4 + 2 * slot
        if entry + 2 > self._vtable_size:
            return None
        offset: int = self._read(_FORMATS["u16"], self._vtable + entry)
        return self._place + offset if offset else None

    def _read(self, form: struct.Struct, place: int, default: Scalar = 0) -> Any:
        if not 0 <= place <= len(self._data) - form.size:
            return default
        return form.unpack_from(self._data, place)[0]


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """One generated picture; of a video, the first of its ``frames``.

    The app gives a row a new ``id`` when a history is continued from an earlier point. ``metadata`` is what the row
    tells, as any picture's; the seed is from 0 to 4294967295, the date in UTC. ``prompt_is_inferred``: it is that of
    the closest earlier picture, for the row tells none. Unless ``has_image`` the app kept only a thumbnail.
    """

    id: int
    metadata: ImageMetadata
    prompt_is_inferred: bool
    has_image: bool
    frames: int = 1


@dataclass(frozen=True, slots=True)
class PictureLayer:
    """The layer of a row that holds the generated picture.

    ``tensor_id`` is 0 when there is none; ``ids`` the sum of all its ids, which older rows use for the preview;
    ``width`` and ``height`` are in pixels, 0 when not told.
    """

    tensor_id: int = 0
    ids: int = 0
    width: int = 0
    height: int = 0


class HistoryRow:
    """A row of ``tensorhistorynode``.

    Attributes
    ----------
    key
        Lineage and logical time.
    is_listed
        Whether it is a generated picture, and not an import, a drawing or a later frame.
    preview_id
        0 in older rows.
    stored_layers
        How many rows of ``tensordata`` belong to it; 0 in older rows, which are their own layer.
    clip_id
        Of a video; -1 of pictures.
    texts
        Prompt and negative prompt of a newer row.
    text_place
        Lineage and number of edits in the history of texts; -1 for none.
    """

    def __init__(self, rowid: int, data: bytes) -> None:
        self.rowid = rowid
        self._table = Table(data)
        number = self._number
        prompt, negative_prompt = self._table.get_text(98), self._table.get_text(99)
        self.key = number(0, "i64"), number(1, "i64")
        self.is_listed = bool(self._table.get(23, "bool", True)) and number(101, "i32") == 0
        self.preview_id = number(41, "i64")
        self.stored_layers = number(40, "i32")
        self.clip_id = number(100, "i64", -1)
        self.texts = (prompt, negative_prompt) if prompt or negative_prompt else None
        self.text_place = number(13, "i64", -1), number(12, "i64", -1)

    @property
    def own_layer(self) -> PictureLayer:
        """The layer of an older row."""
        ids = [self._number(slot, "i64") for slot in _LAYER_IDS]
        return PictureLayer(ids[0], sum(ids))

    def describe(
        self, texts: tuple[str, str], layer: PictureLayer, *, is_inferred: bool, has_image: bool, frames: int
    ) -> ProjectEntry:
        """The entry, with what only other tables tell."""
        metadata = ImageMetadata(
            dialect="draw-things",
            width=layer.width or self._number(2, "u16") * UNIT,
            height=layer.height or self._number(3, "u16") * UNIT,
            prompt=texts[0].strip(),
            negative_prompt=texts[1].strip(),
            model=self._table.get_text(8),
            loras=self._list_loras(),
            seed=self._number(4, "u32"),
            steps=self._number(5, "u32"),
            guidance_scale=_shorten(self._table.get(6, "f32")),
            sampler=_name_sampler(self._number(15, "i8")),
            strength=_shorten(self._table.get(7, "f32")),
            created=_read_time(self._number(11, "i64")),
            software="Draw Things",
        )
        return ProjectEntry(self.rowid, metadata, is_inferred, has_image, frames)

    def _list_loras(self) -> tuple[tuple[str, float | None], ...]:
        loras = self._table.get_tables(30)
        named = [
            (lora.get_text(_LORA_FILE), _shorten(lora.get(_LORA_WEIGHT, "f32", _DEFAULT_LORA_WEIGHT))) for lora in loras
        ]
        return tuple((name, weight) for name, weight in named if name)

    def _number(self, slot: int, kind: str, default: int = 0) -> int:
        return int(self._table.get(slot, kind, default))


def read_layer(data: bytes) -> PictureLayer:
    """A row of ``tensordata``."""
    table = Table(data)
    ids = [int(table.get(slot, "i64")) for slot in _LAYER_IDS_OF_DATA]
    return PictureLayer(ids[0], sum(ids), max(int(table.get(5, "i32")), 0), max(int(table.get(6, "i32")), 0))


def _shorten(value: float) -> float:
    return shorten_float32(value) if math.isfinite(value) else 0.0


def _name_sampler(number: int) -> str:
    return SamplerType(number).display_name if number in SamplerType.__members__.values() else ""


def _read_time(clock: int) -> datetime | None:
    seconds = clock / 1e6 if clock >= _MICROSECONDS_FROM else clock
    try:
        return datetime.fromtimestamp(seconds, UTC) if clock > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def replay(lineage: int, edits: int, find_text: FindText) -> tuple[str, str] | None:
    """Prompt and negative prompt after so many edits; None when the history does not reach there.

    ``lineage`` is as resolved through its aliases, ``edits`` count from the beginning of the history.
    """
    data = find_text(lineage, edits // EDITS_PER_NODE)
    if data is None:
        return None
    node = Table(data)
    texts = [_encode(node.get_text(3)), _encode(node.get_text(4))]
    count = min(max(edits - int(node.get(2, "i64")), 0), EDITS_PER_NODE)
    for edit in node.get_tables(5)[:count]:
        side = 1 if edit.get(0, "u8") == _NEGATIVE else 0
        texts[side] = _replace(texts[side], *edit.get_range(1), _encode(edit.get_text(2)))
    return _decode(texts[0]), _decode(texts[1])


def _replace(text: bytes, location: int, length: int, new: bytes) -> bytes:
    """Positions count UTF-16 code units, as in the app; what lies outside of the text is cut off."""
    start = min(max(location, 0) * 2, len(text))
    end = min(start + max(length, 0) * 2, len(text))
    return (text[:start] + new + text[end:])[: _MAX_TEXT * 2]


def _encode(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _decode(text: bytes) -> str:
    return text.decode("utf-16-le", "replace")


def read_jpeg(data: bytes) -> bytes | None:
    """The JPEG file in a row of a thumbnail; searched for where the row cannot be read otherwise."""
    jpeg = bytes(Table(data).get_bytes(_DATA))
    if jpeg.startswith(_START):
        return jpeg
    start, end = data.find(_START), data.rfind(_END)
    return data[start : end + len(_END)] if 0 <= start < end else None


def decode_row(kind: int, axes: int, datatype: int, dims: bytes, body: bytes) -> NDArray[np.uint8]:
    """The pixels of a row of ``tensors``: ``(H, W, 3)`` or ``(H, W, 4)``, sRGB, channels R, G, B, A.

    ``kind`` has the codec in the upper 32 bits; ``axes`` and ``datatype`` are the numbers of ``TensorFormat`` and
    ``DataType``; ``dims`` the lengths of the axes, 32 bits each, up to the first 0; ``body`` is as packed.

    Raises ``InvalidImageError`` when the row is damaged, or packed in a way that is not known.
    """
    try:
        lengths = tuple(takewhile(bool, (length for (length,) in struct.iter_unpack("<i", dims[: len(dims) // 4 * 4]))))
        shape = lengths if len(lengths) != 3 else (1, *lengths)
        header = TensorHeader(Codec(kind >> _CODEC_SHIFT), DataType(datatype), TensorFormat(axes), shape)
        return decode_image(build_header(header) + body)
    except (TensorError, ValueError) as error:
        raise InvalidImageError(
            f"The picture cannot be decoded ({shorten(str(error))}); it is damaged, or from a newer Draw Things than is"
            " known here."
        ) from error
