"""Latents, what a model works on, ``(N, h, w, C)``: their payloads, and small pictures of them (protocol §7.4, §7.5).

A picture is made by a linear map between latents and colours, one for each model version, from ``latent_maps.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError, TensorError
from drawthings_mcp.tensors.header import Codec, Payload, TensorFormat, parse_header, split_payload
from drawthings_mcp.tensors.tensor import decode_body, encode_tensor

MAX_SIZE = 128 << 20
"""Bytes: twice what the largest canvas takes in 16 channels of float32, and more than any video's."""
Output: TypeAlias = Literal["levels", "unit", "signed", "oklab"]
"""What the colours of a map are: sRGB from 0 to 255, 0 to 1 or -1 to 1, or OKLab."""
_LEVELS: Mapping[Output, tuple[float, float]] = {
    "levels": (1.0, 0.0),
    "unit": (255.0, 0.0),
    "signed": (127.5, 127.5),
    "oklab": (1.0, 0.0),
}
"""``level = colour * factor + offset``; OKLab has a way of its own after that."""
_LTX_VERSIONS = frozenset({"ltx2", "ltx2.3"})
_H3_VERSION = "minimax_h3"
_LAB_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ],
    np.float32,
)
_LMS_TO_LINEAR = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ],
    np.float32,
)
"""OKLab's own constants, as its author published them."""


def encode_latent(latent: NDArray[np.float16], *, codec: Codec = Codec.RAW) -> bytes:
    """The payload of a latent.

    Parameters
    ----------
    latent
        ``(N, h, w, C)``, float16, VAE space.
    codec
        Any; packed only where that makes it smaller.

    Raises
    ------
    InvalidInputError
        This is no such array.
    """
    if latent.ndim != 4 or latent.dtype != np.float16:
        raise InvalidInputError(f"A latent is (N, h, w, C) of float16, not {latent.shape} of {latent.dtype}.")
    return encode_tensor(latent, codec=codec, tensor_format=TensorFormat.NHWC)


def decode_latent(payload: Payload) -> NDArray[np.floating[Any]]:
    """The latent in a payload, ``(N, h, w, C)``: float16, or float32 from an Intel Mac (protocol §3.4).

    Raises
    ------
    TensorError
        The payload is not well-formed, or no latent.
    TensorTooLargeError
        It takes more than ``MAX_SIZE`` bytes.
    """
    header, body = split_payload(payload)
    if not header.datatype.is_float or len(header.dims) != 4 or header.format is not TensorFormat.NHWC:
        raise TensorError(
            f"A latent is (N, h, w, C) of floats in the order NHWC, not {list(header.dims)} of {header.datatype.name} "
            f"in the order {header.format.name}."
        )
    header.check_size(MAX_SIZE, "latent")
    return decode_body(header, body)


@dataclass(frozen=True, slots=True, eq=False)
class LatentMap:
    """``colour = weights @ values + bias``: weights ``(3, K)``, bias ``(3,)``."""

    output: Output
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    patch: int = 1
    """Pixels per side of the square that one cell holds, plane after plane; 1 where a cell is one pixel."""

    @property
    def channels(self) -> int:
        """Channels of a latent that the map is for."""
        return int(self.weights.shape[1]) * self.patch**2


@cache
def load_latent_maps() -> Mapping[str, LatentMap]:
    """Every known map by its name."""
    return {
        name: LatentMap(
            entry["output"],
            np.array(entry["weights"], np.float64),
            np.array(entry["bias"], np.float64),
            entry.get("patch", 1),
        )
        for name, entry in _load()["maps"].items()
    }


def find_latent_map(version: str, channels: int) -> LatentMap | None:
    """The map for a latent of a model version, such as ``z_image``; None when no map is known.

    A cascade shows latents of both its stages, which only differ in their channels. Without a version, the channels
    decide if only one map has as many: 4 and 16 are ambiguous.
    """
    maps = load_latent_maps()
    candidates = [maps[name] for name in _load()["versions"].get(version, ())] if version else list(maps.values())
    fitting = [candidate for candidate in candidates if candidate.channels == channels]
    return fitting[0] if len(fitting) == 1 else None


@cache
def _load() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("latent_maps.json").read_text("utf-8"))
    return loaded


