"""Pictures to write and files to read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drawthings_mcp.generation import ImageGenerationConfig, LoRAConfig, ResultImage

MakeImage = Callable[..., ResultImage]
MakePng = Callable[..., Path]


@pytest.fixture
def make_image() -> MakeImage:
    """A picture of 8 × 6 pixels; prompts and any field of the configuration can be chosen."""

    def make(prompt: str = "a red fox < in snow", negative_prompt: str = "blurry", **fields: object) -> ResultImage:
        pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
        chosen: dict[str, object] = {
            "model": "z_image_turbo_1.0_q6p.ckpt",
            "seed": 1234567890,
            "steps": 8,
            "guidance_scale": 1.0,
            "sampler": "UniPC Trailing",
            "shift": 3.0,
            "loras": [LoRAConfig(file="my_style_lora_f16.ckpt", weight=0.6)],
            **fields,
        }
        return ResultImage(pixels, prompt, negative_prompt, ImageGenerationConfig.model_validate(chosen))

    return make


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.fixture
def make_png(tmp_path: Path) -> MakePng:
    """A PNG file of one grey pixel with the given chunks, by default before the pixel."""

    def make(*chunks: tuple[bytes, bytes], after: bool = False, name: str = "made.png") -> Path:
        header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
        pixel = _chunk(b"IDAT", zlib.compress(b"\0\x80"))
        extra = b"".join(_chunk(*chunk) for chunk in chunks)
        parts = (header, pixel, extra) if after else (header, extra, pixel)
        path = tmp_path / name
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + _chunk(b"IEND", b""))
        return path

    return make


@pytest.fixture
def golden() -> Path:
    """The folder of recorded files; they are never rewritten."""
    return Path(__file__).parents[1] / "golden" / "metadata"
