"""A full result, two inputs and three outputs of 1024×1024 from disk: time and bytes, beside Pillow's PNG encoding."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, time_once, time_side_by_side
from benchmarks.saving import encode_by_default, make_photo
from drawthings_mcp.attachments import Attachment, Candidate, Ledger, Policy, count_result, encode, encode_preview, plan
from drawthings_mcp.tensors.png import encode_png

_ROUNDS = 7
_GRAIN = 3.0
_LARGE = 10_000_000
_KIB = 1024


def run() -> Iterator[Measurement]:
    """One preview, then a full result, opaque and cut out; about fifteen seconds."""
    photo = make_photo(_GRAIN)
    yield _measure_preview("preview of one picture", photo, photo, 0.25)
    with tempfile.TemporaryDirectory() as place:
        files = _write_originals(Path(place), photo)
        yield _measure_preview("the same, read from its file", files["v1"], photo, None)
        yield from _measure_result("full result", files, photo, goal=1.25)
    yield from _measure_result(
        "full result of cut-outs", dict.fromkeys(("a1", "v1", "v2", "v3"), _cut_out(photo)), photo
    )


def _measure_preview(
    name: str, picture: NDArray[np.uint8] | Path, photo: NDArray[np.uint8], goal: float | None
) -> Measurement:
    make = partial(encode_preview, picture, max_bytes=_LARGE)
    duel = time_side_by_side(make, lambda: encode_by_default(photo), _ROUNDS)
    note = f"Pillow's PNG: {duel.note}; {len(make().data) // _KIB} KiB"
    return Measurement(name, duel.ratio, "x", goal, note)


def _measure_result(
    name: str, pictures: Mapping[str, NDArray[np.uint8] | Path], photo: NDArray[np.uint8], goal: float | None = None
) -> Iterator[Measurement]:
    policy = Policy()
    attachments = _show(pictures, policy)
    characters = count_result("", (attachment.preview for attachment in attachments))
    if goal is None:
        seconds = min(time_once(lambda: _show(pictures, policy)) for _ in range(2))
        yield Measurement(f"{name}, time", seconds * 1e3, "ms", None, f"{len(attachments)} pictures")
    else:
        duel = time_side_by_side(lambda: _show(pictures, policy), lambda: encode_by_default(photo), _ROUNDS)
        yield Measurement(f"{name}, time", duel.ratio, "x", goal, f"Pillow's PNG of one of the five: {duel.note}")
    longest = max(max(attachment.place.size) for attachment in attachments)
    note = f"{sum(attachment.place.tokens for attachment in attachments)} tokens by estimate, up to {longest} px"
    yield Measurement(f"{name}, size", characters / policy.max_characters, "x", 1.0, f"{characters} characters; {note}")


def _show(pictures: Mapping[str, NDArray[np.uint8] | Path], policy: Policy) -> tuple[Attachment, ...]:
    inputs, outputs = ([Candidate(name, (1024, 1024)) for name in pictures if name[0] == kind] for kind in "av")
    return encode(plan(inputs, outputs, Ledger(), policy), pictures, policy, 2_000)[1]


def _write_originals(folder: Path, photo: NDArray[np.uint8]) -> dict[str, Path]:
    """Five different pictures as this package saves them."""
    files = {}
    for shift, name in enumerate(("a1", "a2", "v1", "v2", "v3")):
        files[name] = folder / f"{name}.png"
        files[name].write_bytes(encode_png(np.roll(photo, 100 * shift, axis=1), ""))
    return files


def _cut_out(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A disc with a soft edge out of a photo, the rest clear."""
    side = len(photo)
    y, x = np.mgrid[0:side, 0:side] - side / 2
    alpha = np.clip((side * 0.42 - np.hypot(x, y)) * 16, 0, 255).astype(np.uint8)
    return np.dstack([photo, alpha])
