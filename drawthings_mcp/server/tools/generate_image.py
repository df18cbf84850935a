"""``generate_image``: a prompt in, pictures out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import anyio
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import Field

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import MAX_MOODBOARD, MAX_SEED, MAX_SIDE, MAX_VARIANTS, MIN_SIDE
from drawthings_mcp.server.arguments import Name, Names
from drawthings_mcp.server.session import ProgressNotifier, Render, Session, answer_render, get_session, identify
from drawthings_mcp.server.strict_tool import StrictTool
from drawthings_mcp.studio import GenerateArguments, ImageFormat, Mode, Report, describe_dry_run

_DESCRIPTION = (
    "Makes or changes pictures on the user's machine and shows them to you. Give a prompt; to change a picture, give "
    "it as canvas. Leave out what the user did not ask for: mode, model, size and settings are chosen to fit. Returns "
    "one text block (id, file, size, seed of each variant), then previews. Takes seconds to minutes, reports progress. "
    "Keep the seed to change one detail. A draft becomes final with canvas=its id, mode=image2image, larger width and "
    "height, same model, seed and prompt."
)

_MODEL_HELP = "auto, z-image, qwen-image, flux, custom, or a model's name (list_models)"
_PICTURE_HELP = "id (v3, a1), latest, path or URL"

PreviewMode = Literal["auto", "always", "never"]
Prompt = Annotated[str, Field(min_length=1, max_length=10_000, description="What to make, or what to change.")]
ModeName = Annotated[Mode, Field(description="auto: mask → inpaint, picture → edit, none → text2image")]
ModelName = Annotated[Name, Field(description=_MODEL_HELP)]
Shape = Annotated[ImageFormat | None, Field(description="Shape at the model's native size.")]
Side = Annotated[int | None, Field(ge=MIN_SIDE, le=MAX_SIDE, description="Pixels; wins over image_format.")]
Variants = Annotated[int, Field(ge=1, le=MAX_VARIANTS, description="How many pictures, each with a seed of its own.")]
Picture = Annotated[Name, Field(description=_PICTURE_HELP)]
Moodboard = Annotated[Names, Field(max_length=MAX_MOODBOARD, description="Further references, in order.")]


async def generate_simple(
    ctx: Context[Session, None],
    prompt: Prompt,
    mode: ModeName = "auto",
    model: ModelName = "auto",
    image_format: Shape = None,
    width: Side = None,
    height: Side = None,
    variants: Variants = 1,
    canvas: Picture = "",
    moodboard: Moodboard = [],  # noqa: B006 - pydantic copies it
) -> CallToolResult:
    return await _generate(
        ctx,
        GenerateArguments(
            prompt=prompt,
            mode=mode,
            model=model,
            image_format=image_format,
            width=width,
            height=height,
            variants=variants,
            canvas=canvas or None,
            moodboard=tuple(moodboard),
        ),
    )


async def generate_full(
    ctx: Context[Session, None],
    prompt: Prompt,
    mode: ModeName = "auto",
    model: ModelName = "auto",
    canvas: Picture = "",
    moodboard: Moodboard = [],  # noqa: B006 - pydantic copies it
    mask: Annotated[Name, Field(description="White is repainted, black kept.")] = "",
    negative_prompt: Annotated[str, Field(max_length=10_000, description="What to avoid; many models ignore it.")] = "",
    image_format: Shape = None,
    width: Side = None,
    height: Side = None,
    variants: Variants = 1,
    seed: Annotated[int, Field(ge=-1, le=MAX_SEED, description="-1 draws one.")] = -1,
    steps: Annotated[int | None, Field(ge=1, le=150, description="Default: by model.")] = None,
    guidance_scale: Annotated[float | None, Field(ge=0, le=50, description="Default: by model.")] = None,
    strength: Annotated[float | None, Field(ge=0, le=1, description="1 ignores the canvas's pixels.")] = None,
    sampler: Annotated[Name, Field(description="E.g. Euler A Trailing.")] = "",
    loras: Annotated[Names, Field(max_length=16, description="name@weight, added to the preset's.")] = [],  # noqa: B006
    preset: Annotated[Name, Field(description="Name from list_models(kind=presets).")] = "",
    configuration: Annotated[dict[str, Any], Field(description="Keys of the app's configuration JSON.")] = {},  # noqa: B006
    dry_run: Annotated[bool, Field(description="Only tell every setting and its origin.")] = False,
    preview: Annotated[PreviewMode | None, Field(description="Show you the pictures.")] = None,
) -> CallToolResult:
    arguments = GenerateArguments(
        prompt=prompt,
        mode=mode,
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
        strength=strength,
        loras=tuple(map(_parse_lora, loras)),
        preset=preset,
        canvas=canvas or None,
        moodboard=tuple(moodboard),
        mask=mask or None,
        configuration=configuration,
    )
    if dry_run:
        run = await get_session(ctx).studio.resolve(arguments)
        return CallToolResult(content=[TextContent(text=describe_dry_run(run))])
    return await _generate(ctx, arguments, preview)


async def _generate(
    ctx: Context[Session, None], arguments: GenerateArguments, preview: PreviewMode | None = None
) -> CallToolResult:
    session, client = get_session(ctx), identify(ctx)

    async def render(report: Report) -> Render:
        return Render(await session.studio.generate(arguments, report), preview)

    job = session.jobs.start(render)
    try:
        return await answer_render(session.viewer, client, job, ProgressNotifier(ctx), session.studio.settings.max_wait)
    except anyio.get_cancelled_exc_class():
        # Who cancels the call does not want the picture.
        await job.cancel()
        raise


def _parse_lora(text: str) -> tuple[str, float | None]:
    """``name@weight``; the weight may be left out."""
    name, at, weight = text.rpartition("@")
    if not at:
        return text, None
    if not name.strip():
        raise InvalidInputError(f"loras: {text!r} names no LoRA; write it like name@0.8.")
    try:
        return name, float(weight)
    except ValueError as error:
        raise InvalidInputError(f"loras: {weight!r} is not a weight; write it like {name}@0.8.") from error


def _build(function: Any) -> StrictTool:
    return StrictTool.from_function(
        function,
        name="generate_image",
        title="Generate image",
        description=_DESCRIPTION,
        annotations=ToolAnnotations(
            read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
        ),
    )


def build_tool(tools: Literal["simple", "full"]) -> StrictTool:
    """The tool with the few arguments that a small model needs, or with all of them."""
    return _build(generate_simple if tools == "simple" else generate_full)
