"""The MCP server: tools, content blocks, the two error channels. The only importer of ``mcp``."""

from drawthings_mcp.server.app import build_server
from drawthings_mcp.server.stdio import serve_stdio

__all__ = ["build_server", "serve_stdio"]
