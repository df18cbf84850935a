"""What a caller may ask the studio for. None means: whatever suits the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from drawthings_mcp.tensors.pixels import ImageLike

ImageFormat = Literal["square", "landscape", "portrait", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4"]


Mode = Literal["auto", "text2image", "image2image", "edit", "inpaint"]


@dataclass(frozen=True, slots=True, eq=False)
class GenerateArguments:
    """One call, already checked for ranges; names are still as the caller wrote them.

    Attributes
    ----------
    mode
        ``auto``: a mask makes it ``inpaint``, a picture ``edit``, nothing ``text2image``.
    model
        A family, a file, a display name, or ``auto``.
    width, height
        Pixels, any size from 128 to 8192; they win over ``image_format``.
    seed
        -1 draws one.
    loras
        Name and weight, added to those of the preset; without a weight the LoRA's own.
    preset
        Name of any preset; empty for the user's ``<mode>.<family>``, or what suits the model.
    canvas, moodboard, mask
        References as texts (contract §4), or pictures: paths, bytes, Pillow images, arrays.
    hints
        Ready maps for controls: the control's type, the picture like those above, and the control's weight.
    fit
        How the canvas gets its size.
    configuration
        Keys of the app's JSON; they win over the preset, and the arguments above win over them.
    """

    prompt: str
    mode: Mode = "auto"
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
    strength: float | None = None
    loras: Sequence[tuple[str, float | None]] = ()
    preset: str = ""
    canvas: ImageLike | None = None
    moodboard: Sequence[ImageLike] = ()
    mask: ImageLike | None = None
    hints: Sequence[tuple[str, ImageLike, float | None]] = ()
    fit: Literal["crop", "pad", "stretch"] = "crop"
    configuration: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_picture(self) -> bool:
        """Whether there is something to start from."""
        return self.canvas is not None or bool(self.moodboard)

    @property
    def resolved_mode(self) -> Mode:
        """The mode, with ``auto`` resolved."""
        if self.mode != "auto":
            return self.mode
        if self.mask is not None:
            return "inpaint"
        return "edit" if self.has_picture else "text2image"
