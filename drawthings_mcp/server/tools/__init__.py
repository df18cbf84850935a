"""The tools, one file each."""

from typing import Literal

from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.server.tools import (
    cancel_job,
    generate_image,
    get_job,
    list_models,
    review_image,
    search_images,
    tag_image,
    transform_image,
)


def list_tools(tools: Literal["simple", "full"]) -> tuple[StrictTool, ...]:
    """All tools, in the order in which a client shows them.

    Parameters
    ----------
    tools
        ``simple`` leaves out the arguments that a small model is better off without.
    """
    return (
        generate_image.build_tool(tools),
        list_models.TOOL,
        search_images.TOOL,
        review_image.TOOL,
        transform_image.TOOL,
        tag_image.TOOL,
        get_job.TOOL,
        cancel_job.TOOL,
    )
