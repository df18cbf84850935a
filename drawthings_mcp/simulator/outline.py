"""What kind of run a request becomes: from an image or from noise, how large, in how many passes (protocol §6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.simulator.checks import UNIT, check_hints, check_image, check_mask
from drawthings_mcp.simulator.intake import Intake
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.painting.region import means_no_canvas, means_whole_image
from drawthings_mcp.simulator.schedule import count_steps, find_shift
from drawthings_mcp.simulator.selection import Selection
from drawthings_mcp.simulator.signposts import Course, Sampling

LAYERED = "qwenimage_layered"

_IMAGE_ONLY_VERSIONS = frozenset({"svd_i2v", "seedvr2_3b", "seedvr2_7b"})
_CASCADE = "wurstchen_v3.0_stage_c"
_TWICE_ENCODED = frozenset({"inpainting", "editing", "double"})


@dataclass(frozen=True)
class Outline:
    """The outline of a run.

    Attributes
    ----------
    from_image
        It begins with the image, rather than with noise beside it.
    size
        Width and height of the result before upscaling.
    mask
        Classes ``(H, W)`` where the mask marks something, else None.
    course
        The markers it emits.
    """

    from_image: bool
    size: tuple[int, int]
    mask: NDArray[np.uint8] | None
    course: Course


def outline_run(intake: Intake, selection: Selection, journal: Journal) -> Outline:
    """The outline of a run.

    Raises
    ------
    CrashError
        A tensor does not fit what the run makes of it.
    """
    from_image = _begins_with_image(intake, selection, journal)
    check_image(intake, sets_size=from_image)
    check_mask(intake)
    mask = _find_mask(intake, selection, journal) if from_image else None
    if mask is not None and means_no_canvas(mask, has_alpha_decoder=has_alpha_decoder(selection)):
        journal.degrade("the mask has only class 1: the whole image is made from nothing")
        from_image, mask = False, None
    size = _find_size(intake, journal, from_image=from_image)
    hires = _find_hires(intake, selection, journal, from_image=from_image)
    check_hints(intake, [hires, size] if hires else [size])
    course = _chart_course(intake, selection, from_image=from_image, has_hires=hires is not None)
    return Outline(from_image, size, mask, course)


def has_alpha_decoder(selection: Selection) -> bool:
    """Whether the result has an alpha channel, which also changes what a mask means (protocol §4.2)."""
    return selection.has_transparent_decoder or selection.modifier == LAYERED


def _begins_with_image(intake: Intake, selection: Selection, journal: Journal) -> bool:
    strength = intake.configuration.strength
    if intake.image is None:
        if intake.request.HasField("mask"):
            journal.degrade("a mask without an image is ignored")
        if strength < 1:
            journal.degrade(f"strength {strength:g} without an image has no effect")
        return False
    return strength < 1 or intake.mask is not None or selection.version.name in _IMAGE_ONLY_VERSIONS


def _find_mask(intake: Intake, selection: Selection, journal: Journal) -> NDArray[np.uint8] | None:
    """The mask where it marks something; one that does not is ignored (protocol §4.2)."""
    if intake.mask is None:
        return None
    mask: NDArray[np.uint8] = intake.mask.values
    if means_whole_image(mask, has_alpha_decoder=has_alpha_decoder(selection)):
        journal.degrade("the mask marks nothing: the whole image is repainted")
        return None
    return mask


def _find_size(intake: Intake, journal: Journal, *, from_image: bool) -> tuple[int, int]:
    wanted = (intake.configuration.startWidth * UNIT, intake.configuration.startHeight * UNIT)
    if intake.image is None or not from_image:
        return wanted
    factor = intake.request.scaleFactor
    size = (intake.image.shape[2] // factor, intake.image.shape[1] // factor)
    if size != wanted:
        journal.degrade(f"the image sets the size to {size[0]}x{size[1]}, not {wanted[0]}x{wanted[1]}")
    return size


def _find_hires(intake: Intake, selection: Selection, journal: Journal, *, from_image: bool) -> tuple[int, int] | None:
    """Width and height of the first pass of a hires fix that takes effect (protocol §2.4)."""
    c = intake.configuration
    if not c.hiresFix or selection.version.name == _CASCADE:
        return None
    if from_image or not (0 < c.hiresFixStartWidth < c.startWidth and 0 < c.hiresFixStartHeight < c.startHeight):
        journal.degrade("hires fix has no effect: it needs a smaller first pass and no image to start from")
        return None
    return c.hiresFixStartWidth * UNIT, c.hiresFixStartHeight * UNIT


def _chart_course(intake: Intake, selection: Selection, *, from_image: bool, has_hires: bool) -> Course:
    c = intake.configuration
    shift = find_shift(c, selection.version, is_consistency=selection.is_consistency)

    def sample(strength: float) -> Sampling:
        total = count_steps(strength, steps=c.steps, shift=shift, sampler=c.sampler)
        return Sampling(c.steps - total, c.steps)

    second = sample(c.hiresFixStrength) if has_hires else None
    if selection.version.name == _CASCADE:
        second = Sampling(0, c.stage2Steps)
    return Course(
        first=None if from_image and c.strength <= 0 else sample(c.strength if from_image else 1.0),
        second=second,
        encodes=2 if selection.modifier in _TWICE_ENCODED else 1,
        announces_encode=from_image or bool(selection.controls),
        upscales=selection.upscale > 1,
    )
