"""``generate_image``: a prompt in, pictures out. Its parameters are the fields of ``GenerateParams``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.jobs.job import Order
from drawthings_mcp.params import FULL, SIMPLE, GenerateParams
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.session import Session, get_session, render
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.studio.results import describe_plan

_DESCRIPTION = (
    "Draw or edit pictures: photo, illustration, art, logo, poster, drawing; also {redraw} a picture given as canvas. "
    "Runs on the user's machine and shows you the result. Leave out what the user did not ask for: mode, model, size "
    "and settings are chosen to fit. Returns id, file, size and seed of each picture, then previews. {ending}Takes "
    "seconds to minutes, reports progress."
)
_FULL = _DESCRIPTION.format(
    redraw="inpaint or redraw",
    ending="Keep the seed to change one detail; settings_from begins with a picture's recipe, sweep compares values, "
    "prompts draws panels. ",
)
_SIMPLE = _DESCRIPTION.format(redraw="redraw", ending="")
_SIMPLE_MODE: Any = Annotated[
    Literal["auto", "text2image", "image2image", "edit"],
    Field(description="auto: picture → edit, none → text2image"),
]
"""Modes that need no parameter which ``SIMPLE`` lacks: no mask."""


def build_tool(tools: Literal["simple", "full"]) -> StrictTool:
    """The tool with the few parameters that a small model needs, or with all of them."""

    async def generate_image(ctx: Context[Session, None], **arguments: Any) -> CallToolResult:
        return await _generate(ctx, GenerateParams(**arguments))

    # The SDK makes schema and checks from the signature.
    signature = _build_signature(SIMPLE, mode=_SIMPLE_MODE) if tools == "simple" else _build_signature(FULL)
    generate_image.__signature__ = signature  # type: ignore[attr-defined]
    tool = StrictTool.from_function(
        generate_image,
        title="Generate image",
        description=_SIMPLE if tools == "simple" else _FULL,
        context_kwarg="ctx",
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
        ),
    )
    return tool.model_copy(update={"withheld": frozenset(FULL).difference(tool.fn_metadata.arg_model.model_fields)})


def _build_signature(names: Sequence[str], **narrower: Any) -> inspect.Signature:
    """Parameters of these names; those in ``narrower`` take fewer values than ``GenerateParams`` does."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("ctx", keyword, annotation=Context)]
    for name in names:
        field = GenerateParams.model_fields[name]
        # What can stand in place of a prompt is among the full parameters only.
        is_required = name == "prompt" and "settings_from" not in names
        default = inspect.Parameter.empty if is_required else field.default
        annotation: Any = field.rebuild_annotation()
        annotation = narrower.get(name, Annotated[annotation, Field(description=field.description)])
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))
    return inspect.Signature(parameters)


async def _generate(ctx: Context[Session, None], params: GenerateParams) -> CallToolResult:
    session = get_session(ctx)
    if params.dry_run:
        plan = await session.studio.plan(params)
        return CallToolResult(content=[TextContent(text=describe_plan(plan, MCP))])

    arguments = params.model_dump(mode="json", exclude_defaults=True)
    return await render(ctx, Order("generate", arguments, params.preview))
