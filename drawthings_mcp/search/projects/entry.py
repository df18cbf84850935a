"""One generated picture of a project's history, from the row that tells of it (formats §5.3, §5.4).

Owns slots, defaults and units. Knows no SQL.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from drawthings_mcp.generation import SamplerType
from drawthings_mcp.generation.app_json import shorten_float32
from drawthings_mcp.limits import UNIT
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.search.projects.flatbuffer import Table

_MICROSECONDS_FROM = 10**14
"""Older apps wrote seconds; as seconds this would be in three million years."""
_LORA_FILE, _LORA_WEIGHT = 0, 1
_DEFAULT_LORA_WEIGHT = 0.6

_LAYER_IDS = (9, 10, 22, 28, 29, 31, 33)
"""Tensor, mask, depth map, scribble, pose, palette, custom: what the preview's id is the sum of in older rows."""
_LAYER_IDS_OF_DATA = (8, 9, 10, 11, 12, 13, 14)
"""The same in rows of ``tensordata``."""


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """One generated picture; of a video, the first frame.

    Attributes
    ----------
    id
        Of the row; the app gives a new one when a history is continued from an earlier point.
    prompt_is_inferred
        Whether the prompt is that of the closest earlier picture, for the row tells none.
    seed
        0 to 4294967295.
    sampler
        The app's display name.
    width, height
        Pixels.
    created
        UTC; None when the row does not tell.
    has_image
        Whether the picture itself is in the file; the app may keep only a thumbnail.
    frames
        1, or more of a video.
    """

    id: int
    prompt: str
    negative_prompt: str
    prompt_is_inferred: bool
    model: str
    loras: tuple[tuple[str, float | None], ...]
    seed: int
    steps: int
    guidance_scale: float
    sampler: str
    strength: float
    width: int
    height: int
    created: datetime | None
    has_image: bool
    frames: int = 1

    @property
    def facts(self) -> ImageMetadata:
        """The same as any picture's."""
        return ImageMetadata(
            dialect="draw-things",
            width=self.width,
            height=self.height,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model=self.model,
            loras=self.loras,
            seed=self.seed,
            steps=self.steps,
            guidance_scale=self.guidance_scale,
            sampler=self.sampler,
            strength=self.strength,
            created=self.created,
            software="Draw Things",
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """The layer of a row that holds the generated picture.

    Attributes
    ----------
    tensor_id
        0 when there is none.
    ids
        The sum of all its ids, which older rows use for the preview.
    width, height
        Pixels, 0 when not told.
    """

    tensor_id: int = 0
    ids: int = 0
    width: int = 0
    height: int = 0


class Node:
    """A row of ``tensorhistorynode``.

    Parameters
    ----------
    rowid
        Of the row.
    data
        Its blob.
    """

    __slots__ = ("_table", "rowid")

    def __init__(self, rowid: int, data: bytes) -> None:
        self.rowid = rowid
        self._table = Table(data)

    @property
    def key(self) -> tuple[int, int]:
        """Lineage and logical time."""
        return self._number(0, "i64"), self._number(1, "i64")

    @property
    def is_listed(self) -> bool:
        """Whether it is a generated picture, and not an import, a drawing or a later frame."""
        return bool(self._table.get(23, "bool", True)) and self._number(101, "i32") == 0

    @property
    def preview_id(self) -> int:
        """0 in older rows."""
        return self._number(41, "i64")

    @property
    def stored_layers(self) -> int:
        """How many rows of ``tensordata`` belong to it; 0 in older rows, which are their own layer."""
        return self._number(40, "i32")

    @property
    def own_layer(self) -> Layer:
        """The layer of an older row."""
        ids = [self._number(slot, "i64") for slot in _LAYER_IDS]
        return Layer(ids[0], sum(ids))

    @property
    def clip_id(self) -> int:
        """Of a video; -1 of pictures."""
        return self._number(100, "i64", -1)

    @property
    def texts(self) -> tuple[str, str] | None:
        """Prompt and negative prompt of a newer row."""
        prompt, negative_prompt = self._table.get_text(98), self._table.get_text(99)
        return (prompt, negative_prompt) if prompt or negative_prompt else None

    @property
    def text_place(self) -> tuple[int, int]:
        """Lineage and number of edits in the history of texts; -1 for none."""
        return self._number(13, "i64", -1), self._number(12, "i64", -1)

    def describe(
        self, texts: tuple[str, str], layer: Layer, *, is_inferred: bool, has_image: bool, frames: int
    ) -> ProjectEntry:
        """The entry, with what only other tables tell."""
        return ProjectEntry(
            id=self.rowid,
            prompt=texts[0].strip(),
            negative_prompt=texts[1].strip(),
            prompt_is_inferred=is_inferred,
            model=self._table.get_text(8),
            loras=self._list_loras(),
            seed=self._number(4, "u32"),
            steps=self._number(5, "u32"),
            guidance_scale=_shorten(self._table.get(6, "f32")),
            sampler=_name_sampler(self._number(15, "i8")),
            strength=_shorten(self._table.get(7, "f32")),
            width=layer.width or self._number(2, "u16") * UNIT,
            height=layer.height or self._number(3, "u16") * UNIT,
            created=_read_time(self._number(11, "i64")),
            has_image=has_image,
            frames=frames,
        )

    def _list_loras(self) -> tuple[tuple[str, float | None], ...]:
        loras = self._table.get_tables(30)
        named = [
            (lora.get_text(_LORA_FILE), _shorten(lora.get(_LORA_WEIGHT, "f32", _DEFAULT_LORA_WEIGHT))) for lora in loras
        ]
        return tuple((name, weight) for name, weight in named if name)

    def _number(self, slot: int, kind: str, default: int = 0) -> int:
        return int(self._table.get(slot, kind, default))


def read_layer(data: bytes) -> Layer:
    """A row of ``tensordata``."""
    table = Table(data)
    ids = [int(table.get(slot, "i64")) for slot in _LAYER_IDS_OF_DATA]
    return Layer(ids[0], sum(ids), max(int(table.get(5, "i32")), 0), max(int(table.get(6, "i32")), 0))


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
