"""What the painter is asked for: the run's request, reduced to what the model would make of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.simulator.controls import Sources, list_control_marks, reads_moodboard, show
from drawthings_mcp.simulator.footer import write_footer
from drawthings_mcp.simulator.intake import Intake
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.outline import LAYERED, Outline, has_alpha_decoder
from drawthings_mcp.simulator.painting.marks import LoRAMark
from drawthings_mcp.simulator.painting.picture import Drawing, Form
from drawthings_mcp.simulator.painting.poster import Scene
from drawthings_mcp.simulator.painting.region import MaskRules, Region, build_region
from drawthings_mcp.simulator.payloads import Tensor
from drawthings_mcp.simulator.seeds import list_batch_seeds
from drawthings_mcp.simulator.selection import Selection
from drawthings_mcp.simulator.versions import reads_references, starts_from_canvas
from drawthings_mcp.tensors.layout import tensor_to_pixels

Pixels = NDArray[np.uint8]

_SINGLE_VERSIONS = frozenset({"seedvr2_3b", "seedvr2_7b"})
"""Beside videos, what makes one picture whatever the batch size."""


def compose(intake: Intake, selection: Selection, outline: Outline, frames: int, journal: Journal) -> Drawing:
    """The drawing of a run that makes pictures; ``frames`` is how many a video has."""
    form = _find_form(selection)
    image = None if intake.image is None else _show_image(intake.image, outline.size)
    is_edit = reads_references(selection.version.name, selection.modifier) or selection.modifier == "editing"
    canvas = image if outline.from_image or is_edit or _needs_canvas(selection) else None
    if image is not None and canvas is None and selection.modifier == "none" and not selection.controls:
        journal.degrade("at strength 1 nothing of the image is left in the result")
    if outline.mask is not None and form is not Form.PICTURES:
        journal.degrade(f"the simulator does not apply masks to {form.value}: ignored")
    return Drawing(
        scenes=tuple(_list_scenes(intake, selection, outline.size, form)),
        form=form,
        count={Form.FRAMES: frames, Form.LAYERS: intake.configuration.batchSize}.get(form, 1),
        canvas=canvas,
        strength=intake.configuration.strength,
        region=None if outline.mask is None else _build_region(outline.mask, intake, selection),
        is_edit=is_edit,
        references=tuple(_list_references(intake, selection, journal)),
        loras=tuple(LoRAMark(spec["file"], spec["name"], weight) for spec, weight in selection.loras),
        controls=tuple(list_control_marks(selection, Sources(image, intake.hints), journal)),
        notices=_list_notices(selection),
        upscale=selection.upscale,
    )


def _find_form(selection: Selection) -> Form:
    if selection.version.video:
        return Form.FRAMES
    if selection.modifier == LAYERED:
        return Form.LAYERS
    return Form.CUTOUT if selection.has_transparent_decoder else Form.PICTURES


def _needs_canvas(selection: Selection) -> bool:
    """Whether the image is used at strength 1 although the run does not begin with it."""
    is_first_frame = selection.version.video and starts_from_canvas(selection.version, selection.modifier)
    return bool(is_first_frame) or selection.modifier == LAYERED


def _show_image(image: Tensor, size: tuple[int, int]) -> Pixels:
    """The image as pixels of the result's size: pooled by the scale factor, stretched where it only stands by."""
    picture = Image.fromarray(tensor_to_pixels(image.values[0]))
    factor = picture.width // size[0]
    is_pooled = factor > 1 and picture.size == (size[0] * factor, size[1] * factor)
    return np.asarray(picture.reduce(factor) if is_pooled else picture.resize(size, Image.Resampling.BILINEAR))


def _build_region(mask: NDArray[np.uint8], intake: Intake, selection: Selection) -> Region:
    c = intake.configuration
    rules = MaskRules(
        strength=c.strength,
        blur=c.maskBlur,
        blur_outset=c.maskBlurOutset,
        preserve_original=c.preserveOriginalAfterInpaint,
        cell=selection.version.cell,
        has_alpha_decoder=has_alpha_decoder(selection),
    )
    return build_region(mask, rules)


def _list_scenes(intake: Intake, selection: Selection, size: tuple[int, int], form: Form) -> Iterator[Scene]:
    c, request = intake.configuration, intake.request
    is_single = form in (Form.FRAMES, Form.LAYERS) or selection.version.name in _SINGLE_VERSIONS
    name = (selection.model or {}).get("name", "")
    for seed, variation in list_batch_seeds(c.seed, 1 if is_single else c.batchSize, c.seedMode):
        yield Scene(
            prompt=request.prompt,
            negative_prompt=request.negativePrompt,
            seed=seed,
            variation=variation,
            width=size[0],
            height=size[1],
            guidance=c.guidanceScale,
            steps=c.steps,
            footer=write_footer(c, name, request.negativePrompt, seed, variation),
        )


def _list_references(intake: Intake, selection: Selection, journal: Journal) -> list[Pixels]:
    """The moodboard, where something reads it."""
    hint = intake.hints.get("shuffle")
    if hint is None:
        return []
    version = selection.version.name
    if not (reads_references(version, selection.modifier) or reads_moodboard(selection)):
        journal.degrade(f"a moodboard means nothing to {version} without a control that reads it")
        return []
    kept = [tensor for tensor, weight in zip(hint.tensors, hint.weights, strict=True) if weight > 0]
    if len(kept) < len(hint.tensors):
        journal.degrade("references of weight 0 are left out")
    return [show(tensor, hint.kind) for tensor in kept]


def _list_notices(selection: Selection) -> tuple[str, ...]:
    if selection.replaced is None or selection.model is None:
        return ()
    return (f"{selection.replaced} is not on this server: {selection.model['name']} was used",)
