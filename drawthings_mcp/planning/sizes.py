"""Which size is rendered and which is kept, and what sizes need that are far above a model's native one.

At those it draws the same things again and again: they take two passes, or tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.generation.configuration import list_ranges
from drawthings_mcp.limits import MAX_SIDE, MIN_SIDE, UNIT
from drawthings_mcp.params import ImageFormat
from drawthings_mcp.planning.abilities import CASCADE, makes_video, reads_references

_RATIOS: Mapping[ImageFormat, tuple[int, int]] = {
    "square": (1, 1),
    "landscape": (3, 2),
    "portrait": (2, 3),
    "16:9": (16, 9),
    "9:16": (9, 16),
    "3:2": (3, 2),
    "2:3": (2, 3),
    "4:3": (4, 3),
    "3:4": (3, 4),
}

FAR_ABOVE = "size far above the model's"
_MOST_REPEATED = 4
"""Times the native area up to which a model still draws one picture."""
_SECOND_PASS = 0.4
"""Strength of a second pass in tiles, each of which is to keep what is there."""
_SWITCHES = frozenset({"hires_fix", "tiled_diffusion"})


@dataclass(frozen=True, slots=True)
class Size:
    """What was asked for, and the multiple of 64 in which it is rendered; pixels."""

    width: int
    height: int

    @property
    def rendered(self) -> tuple[int, int]:
        """Width and height of the canvas: the next multiples of 64."""
        return _round_up(self.width), _round_up(self.height)

    @property
    def crop_box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the centre of the canvas that is kept."""
        rendered_width, rendered_height = self.rendered
        left, top = (rendered_width - self.width) // 2, (rendered_height - self.height) // 2
        return left, top, left + self.width, top + self.height


def resolve_size(
    default: tuple[int, int],
    native_side: int,
    image_format: ImageFormat | None = None,
    width: int | None = None,
    height: int | None = None,
) -> Size:
    """The size of a picture; a side that is not given follows from the other one and the shape.

    Parameters
    ----------
    default
        Width and height when nothing else is said.
    native_side
        Side of the square whose area a format keeps.
    """
    base = fit_to_area(*_RATIOS[image_format], native_side) if image_format else default
    if width is None and height is None:
        return Size(*base)
    width = width or round((height or 0) * base[0] / base[1])
    height = height or round(width * base[1] / base[0])
    for name, side in (("width", width), ("height", height)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise InvalidInputError(
                Text(
                    "would be {side} at this shape, allowed are {least} to {most}. Give both {width} and {height}.",
                    side=side,
                    least=MIN_SIDE,
                    most=MAX_SIDE,
                ),
                parameter=name,
                value=side,
            )
    return Size(width, height)


def fit_to_area(width: int, height: int, native_side: int) -> tuple[int, int]:
    """The multiples of 64 that keep a picture's shape at the area of the native square."""
    scale = native_side / (width * height) ** 0.5
    return _round(width * scale), _round(height * scale)


def _round(side: float) -> int:
    return min(max(round(side / UNIT) * UNIT, MIN_SIDE), MAX_SIDE)


def _round_up(side: int) -> int:
    return -(-side // UNIT) * UNIT


def exceeds_native(model: Model, width: int, height: int) -> bool:
    """Whether a size is far above the native one."""
    return width * height > _MOST_REPEATED * model.native_side**2


def build_tiles(model: Model) -> dict[str, Any]:
    """The settings for drawing in tiles of a model's native size (protocol §2.1)."""
    most = list_ranges()["diffusion_tile_width"].le
    side = min(max(model.native_side, MIN_SIDE), int(most))
    return {
        "tiled_diffusion": True,
        "tiled_decoding": True,
        "diffusion_tile_width": side,
        "diffusion_tile_height": side,
    }


def find_large_settings(
    configuration: ImageGenerationConfig, model: Model, mode: str, origins: Mapping[str, str]
) -> dict[str, Any]:
    """What a configuration needs for a size of the call; nothing where that is no problem, or has been seen to.

    Raises
    ------
    InvalidInputError
        An edit cannot be made in tiles: each would show the whole reference.
    """
    c = configuration
    is_seen_to = not _SWITCHES.isdisjoint(origins) or origins.get("width") != "call"
    if is_seen_to or makes_video(model) or model.version == CASCADE or not exceeds_native(model, c.width, c.height):
        return {}
    if mode in {"edit", "inpaint"} and reads_references(model.version, model.modifier):
        text = "{file} is made for {side}x{side}, and {size} is far above that. Edit at about its size, then {upscale}."
        size = f"{c.width}x{c.height}"
        raise InvalidInputError(
            Text(text, file=model.file, side=model.native_side, size=size, upscale=Step("upscale")), parameter="width"
        )
    if mode != "text2image":
        return build_tiles(model)
    most = int(list_ranges()["hires_fix_width"].le)
    width, height = (min(side, most) for side in fit_to_area(c.width, c.height, model.native_side))
    first = {"hires_fix": True, "hires_fix_width": width, "hires_fix_height": height}
    return {**build_tiles(model), **first, "hires_fix_strength": _SECOND_PASS}


def explain_large(model: Model, settings: Mapping[str, Any], size: tuple[int, int]) -> Text:
    """What was decided for the caller."""
    how = "tiles"
    if settings.get("hires_fix"):
        how = "two passes ({hires_fix}), the second in tiles"
    return Text(
        f"{{size}} is far above the {{side}}x{{side}} of {{file}}: drawn in {how}; mostly better: the usual size, then "
        "{upscale}",
        size=f"{size[0]}×{size[1]}",
        side=model.native_side,
        file=model.file,
        upscale=Step("upscale"),
    )
