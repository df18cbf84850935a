"""A call for several different pictures → a call for each: the cells of a grid of values, or a panel per prompt."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Phrase, Text
from drawthings_mcp.generation import GenerationRequest, draw_seed
from drawthings_mcp.limits import MAX_SEED
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.planning.compose import Plan
from drawthings_mcp.quoting import clean

_SAID_OF_ALL = ("sweep", "prompts")


@dataclass(frozen=True, slots=True)
class Axis:
    """One argument and the values that are tried for it.

    Attributes
    ----------
    labels
        The values as they are shown.
    """

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One of the calls.

    Attributes
    ----------
    label
        What sets it apart from the others, ``steps 8, seed 2``; empty when there are no others.
    source
        The parameter that asked for it; empty when there are no others.
    """

    params: GenerateParams
    label: str = ""
    source: str = ""


def list_axes(params: GenerateParams) -> tuple[Axis, ...]:
    """What varies, across first, then down; none for a call that makes no sheet."""
    values = {"prompt": params.prompts} if params.prompts else params.sweep
    return tuple(Axis(name, tuple(map(_label, given))) for name, given in values.items())


def _label(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], float | None):
        return clean(value[0] if value[1] is None else f"{value[0]}@{value[1]:g}")
    if isinstance(value, tuple | list):
        return ", ".join(map(_label, value)) or "none"
    if isinstance(value, dict):
        return clean(", ".join(f"{key} {_label(item)}" for key, item in value.items())) or "none"
    return f"{value:g}" if isinstance(value, float) else clean(str(value)) or "none"


def list_cells(params: GenerateParams) -> tuple[Cell, ...]:
    """The calls of which a call consists, row by row; the call itself when it asks for nothing more.

    All cells of a sweep have one seed unless that is swept; panels count up from it.
    """
    axes = list_axes(params)
    if not axes:
        return (Cell(params),)
    seed = _find_seed(params)
    base = params.replace(**{name: type(params).model_fields[name].default for name in _SAID_OF_ALL}, seed=seed)
    if params.prompts:
        seeds = [(seed + place) % (MAX_SEED + 1) for place in range(len(params.prompts))]
        return tuple(
            Cell(base.replace(prompt=prompt, seed=one), f"prompt {place}", "prompts")
            for place, (prompt, one) in enumerate(zip(params.prompts, seeds, strict=True), 1)
        )
    return tuple(_list_swept(params, base, axes))


def _list_swept(params: GenerateParams, base: GenerateParams, axes: Sequence[Axis]) -> Iterator[Cell]:
    values = {name: given if name != "seed" else _draw_missing(given) for name, given in params.sweep.items()}
    # Down first, so that what varies across does so fastest.
    down_first = list(reversed(axes))
    for places in itertools.product(*(range(len(axis.labels)) for axis in down_first)):
        chosen = {axis.name: place for axis, place in zip(down_first, places, strict=True)}
        label = ", ".join(f"{axis.name} {axis.labels[chosen[axis.name]]}" for axis in axes)
        yield Cell(base.replace(**{name: values[name][place] for name, place in chosen.items()}), label, "sweep")


def _find_seed(params: GenerateParams) -> int:
    given = (params.seed, params.configuration.get("seed"))
    return next((seed for seed in given if isinstance(seed, int) and seed >= 0), draw_seed())


def _draw_missing(seeds: Sequence[int]) -> list[int]:
    """Drawn seeds in place of -1, so that a seed that varies down is the same across."""
    return [draw_seed() if seed < 0 else seed for seed in seeds]


def check_cell(plan: Plan, cell: Cell) -> None:
    """Refuses several pictures in a cell, as a configuration can ask for."""
    if cell.label and len(plan.requests) > 1:
        raise InvalidInputError(
            Text("batchCount and batchSize go with no {sweep} and no {prompts}: leave them out."),
            parameter="configuration",
        )


def blame_cell(error: InvalidInputError, cell: Cell) -> None:
    """Says at which value of which argument an error came up; nothing of a call that is the only one."""
    if cell.label:
        # What an error says is ours to say, also where it is no template.
        own = error.problem if isinstance(error.problem, Text) else Phrase(error.problem)
        said = Text("{parameter}: {problem}", parameter=error.parameter, problem=own)
        problem = said if error.parameter and error.parameter not in cell.label else own
        error.problem = Text("at {cell}: {problem}", cell=Phrase(cell.label), problem=problem)
        error.parameter = cell.source


def share_pictures(plan: Plan, other: Plan) -> Plan:
    """The plan with the pictures of another one where they are equal: of many cells each is in memory once."""
    known, request = other.requests[0], plan.requests[0]
    if not _are_alike(_list_arrays(request), _list_arrays(known)):
        return plan
    share = partial(replace, canvas=known.canvas, mask=known.mask, hints=known.hints)
    return replace(plan, requests=tuple(map(share, plan.requests)))


def _list_arrays(request: GenerationRequest) -> list[NDArray[Any] | None]:
    tensors = [item.tensor for hint in request.hints for item in hint.tensors]
    return [request.canvas, request.mask, *tensors]


def _are_alike(arrays: Sequence[NDArray[Any] | None], others: Sequence[NDArray[Any] | None]) -> bool:
    return len(arrays) == len(others) and all(
        one is other or (one is not None and other is not None and np.array_equal(one, other))
        for one, other in zip(arrays, others, strict=True)
    )


def join_notes(plans: Sequence[Plan], labels: Sequence[str]) -> tuple[str, ...]:
    """The notes of all cells, each once; what is said of some only begins with the label of the first of these."""
    firsts: dict[str, str] = {}
    for plan, label in zip(plans, labels, strict=True):
        for note in plan.notes:
            firsts.setdefault(note, label)
    return tuple(
        Text("at {cell}: {note}", cell=Phrase(label), note=note)
        if label and not all(note in plan.notes for plan in plans)
        else note
        for note, label in firsts.items()
    )
