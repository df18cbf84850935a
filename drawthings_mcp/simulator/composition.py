"""What is to be drawn: the request, reduced to what the model would make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp.simulator.catalog import count_references, reads_references, starts_from_canvas
from drawthings_mcp.simulator.controls import list_control_marks, reads_moodboard, show
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.painting.picture import Drawing, Form
from drawthings_mcp.simulator.painting.poster import Scene
from drawthings_mcp.simulator.painting.region import Region, build_region
from drawthings_mcp.simulator.painting.traces import LoRAMark
from drawthings_mcp.simulator.parsing import ParsedRequest, Tensor
from drawthings_mcp.simulator.selection import LAYERED, Selection
from drawthings_mcp.tensors.layout import tensor_to_pixels

Pixels = NDArray[np.uint8]

_SINGLE_VERSIONS = frozenset({"seedvr2_3b", "seedvr2_7b"})
"""Versions that, like videos, make one picture whatever the batch size."""
_SAMPLERS = (
    "DPM++ 2M Karras", "Euler Ancestral", "DDIM", "PLMS", "DPM++ SDE Karras", "UniPC", "LCM", "Euler A Substep",
    "DPM++ SDE Substep", "TCD", "Euler A Trailing", "DPM++ SDE Trailing", "DPM++ 2M AYS", "Euler A AYS",
    "DPM++ SDE AYS", "DPM++ 2M Trailing", "DDIM Trailing", "UniPC Trailing", "UniPC AYS", "TCD Trailing",
)  # fmt: skip
"""Names of the samplers as the app shows them (protocol §2.2)."""
_TRANSPARENCY = re.compile(r"\btransparen(t|cy)\b|\balpha\b", re.IGNORECASE)
"""What in a prompt asks for clear parts."""
_NEGATIVE_CHARACTERS = 40
_SEED_FOR_ZERO = 0x0BAD_5EED
_SEED_MASK = 0xFFFF_FFFF


@dataclass(frozen=True)
class Outline:
    """How a run begins, from the image or from noise, and what comes out.

    ``size`` is width and height of the result before upscaling; ``mask`` has classes ``(H, W)`` and is None unless it
    marks something; ``frames`` is 1 for pictures.
    """

    from_image: bool
    size: tuple[int, int]
    mask: NDArray[np.uint8] | None
    frames: int


def compose(request: ParsedRequest, selection: Selection, outline: Outline, journal: Journal) -> Drawing:
    """Compose the drawing of a run that makes pictures."""
    form = _find_form(selection, request.message.prompt)
    image = None if request.image is None else _show_image(request.image, outline.size)
    is_edit = not selection.version.video and (
        reads_references(selection.version.name, selection.modifier) or selection.modifier == "editing"
    )
    canvas = image if outline.from_image or is_edit or _needs_canvas(selection) else None
    if image is not None and canvas is None and selection.modifier == "none" and not selection.controls:
        journal.degrade("at strength 1 nothing of the image is left in the result")
    if outline.mask is not None and form not in (Form.PICTURES, Form.OPAQUE):
        journal.degrade(f"the simulator does not apply masks to {form.value}: ignored")
    return Drawing(
        scenes=tuple(_list_scenes(request, selection, outline.size, form)),
        form=form,
        count={Form.FRAMES: outline.frames, Form.LAYERS: request.configuration.batchSize}.get(form, 1),
        canvas=canvas,
        strength=request.configuration.strength,
        region=None if outline.mask is None else _build_region(outline.mask, request, selection),
        is_edit=is_edit,
        references=tuple(_list_references(request, selection, journal)),
        loras=tuple(LoRAMark(spec["file"], spec["name"], weight) for spec, weight in selection.loras),
        controls=tuple(list_control_marks(selection, image, request.hints, journal)),
        notices=_list_notices(selection),
        upscale=selection.upscale,
    )


def _find_form(selection: Selection, prompt: str) -> Form:
    if selection.version.video:
        return Form.FRAMES
    if selection.modifier == LAYERED:
        return Form.LAYERS
    if selection.version.alpha:
        return Form.CUTOUT if _TRANSPARENCY.search(prompt) else Form.OPAQUE
    return Form.CUTOUT if selection.has_transparent_decoder else Form.PICTURES


def _needs_canvas(selection: Selection) -> bool:
    """Whether the image is used at strength 1 although the run does not begin with it."""
    is_first_frame = selection.version.video and starts_from_canvas(selection.version, selection.modifier)
    return bool(is_first_frame) or selection.modifier == LAYERED


def _show_image(image: Tensor, size: tuple[int, int]) -> Pixels:
    """The image as pixels of the result's size: pooled by the scale factor, or stretched to fit."""
    picture = Image.fromarray(tensor_to_pixels(image.values[0]))
    factor = picture.width // size[0]
    is_pooled = factor > 1 and picture.size == (size[0] * factor, size[1] * factor)
    return np.asarray(picture.reduce(factor) if is_pooled else picture.resize(size, Image.Resampling.BILINEAR))


