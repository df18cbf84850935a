"""Checks that a server survives a request and answers it as it was asked."""

from __future__ import annotations

from drawthings_mcp.catalog import ServerInventory
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.planning.context import Context, look_up
from drawthings_mcp.planning.known import DEPTH_ESTIMATOR, EDGE_DETECTOR
from drawthings_mcp.planning.rules import apply_rules
from drawthings_mcp.planning.rules.controls import CONTROL_RULES
from drawthings_mcp.planning.rules.files import FILE_RULES
from drawthings_mcp.planning.rules.pictures import PICTURE_RULES
from drawthings_mcp.planning.rules.ranges import RANGE_RULES, check_ranges
from drawthings_mcp.planning.rules.sampling import SAMPLING_RULES
from drawthings_mcp.planning.rules.video import VIDEO_RULES
from drawthings_mcp.wire.request import check_form

_CONTENT_RULES = (*PICTURE_RULES, *CONTROL_RULES, *SAMPLING_RULES, *VIDEO_RULES, *RANGE_RULES)
"""Rules that may look at pictures, which have the form that they need."""

RULES = (*FILE_RULES, *_CONTENT_RULES)
"""All rules, the most important first."""


def check_request(request: GenerationRequest, inventory: ServerInventory | None = None) -> tuple[str, ...]:
    """What a server would silently do in another way than the request asks for, and how to change that.

    Parameters
    ----------
    request
        Of one pass; its seed may still have to be drawn.
    inventory
        What the server has. Without it names cannot be checked.

    Raises
    ------
    UnknownNameError
        A file that the request names is not on the server; has the nearest three.
    InvalidInputError
        A server would not survive the request (protocol §6.5), or drop something of it that was plainly meant.
    """
    context = look_up(request, inventory or ServerInventory())
    return (*check_files(context), *check_content(context))


def check_files(context: Context) -> tuple[str, ...]:
    """The part of ``check_request`` that is about files, which no picture changes."""
    context.inventory.ask(list_files(context.configuration))
    return apply_rules(FILE_RULES, context)


def check_content(context: Context) -> tuple[str, ...]:
    """The part of ``check_request`` that is about everything else."""
    check_form(context.request)
    check_ranges(context)
    return apply_rules(_CONTENT_RULES, context)


def list_warnings(request: GenerationRequest, inventory: ServerInventory | None = None) -> tuple[str, ...]:
    """What ``check_request`` would warn about, also for a request that it would refuse."""
    return apply_rules((rule for rule in RULES if not rule.refuses), look_up(request, inventory or ServerInventory()))


def list_files(configuration: ImageGenerationConfig) -> tuple[str, ...]:
    """The files that a server needs for a configuration, as far as they can be told without its catalog."""
    detectors = (DEPTH_ESTIMATOR, EDGE_DETECTOR) if configuration.controls else ()
    return tuple(dict.fromkeys((*configuration.list_files(), *detectors)))
