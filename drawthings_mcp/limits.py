"""Numbers and names that several rooms share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Fit: TypeAlias = Literal["crop", "pad", "stretch"]
"""How a picture of another shape is brought to a size."""

Operation: TypeAlias = Literal[
    "crop",
    "resize",
    "mask_rectangle",
    "mask_from_alpha",
    "invert_mask",
    "adjust_mask",
    "side_by_side",
    "contact_sheet",
]
"""What is done with pictures without a server; each makes another one."""

UNIT = 64
"""Pixels per unit of a canvas or tile size on the wire (protocol §2.1, ``u64px``)."""

MAX_GIVEN_UNITS = 32
"""A size up to here cannot be pixels, of which the least is 64, and is taken as so many units."""

MIN_SIDE = 128
"""Shortest side in pixels that the app accepts (protocol §10)."""

MAX_SIDE = 8192
"""Longest side in pixels that the app accepts (protocol §10)."""

MAX_SEED = 2**32 - 1
"""Seeds are unsigned 32-bit numbers on the wire (protocol §2.1, slot 3)."""

MAX_UPSCALE_FACTOR = 4
"""The most that an upscaler enlarges each side (protocol §8.3)."""

MAX_VARIANTS = 4
"""Pictures that one call makes: as many as a result can still show or list."""

MAX_AXES, MAX_SWEPT, MAX_PANELS = 2, 25, 12
"""Arguments of which one call tries several values, the pictures that makes at most, and prompts of one call: what a
labelled sheet still shows."""

MAX_MOODBOARD = 8
"""References besides the canvas: no model that edits was made for more than a few, and each costs time and memory."""

ATTACHMENT_LIMITS: Mapping[str, tuple[int, int]] = {
    "max_inputs": (0, 100),
    "max_outputs": (0, 100),
    "max_sheet": (2, 100),
    "max_characters": (0, 100_000_000),
    "max_edge": (64, 8192),
    "quality": (1, 95),
    "max_tokens": (0, 10_000_000),
    "window_tokens": (0, 100_000_000),
    "timeout": (1, 86_400),
}
"""What a policy of attachments limits, with the least and the most that makes sense; see ``attachments.Policy``."""

SIMULATED_HEADER = "drawthings-simulated"
"""Response header in which the simulator tells clients that look for it what it is, so that a simulated picture can
say so wherever it goes. Messages carry no such mark: they are those of any server."""

SIMULATOR_ORGANISATION = "drawthings-mcp simulator"
"""Organisation in the subject of the simulator's own certificates, which clients never take for a server's identity."""

PRINT_DPI = 300
"""Dots per inch of a print that is held in the hand."""
PAPERS: Mapping[str, float] = {
    paper: millimetres / 25.4
    for paper, millimetres in {
        **{"a0": 1189, "a1": 841, "a2": 594, "a3": 420, "a4": 297, "a5": 210, "a6": 148},
        **{"9x13cm": 130, "10x15cm": 150, "13x18cm": 180, "20x30cm": 300, "30x45cm": 450},
        **{"letter": 279.4, "legal": 355.6, "tabloid": 431.8, "4x6": 152.4, "5x7": 177.8, "8x10": 254, "11x14": 355.6},
    }.items()
}
"""Longest sides in inches: ISO 216, photo prints, and North American sizes."""
