"""How many steps a run takes from an image, and the shift that decides it (protocol §2.5, §7.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp.simulator.versions import VersionFacts

_FIRST_TRAILING_SAMPLER = 10
"""Samplers from here on are Trailing or AYS; those before space their timesteps evenly from end to end."""
_PLMS = fbs.SamplerType.PLMS
_TOLERANCE = 1e-6


def find_shift(configuration: fbs.GenerationConfigurationT, version: VersionFacts, *, is_consistency: bool) -> float:
    """The shift that is in effect: by resolution where that applies, else as configured; 1 where none can be."""
    if not version.is_flow:
        return 1.0
    if not _shifts_by_resolution(configuration, version, is_consistency=is_consistency):
        shift = float(configuration.shift)
        return shift if _is_usable(shift) else 1.0
    width, height = configuration.startWidth, configuration.startHeight
    if configuration.tiledDiffusion:
        width, height = min(width, configuration.diffusionTileWidth), min(height, configuration.diffusionTileHeight)
    return math.exp((16 * height * width - 256) * 0.65 / 3840 + 0.5)


def count_steps(strength: float, *, steps: int, shift: float, sampler: int) -> int:
    """Steps that remain when sampling begins at ``strength``: 0 at strength 0, all at strength 1."""
    if sampler == _PLMS:
        return int(strength * steps + _TOLERANCE)
    return steps - _find_start(strength, list(_list_times(steps, shift, sampler)))


def is_nan(configuration: fbs.GenerationConfigurationT, version: VersionFacts) -> bool:
    """Whether the schedule divides by zero, so that nothing comes out (protocol §2.2)."""
    if configuration.steps == 0:
        return True
    is_even = configuration.sampler < _FIRST_TRAILING_SAMPLER
    return version.is_flow and ((is_even and configuration.steps == 1) or not _is_usable(configuration.shift))


def _is_usable(shift: float) -> bool:
    return math.isfinite(shift) and shift > 0


def _shifts_by_resolution(
    configuration: fbs.GenerationConfigurationT, version: VersionFacts, *, is_consistency: bool
) -> bool:
    return configuration.resolutionDependentShift and version.auto_shift and not is_consistency


def _list_times(steps: int, shift: float, sampler: int) -> Iterator[float]:
    """Timesteps as shares of the whole, from 1 down to 0, one more than there are steps."""
    for i in range(steps):
        u = (steps - i) / steps if sampler >= _FIRST_TRAILING_SAMPLER else 1 - i / max(1, steps - 1)
        yield shift * u / (1 - u + shift * u)
    yield 0.0


def _find_start(strength: float, times: list[float]) -> int:
    """The first entry that is not above the strength, or the one before unless it is equal; 0 for NaN."""
    first = next((i for i, time in enumerate(times) if time <= strength + _TOLERANCE), 0)
    is_equal = math.isclose(times[first], strength, abs_tol=_TOLERANCE)
    return first if is_equal else max(0, first - 1)
