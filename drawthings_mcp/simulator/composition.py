"""What is to be drawn: the request, reduced to what the model and its controls would make of it (protocol §5.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp.simulator.catalog import Specification, count_references, reads_references, starts_from_canvas
from drawthings_mcp.simulator.painting.oklab import Pixels
from drawthings_mcp.simulator.painting.picture import Drawing, Form
from drawthings_mcp.simulator.painting.poster import Scene
from drawthings_mcp.simulator.painting.region import Region, build_region
from drawthings_mcp.simulator.painting.traces import ControlMark, LoRAMark
from drawthings_mcp.simulator.parsing import Hint, Journal, ParsedRequest, Tensor
from drawthings_mcp.simulator.selection import LAYERED, Selection
from drawthings_mcp.tensors.layout import tensor_to_pixels

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
_KEPT = re.compile(
    r"\b(?:keep|keeping|preserve|leave|behalte|behalten|lass|garde|garder|gardez|conserva|mantén|сохрани)\s+([^.;]*)",
    re.IGNORECASE,
)
"""What in the prompt of an edit says what stays as it is."""
_NEGATIVE_CHARACTERS = 40
_SEED_FOR_ZERO = 0x0BAD_5EED
_SEED_MASK = 0xFFFF_FFFF
_IMAGE = "image"
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "depth": ("depth", _IMAGE),
    "scribble": ("scribble", _IMAGE),
    "softedge": (_IMAGE, "custom"),
    "canny": (_IMAGE, "custom"),
    "mlsd": (_IMAGE, "custom"),
    "pose": ("pose", "custom"),
    "normalbae": ("custom",),
    "seg": ("custom",),
    "lineart": ("custom",),
    "custom": ("custom",),
    "tile": ("custom", _IMAGE),
    "blur": ("custom", _IMAGE),
    "gray": ("custom", _IMAGE),
    "lowquality": ("custom", _IMAGE),
    "inpaint": (_IMAGE,),
    "ip2p": (_IMAGE,),
    "shuffle": ("shuffle", "custom"),
    "color": ("color", _IMAGE),
}
"""Sources of a control by its modifier, in order."""
_DETECTED = frozenset({"canny", "mlsd", "softedge", "scribble"})
"""Controls that reduce an image to lines before they use it."""
_ZERO_TO_ONE = frozenset({"scribble", "pose"})
_MODEL_CONTROLS = frozenset({"depth", "canny"})
"""Modifiers of models that read a map without any control."""
_INPUT_NAMES: Mapping[int, str] = {
    number: name.lower() for name, number in vars(fbs.ControlInputType).items() if isinstance(number, int)
}


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
        scenes=tuple(_list_scenes(request, selection, outline.size, form, is_edit=is_edit)),
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


def _list_scenes(
    request: ParsedRequest, selection: Selection, size: tuple[int, int], form: Form, *, is_edit: bool
) -> Iterator[Scene]:
    c, message = request.configuration, request.message
    # What an edit keeps is in its canvas, and not painted once more.
    kept = _KEPT.findall(message.prompt) if is_edit and request.image is not None else []
    is_single = form in (Form.FRAMES, Form.LAYERS) or selection.version.name in _SINGLE_VERSIONS
    name = (selection.model or {}).get("name", "")
    for seed, variation in _list_batch_seeds(c.seed, 1 if is_single else c.batchSize, c.seedMode):
        yield Scene(
            prompt=message.prompt,
            negative_prompt=" ".join([message.negativePrompt, *kept]),
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


def list_control_marks(
    selection: Selection, image: Pixels | None, hints: Mapping[str, Hint], journal: Journal
) -> Iterator[ControlMark]:
    """The controls that have an input, except those that read a moodboard: it shows as tiles.

    The input is the image of the request, ``(H, W, 3)``, or one of its hints.
    """
    for spec, control in selection.controls:
        kind = _kind_of(spec, control)
        if kind == "shuffle" and "shuffle" in hints:
            continue
        hint = _find_input(kind, image, hints, is_adapter=spec["type"] == "t2iadapter")
        if hint is None:
            wanted = " or ".join(_SOURCES.get(kind, ()))
            journal.degrade(f"control {spec['file']!r} ({kind}) has no input, it wants {wanted}: skipped")
        else:
            yield ControlMark(kind, float(control.weight), hint)
    if selection.modifier in _MODEL_CONTROLS:
        hint = _find_input(selection.modifier, image, hints, is_adapter=False)
        if hint is None:
            journal.degrade(f"the model wants a {selection.modifier} map or an image, there is neither")
        else:
            yield ControlMark(selection.modifier, 1.0, hint)


def reads_moodboard(selection: Selection) -> bool:
    """Whether some control takes the tensors of the ``shuffle`` hint."""
    return any(_kind_of(spec, control) == "shuffle" for spec, control in selection.controls)


def show(tensor: Tensor, kind: str) -> Pixels:
    """A hint's tensor as pixels ``(h, w, 3)``; grey shows through where a reference is clear."""
    values = tensor.values[0].astype(np.float32)
    if kind == "shuffle" and values.shape[2] == 4:
        share = values[..., :1].clip(0, 1)
        values = values[..., 1:] * share
    if kind in _ZERO_TO_ONE:
        values = values * 2 - 1
    return np.broadcast_to(tensor_to_pixels(values), (*values.shape[:2], 3)).copy()


def _kind_of(spec: Specification, control: fbs.ControlT) -> str:
    """The metadata's modifier; only without one the configuration's override."""
    modifier = spec.get("modifier", "none")
    if modifier != "none":
        return str(modifier)
    name = _INPUT_NAMES.get(control.inputOverride, "unspecified")
    return "custom" if name == "unspecified" else name


def _find_input(kind: str, image: Pixels | None, hints: Mapping[str, Hint], *, is_adapter: bool) -> Pixels | None:
    if kind == "color" and not is_adapter:
        return None
    for source in _SOURCES.get(kind, ()):
        if source == _IMAGE and image is not None:
            return _detect_lines(image) if kind in _DETECTED else image
        if source in hints:
            return show(hints[source].tensors[0], source)
    return None


def _detect_lines(image: Pixels) -> Pixels:
    edges = Image.fromarray(image).convert("L").filter(ImageFilter.GaussianBlur(1)).filter(ImageFilter.FIND_EDGES)
    return np.asarray(edges.point(lambda level: min(255, level * 4)).convert("RGB"))
