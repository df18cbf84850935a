"""The file of a known picture, opened; or a sentence that says what became of it."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from drawthings_mcp.errors import InvalidImageError, MissingFileError
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.tensors.picture_files import open_regular_file

_MAX_PROMPT = 200
_CHUNK = 1 << 20


def open_original(record: ImageRecord) -> BinaryIO:
    """The file of a picture, open for reading.

    Raises
    ------
    MissingFileError
        It was moved or deleted; says how to get the picture again.
    InvalidImageError
        There never was a file, or what lies there now is none or cannot be read.
    """
    if record.path is None:
        raise InvalidImageError(
            f"{record.id} has no picture file of its own yet, only its origin {record.origin}; choose a picture that "
            "has one."
        )
    try:
        record.path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(
            f"The file of {record.id} is gone: {record.path} was moved or deleted; {_describe_remedy(record)}."
        ) from error
    except OSError:
        pass  # said below, where the file is opened
    return open_regular_file(record.path)


def open_unchanged(record: ImageRecord) -> BinaryIO:
    """As ``open_original``, of exactly the bytes that were recorded: whatever lies there now is somebody's file.

    Raises
    ------
    InvalidImageError
        It changed since it was recorded.
    """
    file = open_original(record)
    try:
        if record.sha256 and hash_file(file) != record.sha256:
            raise InvalidImageError(
                f"The file {record.path} has changed since it became {record.id}; give its path to use it as it is now."
            )
    except BaseException:
        file.close()
        raise
    return file


def hash_file(file: BinaryIO) -> str:
    """SHA-256 of a stream, in hexadecimal digits; it is at its beginning afterwards."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def _describe_remedy(record: ImageRecord) -> str:
    if record.seed is None:
        return "put it back, or give the path where it is now"
    prompt = record.prompt if len(record.prompt) <= _MAX_PROMPT else f"{record.prompt[:_MAX_PROMPT]}…"
    size = f"{record.width}x{record.height}"
    return (
        f"put it back, or generate it again with model {record.model}, seed {record.seed}, size {size} and the prompt "
        f"{prompt!r}"
    )
