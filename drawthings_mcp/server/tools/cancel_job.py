"""``cancel_job``: ends a render that goes on in the background."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.jobs.board import JobRow
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session, get_session
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.studio.results import describe_saved

_DESCRIPTION = "Ends a render that generate_image handed back as a job. Pictures that it had finished stay saved."


async def cancel_job(
    ctx: Context[Session, None], job: Annotated[str, Field(description="The job's id, e.g. j1.")]
) -> CallToolResult:
    jobs = get_session(ctx).jobs
    found = await jobs.find(job)
    if found.is_done:
        text = f"{found.id} has ended already; get_job tells how."
    elif isinstance(found, JobRow):
        await jobs.request_stop(found.id)
        text = f"{found.id} of another program will be stopped."
    else:
        await found.cancel()
        text = f"{found.id} was cancelled. {MCP.word(describe_saved(found.saved))}"
    return CallToolResult(content=[TextContent(text=text)])


TOOL = StrictTool.from_function(
    cancel_job,
    title="Cancel job",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
)
SIMPLE = TOOL.trim(_DESCRIPTION, job=None)
