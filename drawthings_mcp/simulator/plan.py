"""The plan of a run: what a real server would do with a request, unless it crashed.

That includes its progress: schedule, signposts and their totals, and when previews are due (protocol §2.5, §7.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.catalog import Inventory, VersionFacts, fits_modifier
from drawthings_mcp.simulator.composition import Outline, compose
from drawthings_mcp.simulator.painting.picture import Drawing
from drawthings_mcp.simulator.painting.region import means_no_canvas, means_whole_image
from drawthings_mcp.simulator.parsing import (
    UNIT,
    CrashError,
    Journal,
    ParsedRequest,
    check_configuration,
    check_hints,
    check_image,
    check_mask,
    parse_configuration,
    parse_request,
)
from drawthings_mcp.simulator.selection import Selection, Selector

Signpost = pb.ImageGenerationSignpostProto

_FIRST_TRAILING_SAMPLER = 10
"""Samplers from here on are Trailing or AYS; those before space their timesteps evenly from end to end."""
_TOLERANCE = 1e-6
_LAST_MEMBERS = {"sampler": fbs.SamplerType.TCDTrailing, "seedMode": fbs.SeedMode.NvidiaGpuCompatible}
_IMAGE_ONLY_VERSIONS = frozenset({"svd_i2v", "seedvr2_3b", "seedvr2_7b"})
_CASCADE = "wurstchen_v3.0_stage_c"
_TWICE_ENCODED = frozenset({"inpainting", "editing", "double"})


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
    last = {step.signpost.WhichOneof("signpost"): step.signpost for step in list_steps(stages)}
    if not stages.announces_encode:
        del last["imageEncoded"]
    return list(last.values())


def list_steps(stages: Stages) -> Iterator[Step]:
    """Every message of progress, in order."""
    yield Step(Signpost(textEncoded=Signpost.TextEncoded()))
    for _ in range(stages.encodes):
        yield Step(Signpost(imageEncoded=Signpost.ImageEncoded()))
    if stages.first:
        for index, estimate in _list_indices(stages.first):
            yield Step(Signpost(sampling=Signpost.Sampling(step=index)), index < stages.first.total, estimate)
    yield Step(Signpost(imageDecoded=Signpost.ImageDecoded()))
    if stages.second:
        yield Step(Signpost(secondPassImageEncoded=Signpost.SecondPassImageEncoded()))
        yield Step(Signpost(imageEncoded=Signpost.ImageEncoded()))
        for index, estimate in _list_indices(stages.second):
            signpost = Signpost(secondPassSampling=Signpost.SecondPassSampling(step=index))
            yield Step(signpost, index < stages.second.total, estimate)
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


@dataclass(frozen=True)
class RunPlan:
    """All that a run does.

    ``drawing`` is None when the run ends without pictures, ``upscale`` the factor of the upscaler or 1, ``seconds`` the
    length of a video or 0.
    """

    stages: Stages
    drawing: Drawing | None
    version: VersionFacts
    upscale: int
    seed: int
    seconds: float


def plan_run(message: pb.ImageGenerationRequest, inventory: Inventory, journal: Journal) -> RunPlan:
    """Plan what a run of this request will do; raises ``CrashError`` when it would crash a real server."""
    configuration = parse_configuration(message.configuration)
    check_configuration(configuration)
    _settle_enums(configuration, journal)
    request = parse_request(message, configuration, journal)
    selection = Selector(message.override, inventory, journal).select(configuration)
    if not fits_modifier(selection.version.name, selection.modifier):
        raise CrashError(f"modifier {selection.modifier!r} does not fit version {selection.version.name!r}")
    from_image = _begins_with_image(request, selection, journal)
    check_image(request, sets_size=from_image)
    check_mask(request)
    mask = _find_mask(request, selection, journal) if from_image else None
    if mask is not None and means_no_canvas(mask, has_alpha_decoder=selection.has_alpha_decoder):
        journal.degrade("the mask has only class 1: the whole image is made from nothing")
        from_image, mask = False, None
    size = _find_size(request, journal, from_image=from_image)
    hires = _find_hires(request, selection, journal, from_image=from_image)
    check_hints(request, [hires, size] if hires else [size], takes_alpha=selection.version.alpha)
    failure = _explain_failure(request, selection)
    if failure:
        journal.degrade(f"{failure}: the run ends without a picture")
    version = selection.version
    frames = version.count_frames(configuration.numFrames) if version.video else 1
    outline = Outline(from_image, size, mask, frames)
    return RunPlan(
        stages=_plan_stages(request, selection, from_image=from_image, has_hires=hires is not None),
        drawing=None if failure else compose(request, selection, outline, journal),
        version=version,
        upscale=selection.upscale,
        seed=configuration.seed,
        seconds=frames / float((selection.model or {}).get("frames_per_second") or version.fps) if version.video else 0,
    )


def _settle_enums(configuration: fbs.GenerationConfigurationT, journal: Journal) -> None:
    """Replace numbers that are no member of their enum by the schema's defaults, which are both 0 (protocol §2)."""
    for name, last in _LAST_MEMBERS.items():
        number = getattr(configuration, name)
        if not 0 <= number <= last:
            journal.degrade(f"{name} {number} is unknown: 0 is used")
            setattr(configuration, name, 0)


