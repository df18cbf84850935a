"""Which size is rendered and which is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text
from drawthings_mcp.limits import MAX_SIDE, MIN_SIDE, UNIT
from drawthings_mcp.params import ImageFormat

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
