"""Requests that crash a real server (protocol §6.5; the reasons are in §2, §3.4, §4.1, §5.2).

Every function raises ``CrashError`` with the exact reason, or returns nothing.
"""

from __future__ import annotations

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp.simulator.catalog import fits_modifier
from drawthings_mcp.simulator.parsing import CrashError, Hint, ParsedRequest

UNIT = 64
"""Pixels per unit of a size on the wire."""
_MOST_UNITS = 128
"""8192 px; far larger canvases, as when pixels are sent in place of units, exhaust the memory."""
_MOST = {"batchSize": 64, "numFrames": 2049, "steps": 10_000, "stage2Steps": 10_000}
"""Far above what the app allows; beyond these, a server runs out of memory."""
_FLOATS = frozenset({"16F", "32F", "64F", "16BF"})
_CHANNELS = {"custom": 3, "shuffle": 3, "depth": 1, "scribble": 3, "pose": 3, "color": 3}


def check_configuration(configuration: fbs.GenerationConfigurationT) -> None:
    """Check sizes, batch and strength."""
    for name, units in (("start_width", configuration.startWidth), ("start_height", configuration.startHeight)):
        if units == 0:
            raise CrashError(f"{name} is 0")
        if units > _MOST_UNITS:
            raise CrashError(
                f"{name} is {units}, which is {units * UNIT} px: the memory runs out (units are {UNIT} px)"
            )
    if configuration.batchSize == 0:
        raise CrashError("batch_size is 0")
    for name, most in _MOST.items():
        if getattr(configuration, name) > most:
            raise CrashError(f"{name} is {getattr(configuration, name)}: the memory runs out")
    if not 0 <= configuration.strength <= 1:  # also true for NaN
        raise CrashError(f"strength is {configuration.strength:g}, outside 0…1")


def check_modifier(version: str, modifier: str) -> None:
    """Check that the version's model has layers for a modifier."""
    if not fits_modifier(version, modifier):
        raise CrashError(f"modifier {modifier!r} does not fit version {version!r}")


def check_image(request: ParsedRequest, *, sets_size: bool) -> None:
    """Check the image alone; ``sets_size`` when the run starts from it."""
    if request.image is None:
        return
    shape = request.image.shape
    if request.image.datatype not in _FLOATS:
        raise CrashError(f"the image has datatype {request.image.datatype}, not 16F or 32F")
    if len(shape) != 4 or shape[3] != 3:
        raise CrashError(f"the image has the dims {list(shape)}, not [1, height, width, 3]")
    factor = request.message.scaleFactor
    if not sets_size:
        return
    if factor < 1:
        raise CrashError(f"scaleFactor is {factor} with an image: division by zero")
    for side in shape[1:3]:
        if side % (UNIT * factor):
            raise CrashError(f"the image is {shape[2]}x{shape[1]}, its sides are no multiples of {UNIT * factor}")


def check_mask(request: ParsedRequest) -> None:
    """Check the mask against its image; without an image the mask is not read."""
    if request.image is None or request.mask is None:
        return
    if request.mask.datatype != "8U":
        raise CrashError(f"the mask has datatype {request.mask.datatype}, not 8U")
    factor = request.message.scaleFactor
    wanted = tuple(side // factor for side in request.image.shape[1:3])
    if request.mask.shape != wanted:
        raise CrashError(f"the mask has the dims {list(request.mask.shape)}, the image needs {list(wanted)}")


def check_hints(request: ParsedRequest, passes: list[tuple[int, int]], *, takes_alpha: bool) -> None:
    """Check channels and datatypes of every hint that is read.

    ``passes`` are width and height of each pass in pixels, which a pose has to match. With ``takes_alpha`` references
    may have four channels.
    """
    for hint in request.hints.values():
        for tensor in hint.tensors:
            channels = _CHANNELS.get(hint.kind)
            allowed = {channels, 4} if takes_alpha and hint.kind == "shuffle" else {channels}
            if channels and (len(tensor.shape) != 4 or tensor.shape[3] not in allowed):
                raise CrashError(f"a {hint.kind} hint has the dims {list(tensor.shape)}, not {channels} channels")
            if hint.kind == "scribble" and tensor.datatype != "16F":
                raise CrashError(f"a scribble hint has datatype {tensor.datatype}, not 16F")
    if "pose" in request.hints:
        _check_pose(request.hints["pose"], passes)


def _check_pose(pose: Hint, passes: list[tuple[int, int]]) -> None:
    """The first tensor is for the first pass, the last one for the last."""
    for tensor, (width, height) in ((pose.tensors[0], passes[0]), (pose.tensors[-1], passes[-1])):
        if tensor.shape[1:3] != (height, width):
            size = f"{tensor.shape[2]}x{tensor.shape[1]}"
            raise CrashError(f"a pose hint is {size}, its pass is {width}x{height}")
