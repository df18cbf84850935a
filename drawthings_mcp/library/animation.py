"""The frames of a video run → one file that moves: an animated PNG file here, an MP4 file by ``mp4``."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, InvalidInputError
from drawthings_mcp.library.audio import Sound
from drawthings_mcp.library.mp4 import is_available, write_mp4
from drawthings_mcp.library.new_files import number_stems, write_new_file
from drawthings_mcp.tensors.layout import check_pixels
from drawthings_mcp.tensors.png import build_chunk, build_head, deflate_pixels

Container: TypeAlias = Literal["mp4", "apng"]
"""H.264 and AAC, where PyAV is installed; animated PNG, everywhere, without loss and without sound."""
_SUFFIXES = {"mp4": ".mp4", "apng": ".png"}
_MIN_FPS, _MAX_FPS = 0.1, 60.0
_MAX_DENOMINATOR = 1001
"""What broadcast rates such as 30000/1001 need; with at most 60 frames per second the numerator fits 16 bits."""
_FOREVER = 0
_KEEP, _REPLACE = 0, 0
"""What becomes of a frame when it has been shown, and how the next one is laid over it."""


def find_container() -> Container:
    """The best kind of file that can be written here: MP4 where PyAV is installed, else APNG."""
    return "mp4" if is_available() else "apng"


def save_animation(
    frames: Iterable[NDArray[np.uint8]],
    folder: Path,
    stem: str,
    fps: float,
    container: Container | None = None,
    *,
    sound: Sound | None = None,
) -> Path:
    """Write frames as one file that moves, under a name that nobody had: ``<stem>.mp4`` or ``<stem>.png``.

    Frames that are already on disk need not be decoded twice: ``map(ensure_pixels, paths)`` reads them one by one.

    Parameters
    ----------
    frames
        In order, ``(H, W, 3)`` uint8, sRGB, all of the same size; for APNG also ``(H, W, 4)``. Of an iterator never
        more than two are in memory.
    folder
        Created when missing.
    stem
        From ``file_stem``.
    fps
        Frames per second, 0.1 to 60: see ``generation.frame_rate``.
    container
        By default what ``find_container`` says.
    sound
        For MP4 only.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    InvalidInputError
        There is no frame, no such rate, or the container is not to be had or cannot carry what it is given.
    InvalidImageError
        The frames are of different sizes, or no pixels.
    StorageError
        The file cannot be written. Nothing is left behind.
    """
    container = container or find_container()
    _check_container(container, sound)
    rate = _find_rate(fps)
    checked = _check_frames(frames)

    def write(path: Path) -> None:
        if container == "mp4":
            write_mp4(checked, path, rate, sound)
        else:
            write_apng(checked, path, rate)

    names = (f"{free}{_SUFFIXES[container]}" for free in number_stems(stem))
    return write_new_file(folder, names, write, what="video")


def _check_container(container: Container, sound: Sound | None) -> None:
    if container not in _SUFFIXES:
        raise InvalidInputError(f"A video is saved as {' or '.join(_SUFFIXES)}, not {container!r}.")
    if container == "apng" and sound is not None:
        raise InvalidInputError("APNG files have no sound; save it as a file of its own, with save_audio.")
    if container == "mp4" and not is_available():
        raise InvalidInputError('MP4 files need PyAV: pip install "drawthings-mcp[video]"; or save the video as apng.')


def _find_rate(fps: float) -> Fraction:
    if not _MIN_FPS <= fps <= _MAX_FPS:
        raise InvalidInputError(f"A video has {_MIN_FPS:g} to {_MAX_FPS:g} frames per second, not {fps}.")
    return Fraction(fps).limit_denominator(_MAX_DENOMINATOR)


def _check_frames(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    shape: tuple[int, ...] = ()
    for number, frame in enumerate(frames, 1):
        check_pixels(frame, 3, 4)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise InvalidImageError(
                f"Frame {number} is {frame.shape}, the first one {shape}: all frames of a video have the same size and "
                "channels."
            )
        yield frame
    if not shape:
        raise InvalidInputError("A video has at least one frame; there is none.")


def write_apng(frames: Iterable[NDArray[np.uint8]], path: Path, rate: Fraction) -> None:
    """Write frames as they come; at no time more than two are in memory.

    Parameters
    ----------
    frames
        At least one, ``(H, W, 3)`` or ``(H, W, 4)`` uint8, sRGB, all of the same shape.
    path
        A file that may be overwritten.
    rate
        Frames per second; numerator and denominator fit 16 bits.
    """
    with path.open("wb") as file:
        count, place = 0, 0
        for frame in frames:
            if not count:
                file.write(build_head(frame))
                place = file.tell()
                file.write(_build_animation_control(count))
            file.write(_build_frame(frame, count, rate))
            count += 1
        file.write(build_chunk(b"IEND", b""))
        # How many there are stands before them, but only now it is known.
        file.seek(place)
        file.write(_build_animation_control(count))


def _build_animation_control(count: int) -> bytes:
    return build_chunk(b"acTL", struct.pack(">II", count, _FOREVER))


def _build_frame(pixels: NDArray[np.uint8], index: int, rate: Fraction) -> bytes:
    """Control and data of a frame; the first one is also what programs show that know no animation."""
    height, width = pixels.shape[:2]
    sequence = max(0, 2 * index - 1)  # counts all of these chunks but the data of the first frame
    control = struct.pack(
        ">IIIIIHHBB", sequence, width, height, 0, 0, rate.denominator, rate.numerator, _KEEP, _REPLACE
    )
    data = deflate_pixels(pixels)
    picture = build_chunk(b"fdAT", struct.pack(">I", sequence + 1) + data) if index else build_chunk(b"IDAT", data)
    return build_chunk(b"fcTL", control) + picture
