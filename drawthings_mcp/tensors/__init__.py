"""Bytes ↔ arrays: header, payload codecs (raw, fpzip, deflate), images, masks, latents, audio (protocol §3, §4).

Arrays are ``(H, W, C)``; pixels are uint8 and sRGB, tensors are float in [-1, 1]. What is listed here is imported
when it is first used: a process that only decodes fpzip streams does without Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawthings_mcp.late import import_late

if TYPE_CHECKING:
    from drawthings_mcp.tensors.audio import decode_audio, encode_audio
    from drawthings_mcp.tensors.fitting import Fit, Padding, extend_canvas, fit_pixels, flatten_transparent
    from drawthings_mcp.tensors.fpzip_pool import prestart
    from drawthings_mcp.tensors.header import (
        HEADER_SIZE,
        MAX_PIXELS,
        Codec,
        DataType,
        Payload,
        TensorFormat,
        TensorHeader,
        build_header,
        parse_header,
    )
    from drawthings_mcp.tensors.image import decode_image, encode_image, encode_image_to_tensor, save_tensor_image
    from drawthings_mcp.tensors.latent import decode_latent, encode_latent
    from drawthings_mcp.tensors.latent_maps import LatentMap, find_latent_map, load_latent_maps
    from drawthings_mcp.tensors.latent_preview import preview_pixels
    from drawthings_mcp.tensors.mask import alpha_classes, decode_mask, encode_mask, mask_classes
    from drawthings_mcp.tensors.pixels import ImageLike, ensure_pixels
    from drawthings_mcp.tensors.scale import pixels_to_tensor, tensor_to_pixels
    from drawthings_mcp.tensors.tensor import decode_tensor, encode_tensor

__all__ = [
    "HEADER_SIZE",
    "MAX_PIXELS",
    "Codec",
    "DataType",
    "Fit",
    "ImageLike",
    "LatentMap",
    "Padding",
    "Payload",
    "TensorFormat",
    "TensorHeader",
    "alpha_classes",
    "build_header",
    "decode_audio",
    "decode_image",
    "decode_latent",
    "decode_mask",
    "decode_tensor",
    "encode_audio",
    "encode_image",
    "encode_image_to_tensor",
    "encode_latent",
    "encode_mask",
    "encode_tensor",
    "ensure_pixels",
    "extend_canvas",
    "find_latent_map",
    "fit_pixels",
    "flatten_transparent",
    "load_latent_maps",
    "mask_classes",
    "parse_header",
    "pixels_to_tensor",
    "prestart",
    "preview_pixels",
    "save_tensor_image",
    "tensor_to_pixels",
]

_HOMES = {
    "audio": ("decode_audio", "encode_audio"),
    "fitting": ("Fit", "Padding", "extend_canvas", "fit_pixels", "flatten_transparent"),
    "fpzip_pool": ("prestart",),
    "header": (
        "HEADER_SIZE",
        "MAX_PIXELS",
        "Codec",
        "DataType",
        "Payload",
        "TensorFormat",
        "TensorHeader",
        "build_header",
        "parse_header",
    ),
    "image": ("decode_image", "encode_image", "encode_image_to_tensor", "save_tensor_image"),
    "latent": ("decode_latent", "encode_latent"),
    "latent_maps": ("LatentMap", "find_latent_map", "load_latent_maps"),
    "latent_preview": ("preview_pixels",),
    "mask": ("alpha_classes", "decode_mask", "encode_mask", "mask_classes"),
    "pixels": ("ImageLike", "ensure_pixels"),
    "scale": ("pixels_to_tensor", "tensor_to_pixels"),
    "tensor": ("decode_tensor", "encode_tensor"),
}

__getattr__ = import_late(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
