"""Numbers of the protocol that several rooms share."""

from __future__ import annotations

UNIT = 64
"""Pixels per unit of a canvas or tile size on the wire (protocol §2.1, ``u64px``)."""

MIN_SIDE = 128
"""Shortest side in pixels that the app accepts (protocol §10)."""

MAX_SIDE = 8192
"""Longest side in pixels that the app accepts (protocol §10)."""

MAX_SEED = 2**32 - 1
"""Seeds are unsigned 32-bit numbers on the wire (protocol §2.1, slot 3)."""
