"""The seed of each image of a batch (protocol §2.4)."""

from __future__ import annotations

from drawthings_mcp._generated import generation_configuration as fbs

_SEED_FOR_ZERO = 0x0BAD_5EED
_MASK = 0xFFFF_FFFF
_SCALE_ALIKE = fbs.SeedMode.ScaleAlike


def list_batch_seeds(seed: int, count: int, seed_mode: int) -> list[tuple[int, int]]:
    """Seed and variation per image.

    With ``ScaleAlike`` every image has a seed of its own that reproduces it alone; the other modes draw the whole
    batch from one generator, so that only the first image can be had alone.
    """
    if seed_mode != _SCALE_ALIKE:
        return [(seed, variation) for variation in range(count)]
    seeds = [seed]
    while len(seeds) < count:
        seeds.append(_xorshift(seeds[-1]))
    return [(each, 0) for each in seeds]


def _xorshift(seed: int) -> int:
    x = seed or _SEED_FOR_ZERO
    x = (x ^ x << 13) & _MASK
    x ^= x >> 17
    return (x ^ x << 5) & _MASK
