"""How a picture was made, in the terms of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drawthings_mcp.generation.configuration import AppSettings

_FROM_PICTURES = frozenset({"image2image", "edit", "inpaint"})


@dataclass(frozen=True, slots=True)
class PictureRecipe:
    """How a picture was made, as far as it says so.

    Attributes
    ----------
    id
        What notes call it.
    model
        As found: a file, with or without its folder or its ending, or a name.
    loras
        Names and weights, of which None stands for the LoRA's own.
    seed
        0 to 2**64 - 1; some programs use 64 bits.
    settings
        The fields of an ``ImageGenerationConfig`` that it tells, and what is not known here.
    size
        Width and height in pixels that were asked for; zeros when nothing tells.
    mode, preset
        Empty where nobody recorded them.
    is_repeated
        Whether the call that begins with it is given the same canvas.
    maps
        The maps that its controls read, in their order, for such a call.
    """

    id: str
    settings: AppSettings
    prompt: str = ""
    negative_prompt: str = ""
    model: str = ""
    seed: int | None = None
    loras: tuple[tuple[str, float | None], ...] = ()
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    preset: str = ""
    is_repeated: bool = False
    maps: tuple[Any, ...] = field(default=(), compare=False, repr=False)

    @property
    def tells_nothing(self) -> bool:
        """Whether there is nothing to begin with."""
        return not (self.prompt or self.model or self.seed is not None or self.settings.fields)

    @property
    def had_canvas(self) -> bool:
        """Whether it was made from another picture, as far as is known."""
        return self.mode in _FROM_PICTURES or self.settings.fields.get("strength", 1) < 1

    @property
    def origin(self) -> str:
        """What stands for it among the places where settings come from."""
        return f"settings of {self.id}"
