"""Pictures that were found → the ids under which every tool takes them (contract §4).

Owns which id a picture has: its own when it is one of ours, otherwise a ``p``, the same in every search.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.search.entry import Stamp, stamp_of

_OWN = frozenset("vai")
_REMEMBERED = 4096


def find_own(catalog: ImageCatalog, path: Path, sha256: str) -> ImageRecord | None:
    """The record of one of our own pictures: generated, brought in, or made from others."""
    record = catalog.find_by_hash(sha256) or catalog.find_by_path(path)
    return record if record is not None and record.id[0] in _OWN and record.sha256 in ("", sha256) else None


def identify_file(catalog: ImageCatalog, path: Path, **facts: Any) -> ImageRecord:
    """The record of a picture file that was found.

    Raises
    ------
    OSError
        The file cannot be read.
    StorageError
        The catalog cannot be used.
    """
    sha256 = hash_file(path)
    return find_own(catalog, path, sha256) or catalog.register_file("p", path, sha256=sha256, **facts)


def identify_origin(catalog: ImageCatalog, origin: str, created: datetime, **facts: Any) -> ImageRecord:
    """The record of something that was found and is no file."""
    return catalog.find_by_origin(origin) or catalog.register_found(origin, created=created, **facts)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; remembered as long as the file does not change."""
    return _hash(path, stamp_of(path.stat()))


@lru_cache(_REMEMBERED)
def _hash(path: Path, _stamp: Stamp) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
