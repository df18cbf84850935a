"""``generate_image``: a prompt in, pictures out."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from drawthings_mcp.limits import MAX_SEED, MAX_SIDE, MIN_SIDE
from drawthings_mcp.server.content import build_generation_result
from drawthings_mcp.server.progress import ProgressNotifier
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.studio import GenerateArguments, ImageFormat, Studio

_DESCRIPTION = (
    "Makes pictures from a text and shows them to you. Say what should be seen; leave everything else out unless "
    "the user asks for it: model, size and sampling settings are then chosen to fit. Returns one text block (id, "
    "file, size, seed of each variant) and the previews. Rendering takes seconds to minutes and reports progress. "
    "Ask for several variants to compare ideas, keep the seed to change one detail."
)


async def generate_image(
    ctx: Context[Studio, None],
    prompt: Annotated[str, Field(min_length=1, max_length=10_000, description="What to make.")],
    model: Annotated[str, Field(description="A model's file or display name (list_models); auto picks one.")] = "auto",
    negative_prompt: Annotated[str, Field(max_length=10_000, description="What to avoid; many models ignore it.")] = "",
    image_format: Annotated[ImageFormat | None, Field(description="Shape at the model's native size.")] = None,
    width: Annotated[int | None, Field(ge=MIN_SIDE, le=MAX_SIDE, description="Pixels; wins over image_format.")] = None,
    height: Annotated[
        int | None, Field(ge=MIN_SIDE, le=MAX_SIDE, description="Pixels; wins over image_format.")
    ] = None,
    variants: Annotated[int, Field(ge=1, le=4, description="How many pictures, each with a seed of its own.")] = 1,
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED, description="-1 draws one.")] = -1,
    steps: Annotated[int | None, Field(ge=1, le=150, description="Default: by model.")] = None,
    guidance_scale: Annotated[float | None, Field(ge=0, le=50, description="Default: by model.")] = None,
    sampler: Annotated[str, Field(description="The app's name, e.g. Euler A Trailing. Default: by model.")] = "",
    preview: Annotated[
        Literal["auto", "always", "never"] | None, Field(description="Whether you are shown the pictures.")
    ] = None,
) -> CallToolResult:
    studio = ctx.request_context.lifespan_context
    result = await studio.generate(
        GenerateArguments(
            prompt=prompt,
            negative_prompt=negative_prompt,
            model=model,
            image_format=image_format,
            width=width,
            height=height,
            variants=variants,
            seed=seed,
            steps=steps,
            guidance_scale=guidance_scale,
            sampler=sampler or None,
        ),
        report=ProgressNotifier(ctx),
    )
    return await build_generation_result(result, preview or studio.settings.preview)


TOOL = StrictTool.from_function(
    generate_image,
    title="Generate image",
    description=_DESCRIPTION,
    annotations=ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
    ),
)
