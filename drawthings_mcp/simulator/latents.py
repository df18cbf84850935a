"""Previews: latents that look like the finished picture through the known linear maps (protocol §7.4, §7.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.simulator.painting.oklab import srgb_to_oklab
from drawthings_mcp.simulator.versions import VersionFacts
from drawthings_mcp.tensors.latent import load_latent_maps

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

_PATCH = 32
"""Pixels per side of a cell that holds pixels instead of latents."""
_AUDIO_GROUP = 8


def build_latent(pictures: Sequence[Pixels], version: VersionFacts, progress: float, seed: int) -> NDArray[np.float16]:
    """The latent of half-finished pictures.

    Parameters
    ----------
    pictures
        ``(H, W, 3)`` each: what the run will return; one per image of the batch or per latent frame.
    progress
        0 is noise, 1 is finished.
    seed
        Of the noise.

    Returns
    -------
    NDArray[np.float16]
        ``(N, h, w, C)``.
    """
    rng = np.random.default_rng(seed)
    if version.latent_map is None:
        return _build_noise(pictures, version, rng)
    clean = np.stack([_encode(picture, version) for picture in pictures])
    noise = rng.standard_normal(clean.shape) * max(0.2, float(clean.std()))
    return (clean * progress + noise * (1 - progress)).astype(np.float16)


def _encode(picture: Pixels, version: VersionFacts) -> Floats:
    """One picture as ``(h, w, C)``."""
    if version.latent_map == "patches":
        return _cut_patches(picture)
    small = _shrink(picture, version.cell)
    name = str(version.latent_map)
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
    """Latents nobody can look at, with the extra rows that carry sound."""
    height, width = pictures[0].shape[0] // version.cell, pictures[0].shape[1] // version.cell
    count = len(pictures)
    sound = math.ceil(((count - 1) * _AUDIO_GROUP + 1) / (width * count)) if version.audio_hz else 0
    return rng.standard_normal((count, height + sound, width, version.channels)).astype(np.float16)
