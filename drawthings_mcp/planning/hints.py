"""Ready maps for controls → hints of the polarity, range and size that a server reads (protocol §5.1 to §5.3).

That some control looks at a map is checked here by the kind that the caller names; what a control prefers to look at is
a rule's concern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidImageError, InvalidInputError, UnknownNameError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import ControlInputType, Hint, HintTensor, HintType
from drawthings_mcp.limits import Fit
from drawthings_mcp.planning.abilities import MODEL_HINTS
from drawthings_mcp.planning.context import Context
from drawthings_mcp.tensors.fitting import fit_pixels
from drawthings_mcp.tensors.layout import ALPHA, pixels_to_tensor
from drawthings_mcp.tensors.pixels import ImageLike, Pixels, ensure_pixels
from drawthings_mcp.validation import find_nearest

_Given: TypeAlias = ImageLike | Sequence[ImageLike]
HintImages: TypeAlias = Mapping[Any, _Given]
"""Maps by kind, by its name or as a member of ``ControlInputType``."""
Tensor: TypeAlias = NDArray[np.floating[Any]]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601
_MIDDLE = 128
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Form:
    """How a kind of map travels.

    Attributes
    ----------
    build
        Pixels ``(H, W, 3)`` → tensor.
    background
        Level of what is not drawn, which fills clear parts and what padding adds.
    hint
        Under which type. A server reads all but a few as ``custom``: under their own names nothing looks at them.
    """

    build: Callable[[Pixels], Tensor] = pixels_to_tensor
    background: int = 128
    hint: HintType = HintType.Custom


def _measure_light(pixels: Pixels) -> NDArray[np.float32]:
    """Luminance, 0 to 255, ``(H, W)``."""
    return pixels.astype(np.float32) @ _LUMA


def _build_depth(pixels: Pixels) -> Tensor:
    """One channel from -1, farthest, to 1, nearest: each map takes up the whole range."""
    light = _measure_light(pixels)
    far, near = float(light.min()), float(light.max())
    if near - far < 1:
        raise InvalidImageError(
            "the depth map has one level all over. Near must be white, far black.", parameter="hints"
        )
    return ((light - far) * (2 / (near - far)) - 1).astype(np.float16)[..., np.newaxis]


def _build_lines(pixels: Pixels) -> Tensor:
    """1 for lines, 0 for what is between them, in all channels."""
    light = (_measure_light(pixels) / 255).astype(np.float16)
    return np.repeat(light[..., np.newaxis], 3, axis=2)


_FORMS: Mapping[ControlInputType, _Form] = {
    ControlInputType.Custom: _Form(),
    ControlInputType.Canny: _Form(background=0),
    ControlInputType.Mlsd: _Form(background=0),
    ControlInputType.Softedge: _Form(background=0),
    ControlInputType.Lineart: _Form(background=255),
    ControlInputType.Seg: _Form(background=0),
    ControlInputType.Normalbae: _Form(),
    ControlInputType.Tile: _Form(),
    ControlInputType.Blur: _Form(),
    ControlInputType.Gray: _Form(),
    ControlInputType.Lowquality: _Form(),
    ControlInputType.Depth: _Form(_build_depth, 0, HintType.Depth),
    ControlInputType.Pose: _Form(lambda pixels: pixels_to_tensor(pixels, ALPHA), 0, HintType.Pose),
    ControlInputType.Scribble: _Form(_build_lines, 0, HintType.Scribble),
    ControlInputType.Color: _Form(hint=HintType.Color),
}
"""The kinds of maps."""

_IMAGE_KINDS = frozenset({ControlInputType.Inpaint, ControlInputType.Ip2p})
"""Kinds of controls that look at the canvas only."""
_DRAWN_WHITE = frozenset(
    {ControlInputType.Canny, ControlInputType.Mlsd, ControlInputType.Softedge, ControlInputType.Scribble}
)
"""Lines in white on black. Lineart is the other way round: dark lines on white, which the server inverts."""


def list_references(hints: HintImages | None) -> list[ImageLike]:
    """The pictures that are given as ``shuffle``, which is another name of the moodboard."""
    return _by_kind(hints or {}).get(ControlInputType.Shuffle, [])


def read_hints(hints: HintImages | None, context: Context, fit: Fit) -> tuple[tuple[Hint, ...], tuple[str, ...]]:
    """The hints of ready maps, and warnings about them.

    Parameters
    ----------
    hints
        One map per kind, under its name or ``ControlInputType``. All are fitted to the canvas. Edges (canny, mlsd,
        softedge) and scribbles are white lines on black, lineart is dark lines on white; depth is white where it is
        near, and stretched to its full range; a pose is a coloured skeleton on black.
    context
        The request so far, with its canvas and mask.
    fit
        As for the canvas, so that maps of it stay in place.

    Raises
    ------
    InvalidInputError
        A kind is not known, has several maps or nothing that would look at it, two maps would travel as one, or one
        is no picture or has one level only.
    """
    given = _by_kind(hints or {})
    given.pop(ControlInputType.Shuffle, None)
    maps = {kind: images[0] for kind, images in given.items()}
    for kind in maps:
        _check_kind(kind, given[kind], context)
    _check_custom(maps)
    built, warnings = [], []
    for kind, image in maps.items():
        try:
            pixels = ensure_pixels(image)
        except InvalidImageError as error:
            error.about("hints")
            raise
        built.append(_build_hint(_FORMS[kind], pixels, context, fit))
        warnings.extend(_judge_polarity(kind, pixels))
    return tuple(built), tuple(warnings)


def _by_kind(hints: HintImages) -> dict[ControlInputType, list[ImageLike]]:
    if not hasattr(hints, "items"):
        problem = f'must name the kind of each map, such as {{"canny": "edges.png"}}; got a {type(hints).__name__}.'
        raise InvalidInputError(problem, parameter="hints")
    given: dict[ControlInputType, list[ImageLike]] = {}
    for name, images in hints.items():
        listed: list[ImageLike] = list(images) if isinstance(images, list | tuple) else [images]  # type: ignore[list-item]
        if listed:
            given.setdefault(_parse_kind(name), []).extend(listed)
    return given


def _parse_kind(name: str | ControlInputType) -> ControlInputType:
    names = {kind.name.lower(): kind for kind in (*_FORMS, ControlInputType.Shuffle, *_IMAGE_KINDS)}
    wanted = name.name.lower() if isinstance(name, ControlInputType) else name.strip().lower()
    if wanted in names:
        return names[wanted]
    nearest = find_nearest(wanted, names)
    raise UnknownNameError(
        Text("there is no kind {kind!r}. Kinds are {kinds}.", kind=wanted, kinds=tuple(names)),
        name=wanted,
        nearest=nearest,
        parameter="hints",
    )


def _check_kind(kind: ControlInputType, images: Sequence[ImageLike], context: Context) -> None:
    name = kind.name.lower()
    if kind in _IMAGE_KINDS:
        also = " and {mask}" * (name == "inpaint")
        raise InvalidInputError(
            Text(f"a control for {name} looks at {{canvas}} only{also}. Give the picture as that."), parameter="hints"
        )
    if len(images) > 1:
        raise InvalidInputError(
            f"a server reads one {name} map, {len(images)} were given. Keep one.", parameter="hints"
        )
    if context.facts is None or context.has_unknown_reader or _is_read(kind, context):
        return
    read = dict.fromkeys((chosen.setting.file, context.find_kind(chosen)) for chosen in context.active_controls)
    pairs = tuple(Text("{file} reads {kind}", file=file, kind=kind) for file, kind in read)
    kinds = Text("; {pairs}", pairs=pairs) if read else Text("")
    text = Text("no control reads {name} maps{kinds}. {advice}", name=name, kinds=kinds, advice=_suggest(name, context))
    raise InvalidInputError(text, parameter="hints")


def _is_read(kind: ControlInputType, context: Context) -> bool:
    name, form = kind.name.lower(), _FORMS[kind]
    if context.modifier == name and MODEL_HINTS.get(name) == form.hint:
        return True
    if kind is ControlInputType.Custom:
        return any(HintType.Custom in context.list_sources(chosen) for chosen in context.active_controls)
    return any(context.find_kind(chosen) == name for chosen in context.active_controls)


def _suggest(name: str, context: Context) -> Text:
    fitting = context.list_fitting_controls()
    files = [control.file for control in fitting if control.modifier == name]
    unions = [control.file for control in fitting if control.modifier in {"", "none"}]
    if files:
        return Text("Add one to controls: {files}.", files=tuple(files[:_SHOWN]))
    if unions:
        return Text("Add {file} to controls, with {input_override} {name!r}.", file=unions[0], name=name)
    return Text("Add one for {version} models to controls, or leave the map out.", version=context.version)


def _check_custom(maps: Mapping[ControlInputType, ImageLike]) -> None:
    custom = [kind.name.lower() for kind in maps if _FORMS[kind].hint is HintType.Custom]
    if len(custom) > 1:
        raise InvalidInputError(
            f"{' and '.join(custom)} travel as one map, of which a server reads a single one for all controls. Keep "
            "one of them.",
            parameter="hints",
        )


def _build_hint(form: _Form, pixels: Pixels, context: Context, fit: Fit) -> Hint:
    full = (context.configuration.width, context.configuration.height)
    # A pose must have the size of the pass that it serves; a server scales all others.
    sizes = [context.first_pass, full] if form.hint is HintType.Pose and context.first_pass else [full]
    tensors = [form.build(_fit_map(pixels, size, fit, form.background)) for size in sizes if size]
    return Hint(form.hint, tuple(HintTensor(tensor) for tensor in tensors))


def _fit_map(pixels: Pixels, size: tuple[int, int], fit: Fit, background: int) -> Pixels:
    """A map of exactly a size, ``(H, W, 3)``, with a level where it is clear."""
    if pixels.shape[2] == 3:
        # Only of pictures with an alpha channel does padding tell itself from the map.
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    fitted = fit_pixels(pixels, size, fit)
    if (fitted[..., 3] == 255).all():
        return fitted[..., :3]
    alpha = fitted[..., 3:].astype(np.float32) / 255
    return np.rint(fitted[..., :3] * alpha + background * (1 - alpha)).astype(np.uint8)


def _judge_polarity(kind: ControlInputType, pixels: Pixels) -> list[str]:
    is_light = bool(_measure_light(pixels[..., :3]).mean() > _MIDDLE)
    if kind in _DRAWN_WHITE and is_light:
        return [f"The {kind.name.lower()} map is mostly white, but its lines should be white on black. Invert it."]
    if kind is ControlInputType.Lineart and not is_light:
        return ["The lineart map is mostly black, but its lines should be dark on white. Invert it."]
    return []
