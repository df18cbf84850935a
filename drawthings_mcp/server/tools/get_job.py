"""``get_job``: a render that outlasted the call that began it."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from drawthings_mcp.jobs.board import JobRow
from drawthings_mcp.server.session import Session, answer_render, answer_row, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool

_DESCRIPTION = (
    "Waits for a long render that generate_image handed back as a job, and returns what it would have: the "
    "pictures, or how far they are. Call it again until they come; never begin the same render twice."
)


async def get_job(
    ctx: Context[Session, None],
    job: Annotated[str, Field(description="The job's id, e.g. j1; left out: your newest.")] = "",
    wait: Annotated[int, Field(ge=0, le=45, description="Seconds to wait at most.")] = 45,
) -> CallToolResult:
    session = get_session(ctx)
    found = await session.jobs.find(job, session, identify(ctx).label)
    return await (answer_row(ctx, found) if isinstance(found, JobRow) else answer_render(ctx, found, wait))


TOOL = StrictTool.from_function(
    get_job,
    title="Get job",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
)
SIMPLE = TOOL.trim(_DESCRIPTION, job=None)
