"""What a programmer asks for → requests that a server survives and answers as asked. Pure: no connection.

``compose_requests`` reads pictures and puts everything together, ``check_request`` judges a finished request,
``build_override`` adds what the server may not know of its own files.
"""

from drawthings_mcp.planning.check import check_request, list_warnings
from drawthings_mcp.planning.compose import ComposedRequests, Pictures, compose_requests
from drawthings_mcp.planning.hints import HintImages
from drawthings_mcp.planning.installed import list_files
from drawthings_mcp.planning.known import KnownFiles, VersionFacts, load_known
from drawthings_mcp.planning.overrides import build_override
from drawthings_mcp.planning.passes import list_passes

__all__ = [
    "ComposedRequests",
    "HintImages",
    "KnownFiles",
    "Pictures",
    "VersionFacts",
    "build_override",
    "check_request",
    "compose_requests",
    "list_files",
    "list_passes",
    "list_warnings",
    "load_known",
]
