"""Generated pictures → PNG files in the user's folder, none ever overwritten or half written.

Knows nothing of the catalog; the bytes are ``metadata``'s, how a file comes into being is ``new_files``'.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drawthings_mcp.generation import GeneratedImage
from drawthings_mcp.library.new_files import number_stems, write_new_file
from drawthings_mcp.metadata import ModelKind, build_metadata, encode_png


def save_image(
    image: GeneratedImage,
    folder: Path,
    stem: str,
    *,
    server: str = "",
    requested_size: tuple[int, int] | None = None,
    kind: ModelKind | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
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

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    StorageError
        The folder cannot be made or written, or the disk is full. Nothing is left behind.
    InvalidInputError
        The image's seed is not the one that was used.
    """
    packet = build_metadata(image, server=server, requested_size=requested_size, kind=kind, extra=extra)
    data = encode_png(image.pixels, packet)
    names = (f"{free}.png" for free in number_stems(stem))
    return write_new_file(folder, names, lambda path: path.write_bytes(data), what="picture")
