"""Image payloads ↔ pixels, and both ↔ picture files (protocol §3.6).

What reads picture files is imported when it is first used: the process that decodes fpzip does without Pillow.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import (
    DecoderCrashedError,
    DrawThingsWarning,
    InvalidInputError,
    StorageError,
    TensorError,
    TensorTooLargeError,
)
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.tensors.header import (
    MAX_PIXELS,
    Codec,
    DataType,
    Payload,
    TensorFormat,
    TensorHeader,
    split_payload,
)
from drawthings_mcp.tensors.layout import build_tensor, check_pixels, fill_picture, pixels_to_tensor
from drawthings_mcp.tensors.pixel_budget import DECODING
from drawthings_mcp.tensors.png import encode_png
from drawthings_mcp.tensors.tensor import Inflater, decode_body, decode_fpzip_pixels, encode_tensor, view_bytes

if TYPE_CHECKING:
    from drawthings_mcp.tensors.pixels import ImageLike

MAX_SIDE = 8192 * 4
"""The longest side that can be asked for, four times enlarged."""
_BLOCK_PIXELS = 16384
REPLACED = (
    "Some values of the picture are no numbers (NaN) and became black: the model overflowed. Another seed, sampler or "
    "model file may help."
)


@contextmanager
def explained_as_received(what: str = "a picture") -> Iterator[None]:
    """Around the decoding of what a server sent: says so, and what to do, when it cannot be read."""
    try:
        yield
    except DecoderCrashedError:
        raise
    except TensorError as error:
        text = "The server sent {what} that cannot be read: {error} Generate it again; if that does not help, {step}."
        raise type(error)(Text(text, what=what, error=error, step=Step("update_server"))) from error


def decode_image(
    payload: Payload, *, max_pixels: int | None = None, report: Callable[[str], object] | None = None
) -> NDArray[np.uint8]:
    """The picture in a payload.

    Blocks for a tenth of a second for 1024×1024 packed with fpzip, but never holds the interpreter lock for long:
    call it from asynchronous code through ``anyio.to_thread.run_sync``.

    Parameters
    ----------
    payload
        A tensor ``(1, H, W, 3)``, or ``(1, H, W, 4)`` with alpha **first**, of float16 or float32.
    max_pixels
        The most pixels that it may have, for those who know what they asked for: width times height, times the
        square of the upscaler's factor. By default, and at most, 8192 times 8192. Nothing is allocated before this
        is checked.
    report
        Gets a sentence when some values are no numbers (NaN) and were replaced; by default it is a
        ``DrawThingsWarning``.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W, 3)`` or ``(H, W, 4)``, sRGB, channels R, G, B, A.

    Raises
    ------
    TensorError
        The payload is not well-formed, or no image.
    TensorTooLargeError
        It has more than ``max_pixels`` pixels, or a side longer than ``MAX_SIDE``.
    DecoderCrashedError
        As in ``decode_tensor``.

    Notes
    -----
    Besides the payload and the pixels this takes hardly any memory, for the tensor is never unpacked as a whole; only
    the process that decodes fpzip needs four bytes per value: 1 GiB for 8192×8192 with alpha.
    """
    header, body = split_payload(payload)
    _check_image(header)
    _check_extent(header, MAX_PIXELS if max_pixels is None else min(max_pixels, MAX_PIXELS))
    with DECODING.hold(header.dims[1] * header.dims[2]):
        pixels, has_gaps = _DECODERS[header.codec](header, body)
    if has_gaps and report is not None:
        report(REPLACED)
    elif has_gaps:
        warnings.warn(REPLACED, DrawThingsWarning, stacklevel=2)
    return pixels


def encode_image(pixels: NDArray[np.uint8], *, codec: Codec = Codec.RAW) -> bytes:
    """The payload of a picture, as a server would send it.

    Parameters
    ----------
    pixels
        ``(H, W, 3)`` or ``(H, W, 4)``, uint8, sRGB, channels R, G, B, A.
    codec
        Any; packed only where that makes it smaller.

    Returns
    -------
    bytes
        A float16 tensor ``(1, H, W, 3)``, or ``(1, H, W, 4)`` with alpha first. **Requests** take three channels only.

    Raises
    ------
    InvalidImageError
        This is no such array.
    """
    check_pixels(pixels, 3, 4)
    return encode_tensor(build_tensor(pixels), codec=codec, tensor_format=TensorFormat.NHWC)


def encode_image_to_tensor(image: ImageLike, size: tuple[int, int] | None = None, *, compress: bool = False) -> bytes:
    """The payload of any picture as requests take it: three channels.

    Parameters
    ----------
    image
        What ``ensure_pixels`` takes: a path, the bytes of a file, a Pillow image or an array.
    size
        Width and height to stretch it to; by default it keeps its own.
    compress
        Pack it with fpzip, where that makes it smaller; servers take both.

    Returns
    -------
    bytes
        A float16 tensor ``(1, H, W, 3)``; 0.0, which is middle grey, where the picture is clear (protocol §4.3).

    Raises
    ------
    InvalidImageError
        It is no picture, or beyond the limits.
    InvalidInputError
        The size is not 1x1 to 8192x8192.
    """
    from drawthings_mcp.tensors.fitting import fit_pixels
    from drawthings_mcp.tensors.pixels import ensure_pixels

    pixels = ensure_pixels(image)
    if size is not None:
        pixels = fit_pixels(pixels, size, "stretch")
    tensor = pixels_to_tensor(pixels[..., :3])
    if pixels.shape[2] == 4:
        tensor[pixels[..., 3] == 0] = 0
    codec = Codec.FPZIP if compress else Codec.RAW
    return encode_tensor(tensor[np.newaxis], codec=codec, tensor_format=TensorFormat.NHWC)


def save_tensor_image(payload: Payload, path: str | Path) -> Path:
    """Decode a payload and write it as a PNG file.

    Parameters
    ----------
    payload
        As for ``decode_image``.
    path
        Ends in ``.png``; folders are made, a file that exists is left alone.

    Returns
    -------
    Path
        Where the picture is now.

    Raises
    ------
    TensorError
        As in ``decode_image``.
    InvalidInputError
        The name does not end in ``.png``.
    StorageError
        The file exists or cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InvalidInputError(
            f"The picture is written as PNG, so name it {path.stem or 'picture'}.png, not {path.name!r}."
        )
    data = encode_png(decode_image(payload))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as exc:
        raise StorageError(f"{path} exists already; choose another name or remove it.") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL character in the path
        raise StorageError(f"{path} cannot be written ({exc}); choose another folder.") from exc
    return path