def _build_region(mask: NDArray[np.uint8], request: ParsedRequest, selection: Selection) -> Region:
    c = request.configuration
    return build_region(
        mask,
        strength=c.strength,
        blur=c.maskBlur,
        outset=c.maskBlurOutset,
        cell=1 if c.preserveOriginalAfterInpaint else selection.version.cell,
        has_alpha_decoder=selection.has_alpha_decoder,
    )


def _list_references(request: ParsedRequest, selection: Selection, journal: Journal) -> list[Pixels]:
    """The moodboard, where something reads it."""
    hint = request.hints.get("shuffle")
    if hint is None:
        return []
    version = selection.version.name
    if not (reads_references(version, selection.modifier) or reads_moodboard(selection)):
        journal.degrade(f"a moodboard means nothing to {version} without a control that reads it")
        return []
    kept = [tensor for tensor, weight in zip(hint.tensors, hint.weights, strict=True) if weight > 0]
    if len(kept) < len(hint.tensors):
        journal.degrade("references of weight 0 are left out")
    most = count_references(selection.modifier)
    if 0 < most < len(kept):
        journal.degrade(f"{version} looks at {most} references under {selection.modifier}: the others are left out")
        kept = kept[:most]
    return [show(tensor, hint.kind) for tensor in kept]


def _list_notices(selection: Selection) -> tuple[str, ...]:
    if selection.replaced is None or selection.model is None:
        return ()
    return (f"{selection.replaced} is not on this server: {selection.model['name']} was used",)


def _list_scenes(request: ParsedRequest, selection: Selection, size: tuple[int, int], form: Form) -> Iterator[Scene]:
    c, message = request.configuration, request.message
    is_single = form in (Form.FRAMES, Form.LAYERS) or selection.version.name in _SINGLE_VERSIONS
    name = (selection.model or {}).get("name", "")
    for seed, variation in _list_batch_seeds(c.seed, 1 if is_single else c.batchSize, c.seedMode):
        yield Scene(
            prompt=message.prompt,
            negative_prompt=message.negativePrompt,
            seed=seed,
            variation=variation,
            width=size[0],
            height=size[1],
            guidance=c.guidanceScale,
            steps=c.steps,
            footer=_write_footer(c, name, message.negativePrompt, seed, variation),
        )


def _list_batch_seeds(seed: int, count: int, seed_mode: int) -> list[tuple[int, int]]:
    """Seed and variation of each image of a batch (protocol §2.4).

    With ``ScaleAlike`` every image has its own seed that reproduces it alone; the other modes draw the whole batch
    from one generator, so that only the first image can be reproduced alone.
    """
    if seed_mode != fbs.SeedMode.ScaleAlike:
        return [(seed, variation) for variation in range(count)]
    seeds = [seed]
    while len(seeds) < count:
        seeds.append(_xorshift(seeds[-1]))
    return [(each, 0) for each in seeds]


def _xorshift(seed: int) -> int:
    x = seed or _SEED_FOR_ZERO
    x = (x ^ x << 13) & _SEED_MASK
    x ^= x >> 17
    return (x ^ x << 5) & _SEED_MASK


def _write_footer(
    configuration: fbs.GenerationConfigurationT, model: str, negative_prompt: str, seed: int, variation: int
) -> str:
    """Seed, steps, guidance, sampler, model, and the beginning of the negative prompt."""
    parts = [
        f"seed {seed}" + (f" #{variation + 1}" if variation else ""),
        f"{configuration.steps} steps",
        f"guidance {configuration.guidanceScale:g}",
        _SAMPLERS[configuration.sampler],
        model,
    ]
    if negative_prompt:
        parts.append(f"without {negative_prompt[:_NEGATIVE_CHARACTERS]}")
    return "  ·  ".join(parts)
