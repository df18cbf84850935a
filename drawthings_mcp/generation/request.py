"""What is asked for and what came of it: requests, result images and their seeds.

Arrays are ``(H, W, C)``. Numpy is only named in annotations, so that importing this module stays cheap.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drawthings_mcp.generation.configuration import ImageGenerationConfig
from drawthings_mcp.generation.enums import HintType
from drawthings_mcp.limits import MAX_SEED

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SEED_FOR_ZERO = 0x0BAD_5EED
"""What xorshift starts from when the seed is 0 (protocol §2.4)."""


@dataclass(frozen=True, slots=True, eq=False)
class HintTensor:
    """One tensor of a hint.

    Attributes
    ----------
    tensor
        ``(H, W, C)`` float, in the range of the hint's type (protocol §5.2): -1 to 1 for custom, depth,
        shuffle and colour, 0 to 1 for pose and scribble.
    weight
        Read by servers for ``HintType.Shuffle`` only.
    """

    tensor: NDArray[np.floating[Any]]
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Hint:
    """All tensors of one type, in order; a server reads one hint per type."""

    type: HintType
    tensors: tuple[HintTensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class GenerationRequest:
    """One pass on a server.

    Attributes
    ----------
    configuration
        With a drawn seed: -1 is refused when the request is built. A copy is kept, so that nothing changes under way.
    canvas
        ``(H, W, 3)`` uint8, sRGB, of exactly the size of the configuration; None for none.
    mask
        ``(H, W)`` uint8 of mask classes (protocol §4.2), the size of the canvas; needs a canvas.
    hints
        At most one per type.
    override
        Specifications that the server may lack, by kind: ``models``, ``loras``, ``controlNets``,
        ``textualInversions``, ``upscalers``; each a list of JSON objects (protocol §8.3).
    """

    prompt: str
    configuration: ImageGenerationConfig
    negative_prompt: str = ""
    canvas: NDArray[np.uint8] | None = None
    mask: NDArray[np.uint8] | None = None
    hints: tuple[Hint, ...] = ()
    override: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "configuration", self.configuration.model_copy(deep=True))


@dataclass(frozen=True, slots=True, eq=False)
class ResultImage:
    """One picture that a server made.

    Attributes
    ----------
    pixels
        ``(H, W, 3)`` or, for transparent results, ``(H, W, 4)`` uint8, sRGB, channels R, G, B, A.
    configuration
        As it was sent, with the seed that reproduces this very picture.
    simulated
        Whether the simulator drew it instead of a model.
    """

    pixels: NDArray[np.uint8]
    prompt: str
    negative_prompt: str
    configuration: ImageGenerationConfig
    simulated: bool = False

    @property
    def seed(self) -> int:
        """The seed that was used, never -1."""
        return self.configuration.seed

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def __repr__(self) -> str:
        width, height = self.size
        simulated = ", simulated" if self.simulated else ""
        return f"<{type(self).__name__} {width}x{height} seed {self.seed}{simulated}>"


def draw_seed() -> int:
    """A seed nobody chose, 0 to 4294967295."""
    return secrets.randbelow(MAX_SEED + 1)


def next_seed(seed: int) -> int:
    """The seed of the next image of a batch in ``ScaleAlike`` mode: one round of xorshift32 (protocol §2.4)."""
    x = seed or _SEED_FOR_ZERO
    x ^= x << 13 & MAX_SEED
    x ^= x >> 17
    x ^= x << 5 & MAX_SEED
    return x


def list_batch_seeds(seed: int, count: int) -> list[int]:
    """The seeds that reproduce each image of a batch on its own, in order, the first being ``seed``."""
    seeds = [seed]
    while len(seeds) < count:
        seeds.append(next_seed(seeds[-1]))
    return seeds
