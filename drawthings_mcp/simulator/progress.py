"""Progress of a run: its schedule, its signposts and their totals, and when previews are due (protocol §2.5, §7.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.catalog import VersionFacts

Signpost = pb.ImageGenerationSignpostProto

_FIRST_TRAILING_SAMPLER = 10
"""Samplers from here on are Trailing or AYS; those before space their timesteps evenly from end to end."""
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Sampling:
    """One pass of sampling: ``start`` is the index in the schedule at which it begins, ``steps`` the schedule's end."""

    start: int
    steps: int

    @property
    def total(self) -> int:
        """How many steps are taken."""
        return self.steps - self.start


@dataclass(frozen=True)
class Stages:
    """What a run goes through: its passes, of which ``first`` is None when nothing is sampled, and what surrounds them.

    ``encodes`` says how often an image is encoded; text-only runs do so without announcing it.
    """

    first: Sampling | None
    second: Sampling | None = None
    encodes: int = 1
    announces_encode: bool = False
    upscales: bool = False


@dataclass(frozen=True)
class Step:
    """One message of progress: where the run is, and whether work on a sampling step follows.

    ``estimate`` says how far the picture has come, above 0 to 1; it is None when no preview is due.
    """

    signpost: Signpost
    is_sampling: bool = False
    estimate: float | None = None


def list_announced(stages: Stages) -> list[Signpost]:
    """Signposts that every message of progress carries; those of sampling carry their total."""
    announced = [Signpost(textEncoded=Signpost.TextEncoded())]
    if stages.announces_encode:
        announced.append(Signpost(imageEncoded=Signpost.ImageEncoded()))
    if stages.first:
        announced.append(_at_sampling(stages.first.total))
    announced.append(Signpost(imageDecoded=Signpost.ImageDecoded()))
    if stages.second:
        announced.append(Signpost(secondPassImageEncoded=Signpost.SecondPassImageEncoded()))
        announced.append(_at_second_sampling(stages.second.total))
        announced.append(Signpost(secondPassImageDecoded=Signpost.SecondPassImageDecoded()))
    if stages.upscales:
        announced.append(Signpost(imageUpscaled=Signpost.ImageUpscaled()))
    return announced


def list_steps(stages: Stages) -> Iterator[Step]:
    """Every message of progress, in order."""
    yield Step(Signpost(textEncoded=Signpost.TextEncoded()))
    for _ in range(stages.encodes):
        yield Step(Signpost(imageEncoded=Signpost.ImageEncoded()))
    if stages.first:
        for index, estimate in _list_indices(stages.first):
            yield Step(_at_sampling(index), index < stages.first.total, estimate)
    yield Step(Signpost(imageDecoded=Signpost.ImageDecoded()))
    if stages.second:
        yield Step(Signpost(secondPassImageEncoded=Signpost.SecondPassImageEncoded()))
        yield Step(Signpost(imageEncoded=Signpost.ImageEncoded()))
        for index, estimate in _list_indices(stages.second):
            yield Step(_at_second_sampling(index), index < stages.second.total, estimate)
        yield Step(Signpost(secondPassImageDecoded=Signpost.SecondPassImageDecoded()))
    if stages.upscales:
        yield Step(Signpost(imageUpscaled=Signpost.ImageUpscaled()))


def _list_indices(sampling: Sampling) -> Iterator[tuple[int, float | None]]:
    """Indices 0 to the total; where a preview is due, how far the picture is. Never at the first or the last."""
    for index in range(sampling.total + 1):
        place = sampling.start + index
        is_due = place % 2 == 1 or place > max(sampling.start, sampling.steps / 2)
        shows = 0 < index < sampling.total and is_due
        yield index, place / sampling.steps if shows else None


def _at_sampling(step: int) -> Signpost:
    return Signpost(sampling=Signpost.Sampling(step=step))


def _at_second_sampling(step: int) -> Signpost:
    return Signpost(secondPassSampling=Signpost.SecondPassSampling(step=step))


def find_shift(configuration: fbs.GenerationConfigurationT, version: VersionFacts, *, is_consistency: bool) -> float:
    """Return the shift in effect: by resolution where that applies, else as configured; 1 where none can be."""
    if not version.is_flow:
        return 1.0
    if not (configuration.resolutionDependentShift and version.auto_shift and not is_consistency):
        shift = float(configuration.shift)
        return shift if _is_usable(shift) else 1.0
    width, height = configuration.startWidth, configuration.startHeight
    if configuration.tiledDiffusion:
        width, height = min(width, configuration.diffusionTileWidth), min(height, configuration.diffusionTileHeight)
    return math.exp((16 * height * width - 256) * version.shift_rise / version.shift_span + 0.5)


def count_steps(strength: float, *, steps: int, shift: float, sampler: int) -> int:
    """Count the steps that remain when sampling begins at ``strength``: 0 at strength 0, all at strength 1."""
    if sampler == fbs.SamplerType.PLMS:
        return int(strength * steps + _TOLERANCE)
    return steps - _find_start(strength, list(_list_times(steps, shift, sampler)))


def is_nan(configuration: fbs.GenerationConfigurationT, version: VersionFacts) -> bool:
    """Whether the schedule divides by zero, so that no picture comes out (protocol §2.2)."""
    if configuration.steps == 0:
        return True
    is_even = configuration.sampler < _FIRST_TRAILING_SAMPLER
    return version.is_flow and ((is_even and configuration.steps == 1) or not _is_usable(configuration.shift))


def _is_usable(shift: float) -> bool:
    return math.isfinite(shift) and shift > 0


def _list_times(steps: int, shift: float, sampler: int) -> Iterator[float]:
    """Timesteps as fractions of the whole, from 1 down to 0, one more than there are steps."""
    for i in range(steps):
        u = (steps - i) / steps if sampler >= _FIRST_TRAILING_SAMPLER else 1 - i / max(1, steps - 1)
        yield shift * u / (1 - u + shift * u)
    yield 0.0


def _find_start(strength: float, times: list[float]) -> int:
    """The first entry that is not above the strength, or the one before unless it is equal; 0 for NaN."""
    first = next((i for i, time in enumerate(times) if time <= strength + _TOLERANCE), 0)
    is_equal = math.isclose(times[first], strength, abs_tol=_TOLERANCE)
    return first if is_equal else max(0, first - 1)