def _check_image(header: TensorHeader) -> None:
    if header.datatype not in (DataType.F16, DataType.F32) or header.format is not TensorFormat.NHWC:
        raise TensorError(
            f"An image has F16 or F32 values in the order NHWC, not {header.datatype.name} in {header.format.name}."
        )
    if len(header.dims) != 4 or header.dims[0] != 1 or header.dims[3] not in (3, 4):
        raise TensorError(f"An image has the dims [1, height, width, 3 or 4], not {list(header.dims)}.")


def _check_extent(header: TensorHeader, max_pixels: int) -> None:
    _, height, width, _ = header.dims
    if width * height > max_pixels:
        raise TensorTooLargeError(
            f"The image is {width}x{height}, that is {width * height:,} pixels; at most {max_pixels:,} were expected."
        )
    if max(width, height) > MAX_SIDE:
        raise TensorTooLargeError(f"The image is {width}x{height} pixels; no side may be longer than {MAX_SIDE:,}.")


def _convert_raw(header: TensorHeader, body: memoryview) -> tuple[NDArray[np.uint8], bool]:
    tensor = decode_body(header, body)  # checked before memory is taken
    pixels = np.empty(header.dims[1:], np.uint8)
    return pixels, fill_picture(tensor, pixels.reshape(-1))


def _inflate_pixels(header: TensorHeader, body: memoryview) -> tuple[NDArray[np.uint8], bool]:
    inflater = Inflater(header, body)
    channels = header.dims[3]
    block = np.empty((_BLOCK_PIXELS, channels), header.datatype.dtype)
    pixels = np.empty(header.dims[1:], np.uint8)
    flat = pixels.reshape(-1)
    has_gaps = False
    for start in range(0, flat.size, block.size):
        part = flat[start : start + block.size]
        values = block[: part.size // channels]
        inflater.read_into(view_bytes(values))
        has_gaps |= fill_picture(values, part)
    inflater.finish()
    return pixels, has_gaps


_DECODERS: Mapping[Codec, Callable[[TensorHeader, memoryview], tuple[NDArray[np.uint8], bool]]] = {
    Codec.RAW: _convert_raw,
    Codec.DEFLATE: _inflate_pixels,
    Codec.FPZIP: decode_fpzip_pixels,
}
"""How the pixels of an image are made, and whether some values were no numbers."""
