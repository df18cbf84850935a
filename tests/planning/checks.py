"""The guard on requests that are made by hand, in one step; a plan has pictures read between its two."""

from __future__ import annotations

from drawthings_mcp.catalog import ServerInventory
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.planning.context import look_up
from drawthings_mcp.planning.guard import check_content, check_files


def check_request(request: GenerationRequest, inventory: ServerInventory | None = None) -> tuple[str, ...]:
    """The warnings about a request."""
    context = look_up(request, inventory or ServerInventory())
    return (*check_files(context), *check_content(context))
