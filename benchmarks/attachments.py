"""A full result, two inputs and three outputs of 1024×1024: time and bytes, next to Pillow's PNG encoding."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, time_once, time_side_by_side
from benchmarks.saving import encode_by_default, make_photo
from drawthings_mcp.attachments.budget import Slot, plan_attachments
from drawthings_mcp.attachments.encoding import count_result, encode
from drawthings_mcp.attachments.policy import Policy
from drawthings_mcp.attachments.preview import Preview, encode_preview
from drawthings_mcp.tensors.png import encode_png

_ROUNDS = 7
_GRAIN = 3.0
_LARGE = 10_000_000
_KIB = 1024
_CUT_OUTS_MS = 400.0


def run() -> Iterator[Measurement]:
    """One preview, then a full result, opaque and cut out; about ten seconds."""
    photo = make_photo(_GRAIN)
    yield _measure_preview("preview of one picture", photo, photo, 0.25)
    with tempfile.TemporaryDirectory() as folder:
        files = _write_originals(Path(folder), photo)
        yield _measure_preview("the same, read from its file", files["v1"], photo, None)
        yield from _measure_result("full result", files, photo, 1.25)
    arrays = _make_variations(photo)
    yield from _measure_result("full result from arrays", arrays, photo, None)
    soft, hard = (_cut_out(photo, edge) for edge in (16, 1e9))
    yield from _measure_cut_outs("five cut-outs with soft edges", _make_variations(soft), _CUT_OUTS_MS)
    yield from _measure_cut_outs("five cut-outs with hard edges", _make_variations(hard), None)


def _measure_preview(
    name: str, picture: NDArray[np.uint8] | Path, photo: NDArray[np.uint8], goal: float | None
) -> Measurement:
    make = partial(encode_preview, picture, max_bytes=_LARGE)
    duel = time_side_by_side(make, lambda: encode_by_default(photo), _ROUNDS)
    note = f"Pillow's PNG: {duel.note}; {len(make().data) // _KIB} KiB"
    return Measurement(name, duel.ratio, "x", goal, note)


def _measure_result(
    name: str, pictures: Mapping[str, NDArray[np.uint8] | Path], photo: NDArray[np.uint8], goal: float | None
) -> Iterator[Measurement]:
    duel = time_side_by_side(lambda: _show(pictures), lambda: encode_by_default(photo), _ROUNDS)
    yield Measurement(f"{name}, time", duel.ratio, "x", goal, f"Pillow's PNG of one of the five: {duel.note}")
    yield _measure_size(name, _show(pictures))


def _measure_cut_outs(
    name: str, pictures: Mapping[str, NDArray[np.uint8]], goal: float | None
) -> Iterator[Measurement]:
    previews = _show(pictures)
    assert all(preview.mime_type == "image/png" for preview in previews.values())
    seconds = min(time_once(lambda: _show(pictures), time.thread_time) for _ in range(_ROUNDS))
    yield Measurement(f"{name}, time", seconds * 1e3, "ms", goal, "PNG, sizes chosen until they fit")
    yield _measure_size(name, previews)


def _measure_size(name: str, previews: Mapping[Slot, Preview]) -> Measurement:
    characters = count_result("", previews.values())
    longest = max(max(slot.size) for slot in previews)
    note = f"{sum(slot.tokens for slot in previews)} tokens by estimate, up to {longest} px"
    return Measurement(
        f"{name}, size", characters / Policy().max_characters, "x", 1.0, f"{characters} characters; {note}"
    )


class _Shown(NamedTuple):
    id: str
    size: tuple[int, int] = (1024, 1024)
    source: bytes = b""


def _show(pictures: Mapping[str, NDArray[np.uint8] | Path]) -> dict[Slot, Preview]:
    inputs, outputs = ([_Shown(name) for name in pictures if name[0] == kind] for kind in "av")
    policy = Policy(max_tokens=8_000)
    return encode(plan_attachments(inputs, outputs, (), policy), pictures, policy, 2_000)[1]


def _make_variations(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Five different pictures, two inputs and three outputs."""
    names = ("a1", "a2", "v1", "v2", "v3")
    return {name: np.roll(pixels, 100 * shift, axis=1) for shift, name in enumerate(names)}


def _write_originals(folder: Path, photo: NDArray[np.uint8]) -> dict[str, Path]:
    """The five as this package saves them."""
    files = {name: folder / f"{name}.png" for name in _make_variations(photo)}
    for name, pixels in _make_variations(photo).items():
        files[name].write_bytes(encode_png(pixels, ""))
    return files


def _cut_out(photo: NDArray[np.uint8], sharpness: float) -> NDArray[np.uint8]:
    """A disc out of a photo, the rest clear."""
    side = len(photo)
    y, x = np.mgrid[0:side, 0:side] - side / 2
    alpha = np.clip((side * 0.42 - np.hypot(x, y)) * sharpness, 0, 255).astype(np.uint8)
    return np.dstack([photo, alpha])
