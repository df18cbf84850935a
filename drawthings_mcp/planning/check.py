"""Is a request one that a server survives and answers as it was asked? Pure; knows no connection."""

from __future__ import annotations

from collections.abc import Mapping

from drawthings_mcp.catalog import Catalog
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.planning.context import examine
from drawthings_mcp.planning.rules import CONTENT_RULES, FILE_RULES, RULES, apply_rules
from drawthings_mcp.wire.request import check_form


def check_request(
    request: GenerationRequest, catalog: Catalog | None = None, files: Mapping[str, bool] | None = None
) -> tuple[str, ...]:
    """What a server would silently do otherwise than the request asks for.

    Parameters
    ----------
    request
        Of one pass; its seed may still have to be drawn.
    catalog
        What the server lists; None when it does not let its models be browsed.
    files
        Whether the server has single files, as ``files_exist`` says for ``list_files``. Without it and without a
        catalog, names cannot be checked.

    Returns
    -------
    tuple[str, ...]
        Plain sentences: what will happen, and how to change it. Often none.

    Raises
    ------
    UnknownNameError
        A file that the request names is not on the server; carries the nearest three.
    InvalidInputError
        A server would not survive the request (protocol §6.5), or drop something of it that was plainly meant.
    """
    case = examine(request, catalog, files)
    warnings = apply_rules(FILE_RULES, case)
    check_form(request)
    return (*warnings, *apply_rules(CONTENT_RULES, case))


def list_warnings(
    request: GenerationRequest, catalog: Catalog | None = None, files: Mapping[str, bool] | None = None
) -> tuple[str, ...]:
    """What ``check_request`` would warn about, also for a request that it would refuse.

    To compare two configurations: of which the warnings are new, which come with a preset.
    """
    return apply_rules((rule for rule in RULES if not rule.refuses), examine(request, catalog, files))
