"""``generate_image``: a prompt in, pictures out. Its parameters are the fields of ``GenerateParams``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import anyio
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.params import FULL, SIMPLE, GenerateParams
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import ProgressNotifier, Render, Session, answer_render, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.studio.jobs import Job
from drawthings_mcp.studio.results import describe_plan

_DESCRIPTION = (
    "Makes or changes pictures on the user's machine and shows them to you. Give a prompt; to change a picture, give "
    "it as canvas. Leave out what the user did not ask for: mode, model, size and settings are chosen to fit. Returns "
    "one text block (id, file, size, seed of each variant), then previews. Takes seconds to minutes, reports progress. "
    "Keep the seed to change one detail. A draft becomes final with canvas=its id, mode=image2image, larger width and "
    "height, same model, seed and prompt."
)


def build_tool(tools: Literal["simple", "full"]) -> StrictTool:
    """The tool with the few parameters that a small model needs, or with all of them."""

    async def generate_image(ctx: Context[Session, None], **arguments: Any) -> CallToolResult:
        return await _generate(ctx, GenerateParams(**arguments))

    # The SDK makes schema and checks from the signature.
    generate_image.__signature__ = _build_signature(SIMPLE if tools == "simple" else FULL)  # type: ignore[attr-defined]
    return StrictTool.from_function(
        generate_image,
        title="Generate image",
        description=_DESCRIPTION,
        context_kwarg="ctx",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
        ),
    )


def _build_signature(names: Sequence[str]) -> inspect.Signature:
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("ctx", keyword, annotation=Context)]
    for name in names:
        field = GenerateParams.model_fields[name]
        default = inspect.Parameter.empty if field.is_required() else field.default
        annotation: Any = field.rebuild_annotation()
        annotation = Annotated[annotation, Field(description=field.description)]
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))
    return inspect.Signature(parameters)


async def _generate(ctx: Context[Session, None], params: GenerateParams) -> CallToolResult:
    session, client = get_session(ctx), identify(ctx)
    if params.dry_run:
        plan = await session.studio.plan(params)
        return CallToolResult(content=[TextContent(text=describe_plan(plan, MCP))])

    async def render(job: Job[Render]) -> Render:
        prepare = session.viewer.choose_preparation(client, params.preview)
        made = await session.studio.generate(params, job.report, prepare=prepare, saved=job.saved)
        return Render(made, params.preview)

    started = anyio.current_time()
    job = session.jobs.start(render)
    try:
        return await answer_render(session.viewer, client, job, ProgressNotifier(ctx), session.studio.settings.max_wait)
    except anyio.get_cancelled_exc_class():
        # Who cancels the call does not want the picture; whose time is up asks for it later.
        if not session.has_timed_out(ctx, client, anyio.current_time() - started):
            await job.cancel()
        raise
