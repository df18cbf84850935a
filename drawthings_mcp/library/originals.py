"""Pictures of ours → PNG files in the user's folder, none ever overwritten or half written.

Knows nothing of the catalog; the bytes are ``metadata``'s, how a file comes into being is ``new_files``'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.generation import GeneratedImage
from drawthings_mcp.library.new_files import number_stems, write_new_file
from drawthings_mcp.metadata import ModelKind, build_made_metadata, build_metadata, encode_png


class SavedFile(NamedTuple):
    """A file as it was written.

    Attributes
    ----------
    path
        Absolute.
    sha256
        Of its bytes, in hexadecimal digits.
    """

    path: Path
    sha256: str
    size_bytes: int
    format: str = "PNG"


def save_image(
    image: GeneratedImage,
    folder: Path,
    stem: str,
    *,
    server: str = "",
    requested_size: tuple[int, int] | None = None,
    kind: ModelKind | None = None,
    extra: Mapping[str, Any] | None = None,
) -> SavedFile:
    """Write a picture with its metadata under a name that nobody had.

    The file is ``<stem>.png``, or ``<stem>-2.png`` and so on when that exists. It appears whole or not at
    all, also when several processes save at once.

    Parameters
    ----------
    folder
        Created when missing.
    stem
        From ``naming.file_stem``.
    server, requested_size, kind, extra
        For the metadata: see ``metadata.build_metadata``.

    Raises
    ------
    StorageError
        The folder cannot be made or written, or the disk is full. Nothing is left behind.
    InvalidInputError
        The image's seed is not the one that was used.
    """
    packet = build_metadata(image, server=server, requested_size=requested_size, kind=kind, extra=extra)
    return _save(image.pixels, packet, folder, stem)


def save_made(
    pixels: NDArray[np.uint8], folder: Path, stem: str, *, extra: Mapping[str, Any] | None = None
) -> SavedFile:
    """Write a picture that was made from others without Draw Things, as ``save_image`` does.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` or ``(H, W, 4)`` uint8, sRGB.
    extra
        This package's record: ``id``, ``parents``, how it was made.
    """
    height, width = pixels.shape[:2]
    return _save(pixels, build_made_metadata((width, height), extra=extra), folder, stem)


def _save(pixels: NDArray[np.uint8], packet: str, folder: Path, stem: str) -> SavedFile:
    data = encode_png(pixels, packet)
    names = (f"{free}.png" for free in number_stems(stem))
    path = write_new_file(folder, names, lambda path: path.write_bytes(data), what="picture")
    return SavedFile(path, hashlib.sha256(data).hexdigest(), len(data))