def _begins_with_image(request: ParsedRequest, selection: Selection, journal: Journal) -> bool:
    """Whether the run begins with the image (protocol §6.2), rather than with noise."""
    strength = request.configuration.strength
    if request.image is None:
        if request.message.HasField("mask"):
            journal.degrade("a mask without an image is ignored")
        if strength < 1:
            journal.degrade(f"strength {strength:g} without an image has no effect")
        return False
    return strength < 1 or request.mask is not None or selection.version.name in _IMAGE_ONLY_VERSIONS


def _find_mask(request: ParsedRequest, selection: Selection, journal: Journal) -> NDArray[np.uint8] | None:
    """Classes ``(H, W)`` of the mask where it marks something; one that does not is ignored (protocol §4.2)."""
    if request.mask is None:
        return None
    mask: NDArray[np.uint8] = request.mask.values
    if means_whole_image(mask, has_alpha_decoder=selection.has_alpha_decoder):
        journal.degrade("the mask marks nothing: the whole image is repainted")
        return None
    return mask


def _find_size(request: ParsedRequest, journal: Journal, *, from_image: bool) -> tuple[int, int]:
    """Width and height of the result before upscaling."""
    wanted = (request.configuration.startWidth * UNIT, request.configuration.startHeight * UNIT)
    if request.image is None or not from_image:
        return wanted
    factor = request.message.scaleFactor
    size = (request.image.shape[2] // factor, request.image.shape[1] // factor)
    if size != wanted:
        journal.degrade(f"the image sets the size to {size[0]}x{size[1]}, not {wanted[0]}x{wanted[1]}")
    return size


def _find_hires(
    request: ParsedRequest, selection: Selection, journal: Journal, *, from_image: bool
) -> tuple[int, int] | None:
    """Width and height of the first pass of a hires fix that takes effect (protocol §2.4)."""
    c = request.configuration
    if not c.hiresFix or selection.version.name == _CASCADE:
        return None
    if from_image or not (0 < c.hiresFixStartWidth < c.startWidth and 0 < c.hiresFixStartHeight < c.startHeight):
        journal.degrade("hires fix has no effect: it needs a smaller first pass and no image to start from")
        return None
    return c.hiresFixStartWidth * UNIT, c.hiresFixStartHeight * UNIT


def _plan_stages(request: ParsedRequest, selection: Selection, *, from_image: bool, has_hires: bool) -> Stages:
    c = request.configuration
    shift = find_shift(c, selection.version, is_consistency=selection.is_consistency)

    def sample(strength: float) -> Sampling:
        total = count_steps(strength, steps=c.steps, shift=shift, sampler=c.sampler)
        return Sampling(c.steps - total, c.steps)

    second = sample(c.hiresFixStrength) if has_hires else None
    if selection.version.name == _CASCADE:
        second = Sampling(0, c.stage2Steps)
    return Stages(
        first=None if from_image and c.strength <= 0 else sample(c.strength if from_image else 1.0),
        second=second,
        encodes=2 if selection.modifier in _TWICE_ENCODED else 1,
        announces_encode=from_image or bool(selection.controls),
        upscales=selection.upscale > 1,
    )


def _explain_failure(request: ParsedRequest, selection: Selection) -> str | None:
    """Why a run ends without an error and without a picture, or None."""
    c = request.configuration
    if selection.model is None:
        return "not even the default model is there"
    if selection.version.video == "svd" and request.image is None:
        return "svd_i2v needs an image as its first frame"
    if not all(math.isfinite(number) for number in _list_numbers(c)):
        return "some number of the configuration is infinite or NaN"
    if is_nan(c, selection.version):
        return f"{c.steps} steps with sampler {c.sampler} and shift {c.shift:g} give no schedule"
    return None


def _list_numbers(configuration: fbs.GenerationConfigurationT) -> Iterator[float]:
    """Every number of a configuration, including those of its LoRAs and controls."""
    parts: list[object] = [configuration, *(configuration.loras or ()), *(configuration.controls or ())]
    for part in parts:
        yield from (value for value in vars(part).values() if isinstance(value, float))
