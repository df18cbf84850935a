"""Files → what tells copies from each other, from a few kilobytes of each.

Owns the fingerprint; it is kept with tags and must not change.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

_PART = 16 * 1024
"""Bytes of each end that are read: the beginning has the metadata, the end the checksum of a PNG's pixels."""
_DIGEST = 16


def fingerprint(file: BinaryIO) -> str:
    """Equal for equal files, and nearly always different for others: size and both ends."""
    size = file.seek(0, os.SEEK_END)
    digest = hashlib.blake2b(str(size).encode(), digest_size=_DIGEST)
    for start in (0, max(0, size - _PART)):
        file.seek(start)
        digest.update(file.read(_PART))
    return digest.hexdigest()


def are_copies(one: Path, other: Path) -> bool:
    """Whether two files of one fingerprint are byte for byte the same; not when one cannot be read."""
    try:
        return one.stat().st_size <= 2 * _PART or filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def tell_apart(content: str, path: Path) -> str:
    """The identity of a file whose fingerprint another file has that is no copy of it."""
    with path.open("rb") as file:
        return f"{content}-{hashlib.file_digest(file, 'sha256').hexdigest()[:_DIGEST]}"
