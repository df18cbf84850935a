"""Seeds: drawing one, and the seed of each image of a batch."""

from __future__ import annotations

import secrets

from drawthings_mcp.limits import MAX_SEED

_SEED_FOR_ZERO = 0x0BAD_5EED
"""What xorshift starts from when the seed is 0 (protocol §2.4)."""


def draw_seed() -> int:
    """A seed nobody chose, 0 to 4294967295."""
    return secrets.randbelow(MAX_SEED + 1)


def next_seed(seed: int) -> int:
    """The seed of the next image of a batch in ``ScaleAlike`` mode: one round of xorshift32 (protocol §2.4)."""
    x = seed or _SEED_FOR_ZERO
    x ^= x << 13 & MAX_SEED
    x ^= x >> 17
    x ^= x << 5 & MAX_SEED
    return x


def list_batch_seeds(seed: int, count: int) -> list[int]:
    """The seeds that reproduce each image of a batch on its own, in order, the first being ``seed``."""
    seeds = [seed]
    while len(seeds) < count:
        seeds.append(next_seed(seeds[-1]))
    return seeds
