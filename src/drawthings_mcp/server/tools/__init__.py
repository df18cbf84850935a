"""The tools, one file each."""

from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.tools import generate_image, list_models


def list_tools() -> tuple[StrictTool, ...]:
    """All tools, in the order in which a client shows them."""
    return generate_image.TOOL, list_models.TOOL
