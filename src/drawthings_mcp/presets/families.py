"""Which model to take when the caller leaves it open.

Owns the order of preference, as data. Knows nothing of servers: what is installed is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.presets.checkpoints import FAMILIES_FILE, list_checkpoints, strip_variant
from drawthings_mcp.presets.packaged import read_packaged
from drawthings_mcp.validation import suggest


@cache
def _read_orders(mode: str) -> Mapping[str, list[str]]:
    """Base names of models by family, preferred first.

    What makes pictures from text also repaints them, so that modes without an order of their own share that one.
    """
    data = read_packaged(FAMILIES_FILE)
    orders: dict[str, list[str]] = data.get(mode, data["text2image"])
    return orders


def _get_order(family: str, mode: str) -> list[str]:
    orders = _read_orders(mode)
    if family not in orders:
        raise UnknownNameError(
            f"No model is preferred for {mode} with {family!r}.{suggest(family, orders)} Or name a model file.",
            name=family,
            nearest=tuple(orders),
        )
    return orders[family]


def choose_model(installed: Collection[str], family: str = "auto", mode: str = "text2image") -> str | None:
    """The preferred one of the installed models for a mode; None when none of the preferred ones is there.

    The preferred file of a model counts before its other variants, those before the next model.

    Parameters
    ----------
    installed
        Files of the models that the server has.
    family
        ``auto``, ``z-image``, ``qwen-image`` or ``flux``.
    mode
        ``text2image``, ``image2image``, ``edit`` or ``inpaint``.

    Raises
    ------
    UnknownNameError
        There is no order of preference for the family and mode.
    """
    chosen = (_choose_variant(base, installed) for base in _get_order(family, mode))
    return next((file for file in chosen if file is not None), None)


def _choose_variant(base: str, installed: Collection[str]) -> str | None:
    unlisted = sorted(file for file in installed if strip_variant(file) == base)
    candidates = [*list_checkpoints()[base].files, *unlisted]
    return next((file for file in candidates if file in installed), None)


def list_preferred_models(family: str = "auto", mode: str = "text2image") -> tuple[str, ...]:
    """Files to look for on a server that does not list its models.

    The preferred file of every model comes first, so that the first few are what to recommend; their other
    variants follow.
    """
    variants = [list_checkpoints()[base].files for base in _get_order(family, mode)]
    return tuple([files[0] for files in variants] + [file for files in variants for file in files[1:]])
