"""The runs that enlarge a picture: by the server's upscaler, by SeedVR2, or by a model that redraws it in tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from drawthings_mcp.catalog import Model, ServerInventory
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.generation import ImageGenerationConfig, SamplerType
from drawthings_mcp.generation.configuration import list_app_keys
from drawthings_mcp.limits import MAX_SIDE, MAX_UPSCALE_FACTOR
from drawthings_mcp.params import UPSCALE, GenerateParams
from drawthings_mcp.planning.abilities import RESTORATION_VERSIONS, list_modes
from drawthings_mcp.planning.compose import Plan, compose
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.planning.lookup import describe_model, find_model_recipe
from drawthings_mcp.planning.plan import plan
from drawthings_mcp.planning.sizes import Size, build_tiles
from drawthings_mcp.presets.collection import PresetCollection
from drawthings_mcp.tensors.fitting import fill_clear_parts, fit_pixels
from drawthings_mcp.tensors.pixels import Pixels

_PREFERRED = ("4x_ultrasharp_f16.ckpt", "esrgan_4x_universal_upscaler_v2_sharp_f16.ckpt", "remacri_4x_f16.ckpt")
"""Upscalers that suit most pictures, the best first."""
_FOR_DRAWINGS = "anime"
_REDRAWN = 0.3
"""Strength of a redrawing that keeps the picture."""
_RGBA = 4
_OPAQUE = 255


@dataclass(frozen=True, slots=True)
class UpscaleRun:
    """One of the runs that enlarge a picture.

    Attributes
    ----------
    model
        Of SeedVR2 it restores; any other redraws faintly, or only passes the picture on to the upscaler.
    target
        Width and height of the result.
    upscaler
        File; empty for none.
    factor
        Of the upscaler; 1 without.
    """

    model: Model
    target: tuple[int, int]
    upscaler: str = ""
    factor: int = 1

    @property
    def restores(self) -> bool:
        """Whether it is a model for restoring."""
        return self.model.version in RESTORATION_VERSIONS


def find_target(size: tuple[int, int], long_edge: int | None) -> tuple[int, int]:
    """Width and height of an enlarged picture; twice as large as it is when nothing is said.

    Raises
    ------
    InvalidInputError
        It is that large already.
    """
    longest = max(size)
    wanted = min(2 * longest, MAX_SIDE) if long_edge is None else long_edge
    if wanted <= longest:
        text = "the picture has {size} already; give more than {longest}, or resize it."
        problem = Text(text, size="×".join(map(str, size)), longest=longest)
        raise InvalidInputError(problem, parameter="long_edge", value=long_edge)
    return round(size[0] * wanted / longest) or 1, round(size[1] * wanted / longest) or 1


def list_runs(
    size: tuple[int, int], target: tuple[int, int], model_file: str, inventory: ServerInventory
) -> tuple[UpscaleRun, ...]:
    """What enlarges a picture on a server: its upscaler, then SeedVR2; without either a model that redraws it.

    Parameters
    ----------
    size
        Width and height of the picture.
    model_file
        What made the picture; empty when that is not known.

    Raises
    ------
    UnansweredError
        The server has to be asked about files first.
    InvalidInputError
        It has nothing that would do.
    """
    upscaler, restorer = _find_upscaler(inventory), _find_restorer(inventory)
    runs = []
    if upscaler:
        # Every upscaler takes either factor (protocol §2.4); of a small enlargement 4 would be thrown away.
        factor = 2 if max(target) <= 2 * max(size) else MAX_UPSCALE_FACTOR
        runs.append(UpscaleRun(_find_painter(model_file, inventory), target, upscaler, factor))
    if restorer is not None:
        runs.append(UpscaleRun(restorer, target))
    return tuple(runs) or (UpscaleRun(_find_painter(model_file, inventory), target),)


def _find_upscaler(inventory: ServerInventory) -> str:
    known = load_known().upscalers
    listed = [entry.file for entry in inventory.upscalers]
    there = listed if inventory.catalog is not None and listed else inventory.list_existing(known)
    ranked = [*_PREFERRED, *sorted(there, key=lambda file: _FOR_DRAWINGS in file)]
    return next((file for file in ranked if file in there), "")


def _find_restorer(inventory: ServerInventory) -> Model | None:
    models = load_known().models
    known = [model for model in models.values() if model.version in RESTORATION_VERSIONS]
    if inventory.models:
        return next((model for model in inventory.models if model.version in RESTORATION_VERSIONS), None)
    return next((models[file] for file in inventory.list_existing(model.file for model in known)), None)


def _find_painter(file: str, inventory: ServerInventory) -> Model:
    """The model of the picture when it can start from one; another that can otherwise."""
    if file and inventory.has(file):
        model = describe_model(inventory, file)
        if "image2image" in list_modes(model):
            return model
    return describe_model(inventory, find_model_recipe(inventory, "auto", "image2image").model)


def plan_run(
    run: UpscaleRun, picture: Pixels, prompt: str, seed: int, inventory: ServerInventory, presets: PresetCollection
) -> Plan:
    """The plan of one run, of which exactly ``target`` comes out. Blocks.

    Parameters
    ----------
    picture
        ``(H, W, 3 or 4)`` uint8; what is clear in it stays clear.
    prompt
        What the picture shows, for a model that redraws it, and for the record.
    """
    size = Size(*_find_sent_size(run, (picture.shape[1], picture.shape[0])))
    alpha = _find_alpha(picture)
    opaque = np.ascontiguousarray(picture[..., :3]) if alpha is None else fill_clear_parts(picture)
    canvas = _extend(fit_pixels(opaque, (size.width, size.height), "stretch"), size)
    if run.upscaler or run.restores:
        made = compose(prompt, _configure(run, size, seed), inventory, canvas=canvas)
        made = replace(made, model=run.model)
    else:
        made = plan(_ask_to_redraw(run, canvas, size, prompt, seed), inventory, presets)
    kept = Text("what is clear stays clear; its edge was enlarged without a model")
    notes = (*([] if alpha is None else [kept]), *_explain_run(run), *made.notes)
    return replace(made, mode=UPSCALE, size=size, output=run.target, alpha=alpha, notes=notes)


def _find_alpha(picture: Pixels) -> Pixels | None:
    """The alpha channel of a picture that is clear somewhere."""
    is_clear = picture.shape[2] == _RGBA and bool((picture[..., 3] < _OPAQUE).any())
    return picture[..., 3].copy() if is_clear else None


def _extend(picture: Pixels, size: Size) -> Pixels:
    """The picture in the middle of what is rendered, with its outermost pixels repeated around it."""
    (width, height), (left, top, right, bottom) = size.rendered, size.crop_box
    return np.pad(picture, ((top, height - bottom), (left, width - right), (0, 0)), "edge")


def _find_sent_size(run: UpscaleRun, size: tuple[int, int]) -> tuple[int, int]:
    """What a picture is brought to before it is sent: no less than it has, as long as the result can be received."""
    longest = max(run.target)
    scale = min(max(max(size) / longest, 1 / run.factor), MAX_SIDE // run.factor / longest) if run.upscaler else 1.0
    width, height = (math.ceil(side * scale) for side in run.target)
    return width, height


def _configure(run: UpscaleRun, size: Size, seed: int) -> ImageGenerationConfig:
    width, height = size.rendered
    own: dict[str, Any] = (
        {"strength": 0, "upscaler": run.upscaler, "upscaler_scale_factor": run.factor}
        if run.upscaler
        else {"strength": 1, "guidance_scale": 1}
    )
    return ImageGenerationConfig(
        **{"model": run.model.file, "width": width, "height": height, "seed": seed, "steps": 1, **own},
        sampler=SamplerType.EulerATrailing,
        **_choose_tiles(run.model, size),
    )


def _choose_tiles(model: Model, size: Size) -> dict[str, Any]:
    """Tiles where the picture is larger than one: for memory's sake, too."""
    return build_tiles(model) if math.prod(size.rendered) > model.native_side**2 else {}


def _ask_to_redraw(run: UpscaleRun, canvas: Pixels, size: Size, prompt: str, seed: int) -> GenerateParams:
    width, height = size.rendered
    tiles = _choose_tiles(run.model, size)
    return GenerateParams(
        **{"prompt": prompt or "the same picture, sharp and in fine detail", "mode": "image2image", "canvas": canvas},
        **{"model": run.model.file, "strength": _REDRAWN, "width": width, "height": height, "seed": seed},
        configuration={key: tiles[name] for key, name in list_app_keys().items() if name in tiles},
    )


def _explain_run(run: UpscaleRun) -> list[Text]:
    if run.upscaler:
        return [Text("enlarged {factor} times by {upscaler}", factor=run.factor, upscaler=run.upscaler)]
    if run.restores:
        return [Text("restored by {name}", name=run.model.name)]
    text = (
        "the server has no upscaler and no SeedVR2, so {name} redrew the picture faintly and fine details may differ; "
        "better: {download}"
    )
    return [Text(text, name=run.model.name, download=Step("download", what="4x UltraSharp or SeedVR2"))]
