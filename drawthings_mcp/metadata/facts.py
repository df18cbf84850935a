"""What any picture tells of itself, whichever program wrote it: the one value that all dialects become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a picture tells of itself; empty or None where it tells nothing.

    Texts contain neither NUL nor halves of surrogate pairs.

    Attributes
    ----------
    dialect
        ``draw-things``, ``comfyui``, ``a1111``, ``invokeai``, ``swarmui``, ``fooocus``; ``exif`` for photos, ``plain``
        for files that tell nothing but their size.
    width, height
        Pixels of the file as it is shown, 0 when unknown.
    model
        As found: a file, with or without its folder or its ending, or a name.
    loras
        Name and weight, in the order in which they apply; None where the weight is not told.
    seed
        0 to 2**64 - 1; some programs use 64 bits.
    sampler
        As found, with the schedule behind it where the two are told apart.
    strength
        0 to 1; 1 when nothing of another picture was kept.
    created
        From the metadata; with a time zone, the machine's own where they name none.
    camera
        Maker and model.
    position
        Latitude and longitude in degrees, north and east positive.
    software
        The program that wrote the picture, with its version where it is told.
    media_id
        This package's own id, when the picture is from its library.
    configuration
        The app's own JSON (formats §1.3) when it is a picture of Draw Things, as found: the other fields tell what was
        rendered, should the two disagree.
    """

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
