"""Sizes far above a model's native one, at which it draws the same things again and again: two passes, and tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drawthings_mcp.catalog import Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.generation.configuration import list_ranges
from drawthings_mcp.limits import MIN_SIDE
from drawthings_mcp.planning.abilities import CASCADE, makes_video, reads_references
from drawthings_mcp.planning.sizes import fit_to_area

ORIGIN = "size far above the model's"
_MOST_REPEATED = 4
"""Times the native area up to which a model still draws one picture."""
_SECOND_PASS = 0.4
"""Strength of a second pass in tiles, each of which is to keep what is there."""
_SWITCHES = frozenset({"hires_fix", "tiled_diffusion"})


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
