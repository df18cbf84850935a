"""What a picture says about how it was made, in whatever dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a picture says about itself; empty where it says nothing."""

    dialect: str
    width: int
    height: int
    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    loras: tuple[tuple[str, float | None], ...] = ()
    seed: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    sampler: str = ""
    strength: float | None = None
    created: datetime | None = None
    camera: str = ""
    position: tuple[float, float] | None = None
    software: str = ""
    media_id: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
