"""The pictures that a call names → their pixels, and which of the library's pictures they are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.generation import draw_seed
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import read_pixels
from drawthings_mcp.library.records import ImageRecord, Parent, ParentRole, parse_id
from drawthings_mcp.limits import MAX_SEED
from drawthings_mcp.params import UPSCALE, GenerateParams, is_given
from drawthings_mcp.planning.compose import Plan
from drawthings_mcp.references.policy import ImportPolicy
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.studio.results import list_sources
from drawthings_mcp.tensors.pixels import ImageLike, Pixels, ensure_pixels

if TYPE_CHECKING:
    from drawthings_mcp.studio.recipes import RecordedRecipe

_PICTURES = ("canvas", "moodboard", "mask", "settings_from")
"""Parameters that take references."""
_ROLES: tuple[ParentRole, ...] = ("canvas", "moodboard", "mask", "control")


@dataclass(slots=True)
class Inputs:
    """What a call starts from.

    Attributes
    ----------
    pictures
        The library's pictures, each once, by id, in the order of the call: canvas, moodboard, mask, maps.
    parents
        The role of each; pictures that were given as pixels have no id and are left out.
    notes
        Sentences about what the caller might not expect.
    """

    pictures: dict[str, ImageRecord] = field(default_factory=dict)
    parents: list[Parent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def follow(self, record: ImageRecord) -> Inputs:
        """Those of a run that goes on with a picture of the same call; it has no id when it could not be recorded."""
        return Inputs(parents=[Parent("canvas", record.id)] if record.id else [])


KnownPictures: TypeAlias = dict[tuple[ParentRole, str], tuple[ImageRecord, ImageLike, tuple[str, ...]]]
"""What references were resolved to for a role before: the record, the picture, and notes."""


async def resolve_inputs(
    params: GenerateParams, catalog: ImageCatalog, policy: ImportPolicy, known: KnownPictures
) -> tuple[GenerateParams, Inputs]:
    """The call with pictures in place of references, and what they are. Errors name the parameter.

    Canvas and mask are read here, since their sizes decide about the call. Of the others, which may be many, come the
    files: the plan reads one after the other and keeps them as small as the request has them.

    Parameters
    ----------
    known
        Gets what is resolved: the calls of a sweep mostly share their pictures.
    """
    inputs = Inputs()
    if is_given(params.settings_from):
        params = await _begin_with(params, inputs, catalog, policy)
    count = len(params.moodboard)

    async def read(role: ParentRole, picture: Any, place: str = "") -> Any:
        if not isinstance(picture, str) or not picture:
            return picture
        try:
            if (role, picture) not in known:
                resolved = await resolve_reference(picture, catalog, policy)
                known[role, picture] = *await anyio.to_thread.run_sync(_read, resolved.record, role), resolved.notes
            record, source, notes = known[role, picture]
        except DrawThingsError as error:
            if place:
                error.problem = Text("{place}{problem}", place=place, problem=error.problem)
            error.about("hints" if role == "control" else role)
            raise
        inputs.pictures[record.id] = record
        inputs.parents.append(Parent(role, record.id))
        inputs.notes += [note for note in notes if note not in inputs.notes]
        return source

    resolved = params.replace(
        canvas=await read("canvas", params.canvas),
        moodboard=tuple(
            [
                await read("moodboard", picture, f"picture {place} of {count}: " if count > 1 else "")
                for place, picture in enumerate(params.moodboard, 1)
            ]
        ),
        mask=await read("mask", params.mask),
        hints=tuple([(kind, await read("control", picture), weight) for kind, picture, weight in params.hints]),
    )
    if recipe := params.settings_from:
        maps = tuple([await read("control", picture) for picture in recipe.maps])
        resolved = resolved.replace(settings_from=replace(recipe, maps=maps))
    return resolved, inputs


async def settle_inputs(
    params: GenerateParams, catalog: ImageCatalog, policy: ImportPolicy
) -> tuple[GenerateParams, tuple[str, ...]]:
    """The call with ids in place of references, and with a seed where one would be drawn; and notes about pictures.

    What comes of it is the same whenever it is rendered. Errors name the parameter.
    """
    notes: dict[str, None] = {}

    async def settle(name: str, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple([await settle(name, one) for one in value])
        if not isinstance(value, str) or not value or parse_id(value):
            return value
        try:
            resolved = await resolve_reference(value, catalog, policy)
        except DrawThingsError as error:
            error.about(name)
            raise
        notes.update(dict.fromkeys(resolved.notes))
        return resolved.record.id

    settled = {name: await settle(name, getattr(params, name)) for name in _PICTURES}
    sweep = {name: await settle(name, values) if name in _PICTURES else values for name, values in params.sweep.items()}
    params = params.replace(**settled, sweep=sweep)
    return await _settle_seed(params, catalog, policy), tuple(notes)


async def _settle_seed(params: GenerateParams, catalog: ImageCatalog, policy: ImportPolicy) -> GenerateParams:
    if "seed" in params.sweep:
        swept = tuple(draw_seed() if seed < 0 else seed for seed in params.sweep["seed"])
        return params.replace(sweep={**params.sweep, "seed": swept})
    known = params.configuration.get("seed") if params.seed is None else params.seed
    if known is None and is_given(params.settings_from):
        known = (await _find_recipe(params, catalog, policy)).recipe.seed
    is_usable = isinstance(known, int) and 0 <= known <= MAX_SEED
    return params if is_usable else params.replace(seed=draw_seed())


async def find_seed(params: GenerateParams, catalog: ImageCatalog, policy: ImportPolicy) -> GenerateParams:
    """The call with the seed of the picture that it begins with, as far as several pictures are to count from it."""
    if params.seed is not None or not is_given(params.settings_from) or not (params.sweep or params.prompts):
        return params
    seed = (await _find_recipe(params, catalog, policy)).recipe.seed
    return params if seed is None or seed > MAX_SEED else params.replace(seed=seed)


async def _find_recipe(params: GenerateParams, catalog: ImageCatalog, policy: ImportPolicy) -> RecordedRecipe:
    from drawthings_mcp.studio.recipes import find_recipe

    try:
        found = await find_recipe(params.settings_from, catalog, policy)
        while found.recipe.mode == UPSCALE and (origin := _find_canvas(found.record)):
            text = Text(
                "{id} is {origin} enlarged, with whose settings the call begins", id=found.record.id, origin=origin
            )
            notes = (*found.notes, text)
            found = await find_recipe(origin, catalog, policy)
            found = replace(found, notes=(*notes, *found.notes))
        return found
    except DrawThingsError as error:
        error.about("settings_from")
        raise


def _find_canvas(record: ImageRecord) -> str:
    return next((parent.id for parent in record.parents if parent.role == "canvas"), "")


async def _begin_with(
    params: GenerateParams, inputs: Inputs, catalog: ImageCatalog, policy: ImportPolicy
) -> GenerateParams:
    """The call with a recipe in place of its reference, and the recipe's pictures in place of those left open."""
    picture = await _find_recipe(params, catalog, policy)
    inputs.notes += picture.notes
    record, recipe = picture.record, picture.recipe
    if recipe.tells_nothing and record.parents:
        sources = tuple(parent.id for parent in record.parents)
        text = Text("{id} was made from {sources} without drawing: name the drawn one.", id=record.id, sources=sources)
        raise InvalidInputError(text, parameter="settings_from", nearest=sources)
    known = {role: [parent.id for parent in record.parents if parent.role == role] for role in _ROLES}
    is_drawn_anew = params.mode == "text2image"
    reused: dict[ParentRole, list[str]] = {
        # A mask goes with the canvas that it was drawn for.
        "canvas": [] if is_drawn_anew or is_given(params.canvas) else known["canvas"],
        "moodboard": [] if is_drawn_anew or params.moodboard else known["moodboard"],
        "mask": [] if is_drawn_anew or is_given(params.mask) or is_given(params.canvas) else known["mask"],
        "control": [] if params.hints else known["control"],
    }
    for role in [role for role, ids in reused.items() if ids]:
        for image_id in reused[role]:
            await _check_parent(image_id, record.id, catalog, policy)
    if sources := list_sources([Parent(role, one) for role in _ROLES for one in reused[role]]):
        inputs.notes.append(Text("used again from {id}: {sources}", id=record.id, sources=Phrase(", ".join(sources))))
    return params.replace(
        settings_from=replace(recipe, is_repeated=bool(reused["canvas"]), maps=tuple(reused["control"])),
        canvas=next(iter(reused["canvas"]), params.canvas),
        moodboard=tuple(reused["moodboard"]) or params.moodboard,
        mask=next(iter(reused["mask"]), params.mask),
    )


