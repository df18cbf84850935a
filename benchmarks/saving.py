"""Saving one 1024×1024 picture: time and bytes, against Pillow's own PNG encoding."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measurement import Measurement, time_side_by_side
from drawthings_mcp.generation import ImageGenerationConfig, ResultImage
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.new_files import file_stem
from drawthings_mcp.library.originals import save_image
from drawthings_mcp.metadata.draw_things import build_metadata
from drawthings_mcp.tensors.png import encode_png

_SIDE = 1024
_ROUNDS = 7
_PROMPT = "a red fox in snow, early light, shallow depth of field"


def run() -> Iterator[Measurement]:
    """Encoding by grain, then a whole save and a catalog entry; about ten seconds."""
    for name, grain in (("clean", 1.0), ("grainy", 3.0), ("coarse", 6.0)):
        yield from _measure_encoding(name, make_photo(grain))
    yield from _measure_disk(make_photo(3.0))


def _measure_encoding(name: str, pixels: NDArray[np.uint8]) -> Iterator[Measurement]:
    image = _make_image(pixels)
    packet = build_metadata(image)
    duel = time_side_by_side(lambda: encode_png(pixels, packet), lambda: encode_by_default(pixels), _ROUNDS)
    ours, default = len(encode_png(pixels, packet)), len(encode_by_default(pixels))
    yield Measurement(f"PNG of a {name} photo, time", duel.ratio, "x", 0.06, f"Pillow's default: {duel.note}")
    note = f"Pillow's default: {ours >> 10} KiB against {default >> 10} KiB"
    yield Measurement(f"PNG of a {name} photo, size", ours / default, "x", 1.1, note)


def _measure_disk(pixels: NDArray[np.uint8]) -> Iterator[Measurement]:
    image = _make_image(pixels)
    now = datetime.now(UTC)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        duel = time_side_by_side(
            lambda: save_image(image, folder, file_stem(_PROMPT, image.seed, now)),
            lambda: Image.fromarray(pixels).save(folder / "default.png"),
            _ROUNDS,
        )
        yield Measurement("saving with metadata, synced", duel.ratio, "x", 0.12, f"Pillow's save: {duel.note}")
        yield _measure_catalog(ImageCatalog(folder), folder / "default.png", now)


def _measure_catalog(catalog: ImageCatalog, path: Path, now: datetime) -> Measurement:
    duel = time_side_by_side(
        lambda: catalog.add("v", path, created=now, prompt=_PROMPT, seed=1, width=_SIDE, height=_SIDE),
        lambda: catalog.get("v1"),
        _ROUNDS,
    )
    return Measurement("entry in the catalog", min(duel.ours) * 1e3, "ms", None, f"looking one up: {duel.note}")


def encode_by_default(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file as Pillow makes it when nobody tells it how."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _make_image(pixels: NDArray[np.uint8]) -> ResultImage:
    configuration = ImageGenerationConfig(model="z_image_turbo_1.0_q8p.ckpt", seed=1234567890, steps=8)
    return ResultImage(pixels, _PROMPT, "", configuration)


def make_photo(grain: float) -> NDArray[np.uint8]:
    """Smooth light of many scales, some hard edges, and grain of a given strength in levels."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE
    light = np.zeros((_SIDE, _SIDE, 3))
    for channel in range(3):
        for scale in range(1, 13):
            across, down = random.normal(0, 4 * scale**0.5, 2)
            light[..., channel] += np.cos(2 * np.pi * (across * x + down * y) + random.uniform(0, 6)) / scale
    light = (light - light.min()) / np.ptp(light) * 255
    for _ in range(25):
        centre_x, centre_y, radius = *random.uniform(0, 1, 2), random.uniform(0.02, 0.2)
        disc = (x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2
        light[disc] = light[disc] * 0.6 + random.uniform(0, 255, 3) * 0.4
    light += random.normal(0, grain, (_SIDE, _SIDE, 1)) + random.normal(0, grain / 3, (_SIDE, _SIDE, 3))
    photo: NDArray[np.uint8] = np.clip(light, 0, 255).astype(np.uint8)
    return photo
