"""Masks: black-and-white pictures and alpha channels → the classes that servers read (protocol §4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, InvalidInputError, TensorError
from drawthings_mcp.tensors.header import Codec, DataType, Payload, TensorFormat, split_payload
from drawthings_mcp.tensors.tensor import decode_body, encode_tensor

KEEP_UNLESS_MARKED = 0
"""Kept as soon as some pixel is ``REPAINT``; without any, the server repaints all of the picture."""
GENERATE = 1
"""Nothing is there: start from pure noise."""
REPAINT = 2
KEEP = 3

_THRESHOLD = 128
_VISIBLE_BITS = 0xF8  # how much of the original shows through, above the three bits of the class
_LUMA = np.array([299, 587, 114], np.uint32)  # Rec. 601, in thousandths


def mask_classes(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Classes for a mask as people draw it: white is repainted, black is kept.

    Parameters
    ----------
    mask
        ``(H, W)`` or ``(H, W, 1 | 3 | 4)``, uint8 or bool. Luminances from 128 on count as white; where alpha
        is 0 the pixel is kept.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W)``, of ``REPAINT`` and ``KEEP_UNLESS_MARKED``.

    Raises
    ------
    InvalidInputError
        This is no such array.
    InvalidImageError
        Nothing is white: a server would take it as "repaint everything" (protocol §4.3).
    """
    marked = _find_white(np.asarray(mask))
    if not marked.any():
        raise InvalidImageError(
            "The mask is black all over, so nothing would be repainted. Paint white what is to change, or leave the "
            "mask away to change the whole picture."
        )
    return np.where(marked, np.uint8(REPAINT), np.uint8(KEEP_UNLESS_MARKED))


def alpha_classes(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes for the alpha channel of a canvas: what is not opaque is generated, as the app does (protocol §4.3).

    Parameters
    ----------
    alpha
        ``(H, W)``, uint8, 255 is opaque.

    Returns
    -------
    NDArray[np.uint8]
        ``(H, W)``: ``KEEP`` where opaque, else ``GENERATE`` together with how much of the pixel is visible.
    """
    return np.where(alpha == 255, np.uint8(KEEP), GENERATE | alpha & np.uint8(_VISIBLE_BITS))


def encode_mask(classes: NDArray[np.uint8], *, codec: Codec = Codec.RAW) -> bytes:
    """The payload of a mask (protocol §4.1).

    Parameters
    ----------
    classes
        ``(H, W)``, uint8, as ``mask_classes`` or ``alpha_classes`` gives them.
    codec
        ``Codec.RAW`` or ``Codec.DEFLATE``.

    Raises
    ------
    InvalidInputError
        This is no such array.
    """
    if classes.ndim != 2 or classes.dtype != np.uint8:
        raise InvalidInputError(f"Mask classes are (H, W) of uint8, not {classes.shape} of {classes.dtype}.")
    return encode_tensor(classes, codec=codec, tensor_format=TensorFormat.NCHW)


def decode_mask(payload: Payload) -> NDArray[np.uint8]:
    """The classes in the payload of a mask, ``(H, W)`` uint8.

    Raises
    ------
    TensorError
        The payload is not well-formed, or no mask.
    """
    header, body = split_payload(payload)
    if header.datatype is not DataType.U8 or len(header.dims) != 2:
        raise TensorError(f"A mask has two dims of U8 values, not {list(header.dims)} of {header.datatype.name}.")
    return decode_body(header, body)


def _find_white(mask: NDArray[Any]) -> NDArray[np.bool_]:
    channels = mask.shape[2] if mask.ndim == 3 else 1 if mask.ndim == 2 else 0
    if mask.dtype not in (np.uint8, np.bool_) or channels not in (1, 3, 4) or mask.size == 0:
        raise InvalidInputError(
            f"A mask is (H, W) or (H, W, 1, 3 or 4) of uint8 or bool, not {mask.shape} of {mask.dtype}."
        )
    levels = mask.reshape(*mask.shape[:2], channels) * np.uint8(255 if mask.dtype == np.bool_ else 1)
    lumas = levels[..., 0] if channels == 1 else levels[..., :3] @ _LUMA // _LUMA.sum()
    white: NDArray[np.bool_] = lumas >= _THRESHOLD
    return white & (levels[..., 3] > 0) if channels == 4 else white