def explain_crop(params: GenerateParams, inputs: Inputs, plan: Plan) -> tuple[Text, ...]:
    """What was cut off the library's picture that is the canvas: ``a2 2400×1600 → 1280×832: cropped``."""
    canvas = next((inputs.pictures[parent.id] for parent in inputs.parents if parent.role == "canvas"), None)
    if canvas is None or params.fit != "crop" or plan.region is not None:
        return ()
    width, height, size = canvas.width, canvas.height, plan.size
    scale = max(size.width / width, size.height / height)
    if width * scale - size.width <= 1 and height * scale - size.height <= 1:
        return ()
    is_preset = plan.origins.get("width", "").startswith("preset")
    why = " to the size in the preset; {image_format}, or {width} and {height}, change that"
    return (
        Text(
            "{id} {before} → {after}: cropped{why}",
            id=canvas.id,
            before=f"{width}×{height}",
            after=f"{size.width}×{size.height}",
            why=Text(why if is_preset else ""),
        ),
    )


async def _check_parent(image_id: str, child: str, catalog: ImageCatalog, policy: ImportPolicy) -> None:
    """Refuses a call that would go on without a picture that its recipe counts on."""
    try:
        await resolve_reference(image_id, catalog, policy)
    except DrawThingsError as error:
        text = "{id} was made from {parent}, which cannot be read. {error} Or draw it again with {mode} text2image."
        problem = Text(text, id=child, parent=image_id, error=error)
        raise InvalidInputError(problem, parameter="settings_from") from error


async def read_source(picture: str, catalog: ImageCatalog, policy: ImportPolicy) -> tuple[ImageRecord, Pixels, Inputs]:
    """The one picture that a call works on: its record with its size, its pixels, and what it is to the call."""
    resolved = await resolve_reference(picture, catalog, policy)
    record, source = await anyio.to_thread.run_sync(_read, resolved.record, "canvas")
    inputs = Inputs({record.id: record}, [Parent("canvas", record.id)], list(resolved.notes))
    return record, ensure_pixels(source), inputs


def _read(record: ImageRecord, role: ParentRole) -> tuple[ImageRecord, ImageLike]:
    """The record with the size of its picture, and the picture."""
    if role not in {"canvas", "mask"} and record.width:
        return record, record.source
    pixels = read_pixels(record)
    sized = replace(record, width=pixels.shape[1], height=pixels.shape[0])
    return sized, pixels if role in {"canvas", "mask"} else record.source
