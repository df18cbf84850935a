"""Pictures that came as bytes, kept under the hash of their content.

What the user has as a file stays where it is; only what came without one is copied here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from drawthings_mcp.library.new_files import write_named_file

FOLDER = "inputs"
_ENDINGS = {"JPEG": "jpg", "TIFF": "tif", "HEIF": "heic"}


def keep_input(state_dir: Path, data: bytes, picture_format: str) -> Path:
    """Write a picture's bytes as they are, unless they are there already.

    Parameters
    ----------
    picture_format
        Pillow's name of it, for the ending.

    Returns
    -------
    Path
        ``<state_dir>/inputs/<aa>/<sha256>.<ending>``, where ``aa`` are the first digits of the hash.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    digest = hashlib.sha256(data).hexdigest()
    ending = _ENDINGS.get(picture_format, picture_format.lower())
    path = state_dir.absolute() / FOLDER / digest[:2] / f"{digest}.{ending}"
    # The name says what is in it; only a copy that the disk lost a part of is written anew.
    if not path.is_file() or path.stat().st_size != len(data):
        write_named_file(path, data, what="picture")
    return path
