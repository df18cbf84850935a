"""What a caller may ask the studio for. None means: whatever suits the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ImageFormat = Literal["square", "landscape", "portrait", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4"]


@dataclass(frozen=True, slots=True)
class GenerateArguments:
    """One call, already checked for ranges; names are still as the caller wrote them.

    Attributes
    ----------
    model
        A file, a display name, or ``auto``.
    width, height
        Pixels, any size from 128 to 8192; they win over ``image_format``.
    seed
        -1 draws one.
    """

    prompt: str
    negative_prompt: str = ""
    model: str = "auto"
    image_format: ImageFormat | None = None
    width: int | None = None
    height: int | None = None
    variants: int = 1
    seed: int = -1
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
