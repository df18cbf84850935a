"""Bytes ↔ arrays: header, payload codecs (raw, fpzip, deflate), images, masks, latents, audio (protocol §3, §4).

Arrays are ``(H, W, C)``; pixels are uint8 and sRGB, tensors are float in [-1, 1].
"""

from __future__ import annotations

from drawthings_mcp.tensors.image import decode_image, encode_image, encode_image_to_tensor, save_tensor_image

__all__ = ["decode_image", "encode_image", "encode_image_to_tensor", "save_tensor_image"]
