"""Project files built after their description (formats §5) with FlatBuffers' own builder, none of our code."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import fpzip
import numpy as np
from numpy.typing import NDArray

Field = tuple[str, Any]
Fields = Mapping[int, Field]
"""Slot → type and value."""

RAW, DEFLATE, FPZIP = 0, 0x217, 0xF7217
DATATYPES = {np.dtype("u1"): 0x01000, np.dtype("<f4"): 0x04000, np.dtype("<f2"): 0x20000}
KEYS = {
    "tensorhistorynode": 2,
    "tensordata": 3,
    "thumbnailhistorynode": 1,
    "thumbnailhistoryhalfnode": 1,
    "texthistorynode": 2,
    "textlineagenode": 1,
    "clip": 1,
}
"""Table → number of primary keys."""


def _prepend(builder: Any, slot: int, kind: str, value: Any) -> None:
    scalars = {
        **{"bool": builder.PrependBoolSlot, "u8": builder.PrependUint8Slot, "i8": builder.PrependInt8Slot},
        **{"u16": builder.PrependUint16Slot, "i32": builder.PrependInt32Slot, "u32": builder.PrependUint32Slot},
        **{"i64": builder.PrependInt64Slot, "f32": builder.PrependFloat32Slot, "f64": builder.PrependFloat64Slot},
    }
    if kind in scalars:
        # A default that no value equals, so that zeros are written too.
        scalars[kind](slot, value, 0 if value else 1)
    elif kind == "range":
        builder.Prep(4, 8)
        for number in reversed(value):
            builder.PrependInt32(number)
        builder.PrependStructSlot(slot, builder.Offset(), 0)
    else:
        builder.PrependUOffsetTRelativeSlot(slot, value, 0)


def _store(builder: Any, kind: str, value: Any) -> Any:
    """What stands outside of the table: texts, bytes, tables."""
    if kind == "str":
        return builder.CreateString(value)
    if kind == "bytes":
        return builder.CreateByteVector(value)
    if kind == "tables":
        places = [_add_table(builder, fields) for fields in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return builder.EndVector()
    return value


def _add_table(builder: Any, fields: Fields) -> int:
    stored = {slot: (kind, _store(builder, kind, value)) for slot, (kind, value) in fields.items()}
    # As long as the highest slot in use: what older apps wrote ends earlier.
    builder.StartObject(max(stored, default=-1) + 1)
    for slot, (kind, value) in stored.items():
        _prepend(builder, slot, kind, value)
    place: int = builder.EndObject()
    return place


def build_table(fields: Fields) -> bytes:
    builder = flatbuffers.Builder(256)
    builder.Finish(_add_table(builder, fields))
    return bytes(builder.Output())


def lora(file: str, weight: float | None = None) -> Fields:
    return {0: ("str", file), **({} if weight is None else {1: ("f32", weight)})}


def edit(location: int, length: int, text: str, *, negative: bool = False) -> Fields:
    return {0: ("u8", int(negative)), 1: ("range", (location, length)), 2: ("str", text)}


class Builder:
    """Writes a project; stays in WAL mode as the app does."""

    def __init__(self, path: Path, journal: str = "wal") -> None:
        self.path = path
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute(f"PRAGMA journal_mode = {journal}")
        self.database.execute("PRAGMA wal_autocheckpoint = 0")
        for table, count in KEYS.items():
            keys = [f"__pk{number}" for number in range(count)]
            self.database.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (rowid INTEGER PRIMARY KEY AUTOINCREMENT, "
                f"{', '.join(f'{key} INTEGER' for key in keys)}, p BLOB, UNIQUE ({', '.join(keys)}))"
            )
        self.database.execute(
            "CREATE TABLE IF NOT EXISTS tensors (name TEXT, type INTEGER, format INTEGER, datatype INTEGER, "
            "dim BLOB, data BLOB, PRIMARY KEY (name))"
        )

    def add(self, table: str, keys: Sequence[int], fields: Fields) -> int:
        """A row; the keys are fields as well, as in the app."""
        own = {slot: ("i64", key) for slot, key in enumerate(keys)}
        places = ", ".join(f"__pk{number}" for number in range(len(keys)))
        marks = ", ".join("?" * (len(keys) + 1))
        row = self.database.execute(
            f"INSERT INTO {table} ({places}, p) VALUES ({marks})", (*keys, build_table({**own, **fields}))
        )
        assert row.lastrowid is not None
        return row.lastrowid

    def add_node(self, lineage: int = 0, time: int = 0, **changes: Any) -> int:
        """A generated picture of a newer app; ``slot_N`` replaces a field, None removes it."""
        fields: dict[int, Field] = {
            2: ("u16", 16),
            3: ("u16", 12),
            4: ("u32", 4294967295),
            5: ("u32", 8),
            6: ("f32", 1.0),
            7: ("f32", 0.7),
            8: ("str", "z_image_turbo_1.0_q8p.ckpt"),
            11: ("i64", 1_790_000_000_000_000 + time),
            15: ("i8", 17),
            30: ("tables", [lora("ink_lora_f16.ckpt", 0.4), lora("grain_lora_f16.ckpt")]),
            98: ("str", f"picture {time}"),
            99: ("str", "blurry"),
        }
        for name, field in changes.items():
            slot = int(name.removeprefix("slot_"))
            fields.pop(slot, None)
            if field is not None:
                fields[slot] = field
        return self.add("tensorhistorynode", (lineage, time), fields)

    def add_layer(self, lineage: int, time: int, index: int, tensor_id: int, size: tuple[int, int] = (0, 0)) -> None:
        fields: Fields = {5: ("i32", size[0]), 6: ("i32", size[1]), 8: ("i64", tensor_id)}
        self.add("tensordata", (lineage, time, index), fields)

    def add_thumbnail(self, preview_id: int, jpeg: bytes, *, half: bool) -> None:
        table = "thumbnailhistoryhalfnode" if half else "thumbnailhistorynode"
        self.add(table, (preview_id,), {1: ("bytes", jpeg)})

    def add_tensor(self, tensor_id: int, tensor: NDArray[Any], codec: int = RAW, *, dims: int = 12) -> None:
        body = tensor.tobytes()
        if codec == DEFLATE:
            deflater = zlib.compressobj(wbits=-15)
            body = deflater.compress(body) + deflater.flush()
        elif codec == FPZIP:
            precision = 19 if tensor.dtype == np.float16 else 0
            body = fpzip.compress(tensor.astype(np.float32), precision=precision, order="C")
        shape = (*tensor.shape, *(0,) * (dims - tensor.ndim))
        self.database.execute(
            "INSERT INTO tensors VALUES (?, ?, ?, ?, ?, ?)",
            (
                f"tensor_history_{tensor_id}",
                codec << 32 | 1,
                2,
                DATATYPES[tensor.dtype],
                struct.pack(f"<{dims}i", *shape),
                body,
            ),
        )

    def close(self) -> None:
        """As the app at its end: everything goes into the one file."""
        self.database.close()
