"""A render as a tool answers it: what it made, or how far it is and how to ask again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import anyio
from mcp.types import CallToolResult, TextContent

from drawthings_mcp.attachments import PreviewMode
from drawthings_mcp.server.content import describe_generation
from drawthings_mcp.server.session import Session
from drawthings_mcp.server.viewer import Client
from drawthings_mcp.studio import GenerationResult, Job, Report


@dataclass(frozen=True, slots=True)
class Render:
    """What a job made, as it is to be shown."""

    result: GenerationResult
    preview: PreviewMode | None


async def answer_render(
    session: Session, client: Client, job: Job[Render], report: Report, patience: float
) -> CallToolResult:
    """Waits for a render and shows it; tells how to ask again when it takes longer.

    Parameters
    ----------
    report
        Told of every step meanwhile.
    patience
        Seconds to wait at most.
    """
    started = anyio.current_time()
    job.listener = report
    try:
        is_done = await job.wait(patience)
    finally:
        job.listener = None
    if not is_done:
        return CallToolResult(content=[TextContent(text=describe_job(job))])
    render = job.get_result()
    return await session.viewer.show(
        client,
        partial(describe_generation, render.result),
        inputs=render.result.inputs,
        outputs=render.result.pictures,
        preview=render.preview,
        started=started,
    )


def describe_job(job: Job[Render]) -> str:
    """How far a render is, and the calls that go on with it."""
    return (
        f"{job.id} goes on: {job.message}, {job.fraction:.0%} after {job.seconds:.0f} s. Nothing is shown yet. "
        f'get_job(job="{job.id}") waits for the pictures, cancel_job(job="{job.id}") ends it.'
    )
