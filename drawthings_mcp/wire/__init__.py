"""Messages ↔ values. Pure: no sockets, no async, no files.

The only room beside the simulator that touches generated code.
"""

from drawthings_mcp.wire.catalog import parse_catalog
from drawthings_mcp.wire.configuration import build_configuration, parse_configuration
from drawthings_mcp.wire.request import build_request
from drawthings_mcp.wire.response import ResponseReader

__all__ = ["ResponseReader", "build_configuration", "build_request", "parse_catalog", "parse_configuration"]
