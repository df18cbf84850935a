"""The sound of a simulated video: a quiet chord, another one for each seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROOTS_HZ = (196.0, 220.0, 246.94, 261.63, 293.66)
_INTERVALS = (1.0, 5 / 4, 3 / 2)
_LEVEL = 0.12
_FADE_SECONDS = 0.05


def compose_chord(seed: int, seconds: float, rate_hz: int) -> NDArray[np.float32]:
    """Two planes of samples ``(2, samples)`` in -1 to 1, the right one a little late."""
    count = max(1, round(seconds * rate_hz))
    root = _ROOTS_HZ[seed % len(_ROOTS_HZ)]
    times = np.arange(count) / rate_hz
    planes = [
        sum(np.sin(2 * np.pi * root * interval * (times + delay)) for interval in _INTERVALS) for delay in (0.0, 0.002)
    ]
    envelope = np.minimum(1.0, np.minimum(times, times[::-1]) / _FADE_SECONDS)
    return (np.stack(planes) * envelope * _LEVEL).astype(np.float32)
