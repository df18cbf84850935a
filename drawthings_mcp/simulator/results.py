"""What a run sends back: previews, sound, and finished pictures as messages (protocol §7.1, §7.4–§7.6)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.catalog import VersionFacts
from drawthings_mcp.simulator.painting.oklab import Floats, Pixels, srgb_to_oklab
from drawthings_mcp.tensors.latent import load_latent_maps

CHUNK_SIZE = 4_194_304
"""Bytes per piece; payloads are only cut when their sum is larger."""
_PATCH = 32
"""Pixels per side of a cell that holds pixels instead of latents."""
_AUDIO_GROUP = 8
_H3_SOUND = 32
"""Values of one step of sound, of which there are 40 a second in each of two channels (protocol §2.8)."""
_ROOTS_HZ = (196.0, 220.0, 246.94, 261.63, 293.66)
_INTERVALS = (1.0, 5 / 4, 3 / 2)
_LEVEL = 0.12
_FADE_SECONDS = 0.05


def list_messages(
    images: Sequence[bytes], sounds: Sequence[bytes], *, scale_factor: int, chunked: bool
) -> Iterator[pb.ImageGenerationResponse]:
    """Messages that end a stream: sizes first, then payloads whole or, for a client that can join them, in pieces.

    Without images the run has failed, and one bare message says so. ``scale_factor`` is that of the upscaler, 1 for
    none.
    """
    total = sum(map(len, images))
    if not images:
        yield pb.ImageGenerationResponse(scaleFactor=scale_factor, chunkState=pb.LAST_CHUNK)
        return
    yield pb.ImageGenerationResponse(downloadSize=total)
    size = CHUNK_SIZE if chunked and total > CHUNK_SIZE else 0
    for image in images:
        for piece, state in _cut(image, size):
            yield pb.ImageGenerationResponse(generatedImages=[piece], scaleFactor=scale_factor, chunkState=state)
    for sound in sounds:
        for piece, state in _cut(sound, size):
            yield pb.ImageGenerationResponse(generatedAudio=[piece], scaleFactor=scale_factor, chunkState=state)


def _cut(payload: bytes, size: int) -> Iterator[tuple[bytes, pb.ChunkState]]:
    """Pieces of at most ``size`` bytes, 0 for one piece; all but the last say that more will come."""
    size = size or len(payload)
    for start in range(0, len(payload), size):
        is_last = start + size >= len(payload)
        yield payload[start : start + size], pb.LAST_CHUNK if is_last else pb.MORE_CHUNKS


def compose_chord(seed: int, seconds: float, rate_hz: int) -> NDArray[np.float32]:
    """Sound of a video: a quiet chord that depends on the seed.

    Two planes of samples ``(2, samples)`` in -1 to 1, the right one slightly delayed.
    """
    count = max(1, round(seconds * rate_hz))
    root = _ROOTS_HZ[seed % len(_ROOTS_HZ)]
    times = np.arange(count) / rate_hz
    planes = [
        sum(np.sin(2 * np.pi * root * interval * (times + delay)) for interval in _INTERVALS) for delay in (0.0, 0.002)
    ]
    envelope = np.minimum(1.0, np.minimum(times, times[::-1]) / _FADE_SECONDS)
    return (np.stack(planes) * envelope * _LEVEL).astype(np.float32)


def build_latent(pictures: Sequence[Pixels], version: VersionFacts, progress: float, seed: int) -> NDArray[np.float16]:
    """Latent ``(N, h, w, C)`` of half-finished pictures, which the known linear maps turn into those pictures.

    ``pictures`` are what the run will return, ``(H, W, 3)`` each: one per image of the batch or per latent frame.
    ``progress`` is 0 for noise and 1 for finished; the noise depends on ``seed``.
    """
    rng = np.random.default_rng(seed)
    if version.latent_map is None:
        return _build_noise(pictures, version, rng)
    clean = np.stack([_encode(picture, version, version.latent_map) for picture in pictures])
    noise = rng.standard_normal(clean.shape) * max(0.2, float(clean.std()))
    return (clean * progress + noise * (1 - progress)).astype(np.float16)


def _encode(picture: Pixels, version: VersionFacts, name: str) -> Floats:
    """Latent ``(h, w, C)`` of one picture."""
    if name == "patches":
        return _cut_patches(picture)
    small = _shrink(picture, version.cell)
    latent_map = load_latent_maps()[name]
    targets = {"levels": small * 255, "unit": small, "signed": small * 2 - 1, "oklab": srgb_to_oklab(small)}
    return (targets[latent_map.output] - latent_map.bias) @ _invert(name)


@cache
def _invert(name: str) -> Floats:
    """``(3, C)``: the smallest latents that give a colour."""
    return np.asarray(np.linalg.pinv(load_latent_maps()[name].weights).T, np.float64)


def _shrink(picture: Pixels, cell: int) -> Floats:
    """One colour per cell, 0 to 1."""
    small = np.asarray(Image.fromarray(picture).reduce(cell), np.float64) / 255
    return small[: picture.shape[0] // cell, : picture.shape[1] // cell]


def _cut_patches(picture: Pixels) -> Floats:
    """Planar patches: offset = channel · 1024 + row · 32 + column."""
    height, width = picture.shape[0] // _PATCH, picture.shape[1] // _PATCH
    cut = picture[: height * _PATCH, : width * _PATCH].reshape(height, _PATCH, width, _PATCH, 3)
    return cut.transpose(0, 2, 4, 1, 3).reshape(height, width, -1) / 127.5 - 1


def _build_noise(pictures: Sequence[Pixels], version: VersionFacts, rng: np.random.Generator) -> NDArray[np.float16]:
    """Latents that no map turns into pictures, with the extra rows that carry sound."""
    height, width = pictures[0].shape[0] // version.cell, pictures[0].shape[1] // version.cell
    count = len(pictures)
    sound = _count_sound_rows(version, count, width) if version.audio_hz else 0
    return rng.standard_normal((count, height + sound, width, version.channels)).astype(np.float16)


def _count_sound_rows(version: VersionFacts, count: int, width: int) -> int:
    """Rows of cells below a latent of ``count`` frames that carry its sound."""
    if version.video != "h3":
        return math.ceil(((count - 1) * _AUDIO_GROUP + 1) / (width * count))
    frames = 1 if count == 1 else (count - 2) // 5 * 17 + 5
    cells = count * width * version.channels
    least = math.ceil(2 * round(frames / 24 * 40) * _H3_SOUND / cells)
    return next(rows for rows in range(least, least + _H3_SOUND) if rows * cells % _H3_SOUND == 0)
