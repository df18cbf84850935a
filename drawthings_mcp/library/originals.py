"""The files of pictures: ours are saved as PNG, none ever overwritten or half written; all are opened and read here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, MissingFileError
from drawthings_mcp.generation import ResultImage
from drawthings_mcp.library.new_files import number_stems, write_named_file, write_new_file
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.metadata.draw_things import build_made_metadata, build_metadata
from drawthings_mcp.metadata.draw_things_keys import ModelKind
from drawthings_mcp.tensors.picture_files import hash_file, open_regular_file
from drawthings_mcp.tensors.pixels import ensure_pixels
from drawthings_mcp.tensors.pixels import read_pixels as read_stream
from drawthings_mcp.tensors.png import encode_png

INPUTS_FOLDER = "inputs"
_ENDINGS = {"JPEG": "jpg", "TIFF": "tif", "HEIF": "heic"}
_MAX_PROMPT = 200
_WEB = "https://"


@dataclass(frozen=True, slots=True, eq=False)
class SavedFile:
    """A file as it was written.

    Attributes
    ----------
    path
        Absolute.
    sha256
        Of its bytes, in hexadecimal digits.
    pixels
        What was written, ``(H, W, 3 or 4)`` uint8: a preview can be made of them without reading the file.
    """

    path: Path
    sha256: str
    size_bytes: int
    pixels: NDArray[np.uint8]
    format: str = "PNG"


def save_image(
    image: ResultImage,
    folder: Path,
    stem: str,
    *,
    server: str = "",
    requested_size: tuple[int, int] | None = None,
    kind: ModelKind | None = None,
    extra: Mapping[str, Any] | None = None,
    private: bool = False,
) -> SavedFile:
    """Write a picture with its metadata under a name that nobody had.

    The file is ``<stem>.png``, or ``<stem>-2.png`` and so on when that exists. It appears whole or not at
    all, also when several processes save at once.

    Parameters
    ----------
    folder
        Created when missing.
    stem
        From ``file_stem``.
    server, requested_size, kind, extra
        For the metadata: see ``metadata.build_metadata``.
    private
        Whether only the owner may read it, and enter the folder when that is made.

    Raises
    ------
    StorageError
        The folder cannot be made or written, or the disk is full. Nothing is left behind.
    InvalidInputError
        The image's seed is not the one that was used.
    """
    packet = build_metadata(image, server=server, requested_size=requested_size, kind=kind, extra=extra)
    return _save(image.pixels, packet, folder, stem, private=private)


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

    It is for its owner alone, as everything in the state folder.
    """
    height, width = pixels.shape[:2]
    return _save(pixels, build_made_metadata((width, height), extra=extra), folder, stem, private=True)


def _save(pixels: NDArray[np.uint8], packet: str, folder: Path, stem: str, *, private: bool) -> SavedFile:
    data = encode_png(pixels, packet)
    names = (f"{free}.png" for free in number_stems(stem))
    with ThreadPoolExecutor(1) as other:  # the disk takes its time
        digest = other.submit(hashlib.sha256, data)
        path = write_new_file(folder, names, lambda path: path.write_bytes(data), what="picture", private=private)
        return SavedFile(path, digest.result().hexdigest(), len(data), pixels)


def keep_input(state_dir: Path, data: bytes, picture_format: str) -> Path:
    """Write a picture that came as bytes, not as a file of the user's, as it is, unless it is there already.

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
    path = state_dir.absolute() / INPUTS_FOLDER / digest[:2] / f"{digest}.{ending}"
    # The name says what is in it; only a copy that the disk lost a part of is written again.
    if not path.is_file() or path.stat().st_size != len(data):
        write_named_file(path, data, what="picture")
    return path


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


def _describe_remedy(record: ImageRecord) -> str:
    if record.seed is None:
        return "put it back, or give the path where it is now"
    prompt = record.prompt if len(record.prompt) <= _MAX_PROMPT else f"{record.prompt[:_MAX_PROMPT]}…"
    size = f"{record.width}x{record.height}"
    return (
        f"put it back, or generate it again with model {record.model}, seed {record.seed}, size {size} and the prompt "
        f"{prompt!r}"
    )


def read_pixels(source: ImageRecord | Path) -> NDArray[np.uint8]:
    """Pixels of a picture: upright, in sRGB, without anything else that the file carries.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W, 3)``, or ``(H, W, 4)`` when some pixel is not opaque.

    Raises
    ------
    MissingFileError
        The file of the record is gone; says how to get the picture again.
    InvalidImageError
        It changed since it was recorded, or is no picture.
    """
    if isinstance(source, Path):
        return ensure_pixels(source)
    with open_unchanged(source) as file:
        return read_stream(file, source.id)


def hash_pixels(pixels: NDArray[np.uint8]) -> str:
    """A digest that is the same for the same picture in any lossless file: of its size and pixels."""
    shape = "x".join(map(str, pixels.shape))
    return hashlib.sha256(shape.encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def read_record_metadata(record: ImageRecord) -> ImageMetadata:
    """What the library knows of how a picture was made, as a file would tell it."""
    dialect = "draw-things" if record.configuration else "plain"
    names = ("width", "height", "prompt", "negative_prompt", "model", "seed", "created", "configuration")
    told = {name: getattr(record, name) for name in names}
    # What was found on the web is recorded with its title.
    return ImageMetadata(dialect, **{**told, "prompt": ""} if record.origin.startswith(_WEB) else told)
