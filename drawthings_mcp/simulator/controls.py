"""Where controls take their input from, and which of them leave a mark in the picture (protocol §5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp.simulator.catalog import Specification
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.painting.traces import ControlMark
from drawthings_mcp.simulator.parsing import Hint, Tensor
from drawthings_mcp.simulator.selection import Selection
from drawthings_mcp.tensors.layout import tensor_to_pixels

Pixels = NDArray[np.uint8]

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
