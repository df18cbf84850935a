"""Pictures that compress badly, well, and with holes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

MakePixels = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="session")
def make_pixels() -> MakePixels:
    """Pixels of a size and a look: ``noise`` hardly compresses, ``flat`` does, ``holes`` is transparent."""

    def make(width: int, height: int, look: str = "noise", seed: int = 1) -> NDArray[np.uint8]:
        random = np.random.default_rng(seed)
        channels = 4 if look == "holes" else 3
        shape: Any = (height, width, channels)
        if look == "flat":
            return np.full(shape, seed % 256, np.uint8)
        noise: NDArray[np.uint8] = random.integers(0, 256, shape, np.uint8)
        return noise

    return make
