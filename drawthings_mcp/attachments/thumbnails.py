"""Small pictures for a person's screen: made once, kept in the state folder, the oldest dropped when they are many."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from drawthings_mcp.attachments.preview import open_small
from drawthings_mcp.library.new_files import write_named_file
from drawthings_mcp.tensors.pixels import ImageLike

EDGES = (256, 512, 1024)
"""Longest sides in pixels: a phone's wall, a wall, a picture that fills a screen until its original is there."""
MIME_TYPE = "image/webp"
_GLIMPSE_EDGE = 512
_FOLDER = "thumbnails"
_QUALITY = 80
_EFFORT = 2
"""WebP's ``method``: a third of the time of the default at a tenth more bytes."""
_MAX_BYTES = 2_000_000_000
"""Of all thumbnails together; those that were made first are dropped."""
_SWEEP_AFTER = 500
"""Thumbnails that are made until it is looked whether they have become too many."""


class Thumbnails:
    """The thumbnails of a state folder, named by the hash of what they show."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir.absolute() / _FOLDER
        self._made = _SWEEP_AFTER

    def get(self, sha256: str, edge: int, open_picture: Callable[[], ImageLike]) -> bytes:
        """The bytes of a WebP file; made of what ``open_picture`` gives when there is none yet. Blocks.

        Parameters
        ----------
        sha256
            Of the picture's file; empty when it is not known, and nothing is kept then.
        edge
            One of ``EDGES``.

        Raises
        ------
        InvalidImageError
            The picture cannot be read.
        """
        path = self._find_path(sha256, edge)
        with suppress(OSError):
            if sha256:
                return path.read_bytes()
        data = encode_thumbnail(open_picture(), edge)
        if sha256:
            write_named_file(path, data, what="thumbnail", is_spare=True)
            self._made += 1
            if self._made > _SWEEP_AFTER:
                self._made = 0
                self._sweep()
        return data

    def _find_path(self, sha256: str, edge: int) -> Path:
        return self._folder / sha256[:2] / f"{sha256}-{edge}.webp"

    def _sweep(self) -> None:
        """Drops the oldest until there is room for as many again as are made until the next time."""
        kept = []
        for path in self._folder.glob("*/*.webp"):
            with suppress(OSError):
                status = path.stat()
                kept.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in kept) - _MAX_BYTES
        for _, size, path in sorted(kept):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= size


def encode_thumbnail(picture: ImageLike, edge: int) -> bytes:
    """A WebP file without metadata whose longer side is at most ``edge``."""
    stream = io.BytesIO()
    open_small(picture, edge).save(stream, "WEBP", quality=_QUALITY, method=_EFFORT)
    return stream.getvalue()


def encode_glimpse(payload: bytes, version: str) -> bytes:
    """What is there of a picture under way, from its latent and its model's version; empty when that shows nothing."""
    from drawthings_mcp.tensors.latent import preview_pixels

    pixels = preview_pixels(payload, version) if payload else None
    return encode_thumbnail(pixels[0], _GLIMPSE_EDGE) if pixels is not None else b""
