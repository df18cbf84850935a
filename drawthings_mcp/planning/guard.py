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


def check_files(context: Context) -> tuple[str, ...]:
    """What a server would silently do otherwise with a request's files, and how to change that; no picture matters.

    Raises
    ------
    UnansweredError
        The server has to be asked about files first.
    UnknownNameError
        A file that the request names is not on the server; has the nearest three.
    InvalidInputError
        A server would not survive the request (protocol §6.5), or drop something of it that was plainly meant.
    """
    context.inventory.ask(list_files(context.configuration))
    return apply_rules(FILE_RULES, context)


def check_content(context: Context) -> tuple[str, ...]:
    """The same of everything else, pictures included; raises ``InvalidInputError`` as ``check_files``."""
    check_form(context.request)
    check_ranges(context)
    return apply_rules(_CONTENT_RULES, context)


def list_warnings(request: GenerationRequest, inventory: ServerInventory | None = None) -> tuple[str, ...]:
    """All that is warned about, also for a request that is refused."""
    return apply_rules((rule for rule in RULES if not rule.refuses), look_up(request, inventory or ServerInventory()))


def list_files(configuration: ImageGenerationConfig) -> tuple[str, ...]:
    """The files that a server needs for a configuration, as far as they can be told without its catalog."""
    detectors = (DEPTH_ESTIMATOR, EDGE_DETECTOR) if configuration.controls else ()
    return tuple(dict.fromkeys((*configuration.list_files(), *detectors)))
