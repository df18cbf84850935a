"""A reader of configurations on the wire that shares nothing with the package: slots of a FlatBuffer, by number."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden" / "wire"
SLOTS: list[dict[str, Any]] = [
    row
    for name in ("configuration_slots.json", "configuration_slots_88_to_91.json")
    for row in json.loads((GOLDEN / name).read_text())
]
FORMATS = {
    "int64": "<q",
    "int32": "<i",
    "uint32": "<I",
    "uint16": "<H",
    "uint8": "<B",
    "int8": "<b",
    "bool": "<?",
    "float32": "<f",
}


class RawTable:
    """The least that reads a FlatBuffer table: field offsets, scalars, strings, vectors of tables."""

    def __init__(self, data: bytes, position: int | None = None) -> None:
        self.data = data
        self.position = struct.unpack_from("<I", data)[0] if position is None else position

    def offset(self, slot: int) -> int:
        vtable = self.position - int(struct.unpack_from("<i", self.data, self.position)[0])
        if 4 + 2 * slot >= struct.unpack_from("<H", self.data, vtable)[0]:
            return 0
        return int(struct.unpack_from("<H", self.data, vtable + 4 + 2 * slot)[0])

    def scalar(self, slot: int, kind: str, default: Any) -> Any:
        offset = self.offset(slot)
        if not offset:
            return struct.unpack("<f", struct.pack("<f", default))[0] if kind == "float32" else default
        return struct.unpack_from(FORMATS[kind], self.data, self.position + offset)[0]

    def follow(self, slot: int) -> int | None:
        offset = self.offset(slot)
        if not offset:
            return None
        place = self.position + offset
        return place + int(struct.unpack_from("<I", self.data, place)[0])

    def string(self, slot: int) -> str | None:
        place = self.follow(slot)
        if place is None:
            return None
        length = struct.unpack_from("<I", self.data, place)[0]
        return self.data[place + 4 : place + 4 + length].decode()

    def tables(self, slot: int) -> list[RawTable]:
        place = self.follow(slot)
        if place is None:
            return []
        count = struct.unpack_from("<I", self.data, place)[0]
        items = range(place + 4, place + 4 + 4 * count, 4)
        return [RawTable(self.data, item + struct.unpack_from("<I", self.data, item)[0]) for item in items]


def read_slots(data: bytes) -> dict[str, Any]:
    """Every scalar and string of a configuration by the name of its slot."""
    table = RawTable(data)
    values: dict[str, Any] = {}
    for row in SLOTS:
        if row["type"] == "string":
            values[row["name"]] = table.string(row["slot"])
        elif row["type"] != "tables":
            values[row["name"]] = table.scalar(row["slot"], row["type"], row["default"])
    return values


def read_loras(data: bytes) -> list[tuple[str | None, float, int]]:
    """File, weight and mode of each LoRA."""
    tables = RawTable(data).tables(_LORAS)
    return [(lora.string(0), lora.scalar(1, "float32", 0.6), lora.scalar(2, "int8", 0)) for lora in tables]


def read_controls(data: bytes) -> list[tuple[Any, ...]]:
    """File, weight, start and end of each control."""
    return [
        (control.string(0), *(control.scalar(slot, "float32", default) for slot, default in ((1, 1), (2, 0), (3, 1))))
        for control in RawTable(data).tables(_CONTROLS)
    ]


_CONTROLS, _LORAS = 19, 20
