"""A request made ready to run: checked as a real server would fail on it, reduced to what it would really do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.catalog import Shelf
from drawthings_mcp.simulator.checks import check_configuration, check_modifier
from drawthings_mcp.simulator.composition import compose
from drawthings_mcp.simulator.intake import Intake, read_configuration, take_in
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.outline import outline_run
from drawthings_mcp.simulator.painting.picture import Drawing
from drawthings_mcp.simulator.schedule import is_nan
from drawthings_mcp.simulator.selection import Selection, Selector
from drawthings_mcp.simulator.signposts import Course
from drawthings_mcp.simulator.versions import VersionFacts

_LAST_MEMBERS = {"sampler": fbs.SamplerType.TCDTrailing, "seedMode": fbs.SeedMode.NvidiaGpuCompatible}


@dataclass(frozen=True)
class RunPlan:
    """All that a run does.

    Attributes
    ----------
    course
        The markers it emits.
    drawing
        The pictures, or None for a run that ends without any.
    version
        Facts of the model's version.
    upscale
        Factor of the upscaler, 1 for none.
    seed
        Of the request.
    seconds
        Length of a video, 0 for pictures.
    """

    course: Course
    drawing: Drawing | None
    version: VersionFacts
    upscale: int
    seed: int
    seconds: float


def plan_run(request: pb.ImageGenerationRequest, shelf: Shelf, journal: Journal) -> RunPlan:
    """What a run of this request will do.

    Raises
    ------
    CrashError
        A real server would not survive it.
    """
    configuration = read_configuration(request.configuration)
    check_configuration(configuration)
    _settle_enums(configuration, journal)
    intake = take_in(request, configuration, journal)
    selection = Selector(request.override, shelf, journal).select(configuration)
    check_modifier(selection.version.name, selection.modifier)
    outline = outline_run(intake, selection, journal)
    version = selection.version
    frames = version.count_frames(configuration.numFrames) if version.video else 1
    fails = _explain_failure(intake, selection)
    if fails:
        journal.degrade(f"{fails}: the run ends without a picture")
    return RunPlan(
        course=outline.course,
        drawing=None if fails else compose(intake, selection, outline, frames, journal),
        version=version,
        upscale=selection.upscale,
        seed=configuration.seed,
        seconds=frames / _find_fps(selection) if version.video else 0.0,
    )


def _settle_enums(configuration: fbs.GenerationConfigurationT, journal: Journal) -> None:
    """Numbers that no enum has become the schema's defaults, which are both 0 (protocol §2)."""
    for name, last in _LAST_MEMBERS.items():
        number = getattr(configuration, name)
        if not 0 <= number <= last:
            journal.degrade(f"{name} {number} is unknown: 0 is used")
            setattr(configuration, name, 0)


def _explain_failure(intake: Intake, selection: Selection) -> str | None:
    """Why a run ends well but without a picture, or None."""
    c = intake.configuration
    if selection.model is None:
        return "not even the default model is there"
    if selection.version.video == "svd" and intake.image is None:
        return "svd_i2v needs an image as its first frame"
    if not all(math.isfinite(number) for number in _list_numbers(c)):
        return "some number of the configuration is infinite or NaN"
    if is_nan(c, selection.version):
        return f"{c.steps} steps with sampler {c.sampler} and shift {c.shift:g} give no schedule"
    return None


def _list_numbers(configuration: fbs.GenerationConfigurationT) -> Iterator[float]:
    """Every number of a configuration and of its LoRAs and controls."""
    parts: list[object] = [configuration, *(configuration.loras or ()), *(configuration.controls or ())]
    for part in parts:
        yield from (value for value in vars(part).values() if isinstance(value, float))


def _find_fps(selection: Selection) -> float:
    return float((selection.model or {}).get("frames_per_second") or selection.version.fps)