def preview_pixels(latent: Payload | NDArray[np.floating[Any]], version: str = "") -> NDArray[np.uint8] | None:
    """What a latent roughly looks like.

    Parameters
    ----------
    latent
        A payload, or the array ``(N, h, w, C)`` of floats in it: one picture for each image of a batch or each latent
        frame of a video.
    version
        Of the model, such as ``z_image``. Without it the number of channels decides where it can.

    Returns
    -------
    NDArray[np.uint8] | None
        ``(N, h, w, 3)``, sRGB, one pixel per cell of 4 to 16 pixels; or ``(N, 32·h, 32·w, 3)`` for ``hidream_o1``, the
        cells of which hold pixels. None when no map is known for such a latent, as for ``ltx2``.

    Raises
    ------
    TensorError
        The payload is not well-formed, or no latent. It is not decoded when no map is known.
    InvalidInputError
        The array is no latent.

    Notes
    -----
    Levels are truncated and clamped, and 0 where they are not finite, as in the app.
    """
    if isinstance(latent, np.ndarray):
        _check_latent(latent)
    channels = latent.shape[3] if isinstance(latent, np.ndarray) else parse_header(latent).dims[-1]
    latent_map = find_latent_map(version, channels)
    if latent_map is None:
        return None
    values = latent if isinstance(latent, np.ndarray) else decode_latent(latent)
    return _apply(latent_map, cut_sound(values, version))


def cut_sound(latent: NDArray[np.floating[Any]], version: str) -> NDArray[np.floating[Any]]:
    """The latent without the rows below the picture into which some versions pack their sound (protocol §2.8, §7.4).

    Parameters
    ----------
    latent
        ``(N, h, w, C)``, with N latent frames.
    version
        Of the model; all but ``ltx2``, ``ltx2.3`` and ``minimax_h3`` pack none.

    Returns
    -------
    NDArray[np.floating[Any]]
        ``(N, h - rows, w, C)``, a view.
    """
    count, height, width, channels = latent.shape
    rows = 0
    if version in _LTX_VERSIONS:
        rows = -(-((count - 1) * 8 + 1) // (width * count))
    elif version == _H3_VERSION:
        rows = _count_h3_rows(count, count * width * channels)
    return latent[:, : max(1, height - rows)]


def _count_h3_rows(count: int, row: int) -> int:
    """Rows of ``row`` values for the sound of 24 frames a second: 40 steps a second, two channels, 32 values each."""
    frames = 1 if count == 1 else (count - 2) // 5 * 17 + 5
    rows = -(-2 * round(frames / 24 * 40) * 32 // row)
    while rows * row % 32:
        rows += 1
    return rows


def _check_latent(latent: NDArray[Any]) -> None:
    if latent.ndim != 4 or latent.dtype.kind != "f":
        raise InvalidInputError(f"A latent is (N, h, w, C) of floats, not {latent.shape} of {latent.dtype}.")


def _apply(latent_map: LatentMap, latent: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    values = _unfold(latent, latent_map.patch)
    weights, bias = _fold(latent_map)
    with np.errstate(over="ignore", invalid="ignore"):
        levels = values.reshape(-1, values.shape[3]).astype(np.float32) @ weights + bias
        if latent_map.output == "oklab":
            levels = _convert_oklab(levels)
    np.nan_to_num(levels, copy=False, posinf=0.0, neginf=0.0)
    return levels.clip(0, 255).astype(np.uint8).reshape(*values.shape[:3], 3)


def _unfold(latent: NDArray[np.floating[Any]], patch: int) -> NDArray[np.floating[Any]]:
    """Every cell as ``patch`` by ``patch`` pixels; a cell's values stand plane by plane, each row by row."""
    count, height, width, channels = latent.shape
    planes = latent.reshape(count, height, width, channels // patch**2, patch, patch)
    return planes.transpose(0, 1, 4, 2, 5, 3).reshape(count, height * patch, width * patch, -1)


@cache
def _fold(latent_map: LatentMap) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights ``(K, 3)`` and bias ``(3,)`` that give levels at once."""
    factor, offset = _LEVELS[latent_map.output]
    return (latent_map.weights.T * factor).astype(np.float32), (latent_map.bias * factor + offset).astype(np.float32)


def _convert_oklab(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB levels of OKLab colours ``(…, 3)``."""
    linear = (lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_LINEAR.T
    curved = 1.055 * np.maximum(linear, 0) ** np.float32(1 / 2.4) - 0.055
    levels: NDArray[np.float32] = np.where(linear <= 0.0031308, linear * 12.92, curved) * np.float32(255)
    return levels
