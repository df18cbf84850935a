"""Linear maps between latents and colours, from ``latent_maps.json`` (protocol §7.4, §7.5).

Owns which map belongs to which model version. Knows no payload; ``latent_preview`` applies the maps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Output: TypeAlias = Literal["levels", "unit", "signed", "oklab"]
"""What the colours of a map are: sRGB from 0 to 255, 0 to 1 or -1 to 1, or OKLab."""


@dataclass(frozen=True, slots=True, eq=False)
class LatentMap:
    """``colour = weights @ values + bias``.

    Attributes
    ----------
    output
        What the colours are.
    weights
        ``(3, K)``, float64.
    bias
        ``(3,)``, float64.
    patch
        Pixels per side of the square that one cell holds, plane after plane; 1 where a cell is one pixel.
    """

    output: Output
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    patch: int = 1

    @property
    def channels(self) -> int:
        """Channels of a latent that the map is for."""
        return int(self.weights.shape[1]) * self.patch**2


@cache
def load_latent_maps() -> Mapping[str, LatentMap]:
    """Every known map by its name."""
    return {
        name: LatentMap(
            entry["output"],
            np.array(entry["weights"], np.float64),
            np.array(entry["bias"], np.float64),
            entry.get("patch", 1),
        )
        for name, entry in _load()["maps"].items()
    }


def find_latent_map(version: str, channels: int) -> LatentMap | None:
    """The map for a latent.

    Parameters
    ----------
    version
        Of the model, such as ``z_image``; empty when unknown.
    channels
        Of the latent. A cascade shows latents of both its stages, which only differ in this. Without a version the
        channels decide, if only one map has as many: 4 and 16 are ambiguous.

    Returns
    -------
    LatentMap | None
        None when no map is known for such a latent.
    """
    maps = load_latent_maps()
    candidates = [maps[name] for name in _load()["versions"].get(version, ())] if version else list(maps.values())
    fitting = [candidate for candidate in candidates if candidate.channels == channels]
    return fitting[0] if len(fitting) == 1 else None


@cache
def _load() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("latent_maps.json").read_text("utf-8"))
    return loaded
