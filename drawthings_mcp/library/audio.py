"""The sound of a video run → a WAV file."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.library.new_files import number_stems, write_new_file

_CHANNELS = 2
_SAMPLE_BYTES = 2
_FULL_SCALE = 32767
"""Of 16 bits; the lowest value, one step further out, is not used, so that silence stays in the middle."""
_MAX_RATE = 384_000
"""Samples per second; more than any device plays, and the count of bytes per second fits its field."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """What is to be heard.

    Attributes
    ----------
    samples
        ``(2, samples)``, float32, -1 to 1, left before right, as ``tensors.decode_audio`` gives them.
    rate
        Samples per second: see ``generation.find_audio_rate``.

    Raises
    ------
    InvalidInputError
        This is no such array, or no such rate.
    """

    samples: NDArray[np.float32]
    rate: int

    def __post_init__(self) -> None:
        samples = self.samples
        if samples.ndim != 2 or len(samples) != _CHANNELS or samples.size == 0 or samples.dtype != np.float32:
            raise InvalidInputError(
                f"Sound is ({_CHANNELS}, samples) of float32, not {samples.shape} of {samples.dtype}."
            )
        if not 1 <= self.rate <= _MAX_RATE:
            raise InvalidInputError(f"Sound has 1 to {_MAX_RATE} samples per second, not {self.rate}.")

    def clean(self) -> NDArray[np.float32]:
        """The samples as devices can play them: clipped to -1 to 1, silent where they are not a number."""
        return np.nan_to_num(self.samples).clip(-1, 1)


def save_audio(samples: NDArray[np.float32], folder: Path, stem: str, rate: int) -> Path:
    """Write sound as 16-bit stereo under a name that nobody had: ``<stem>.wav``, ``<stem>-2.wav`` and so on.

    Parameters
    ----------
    samples
        As for ``Sound``. What is beyond the range is clipped, what is not a number is silent.
    folder
        Created when missing.
    rate
        As for ``Sound``.

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    InvalidInputError
        This is no such array, or no such rate.
    StorageError
        The file cannot be written. Nothing is left behind.
    """
    sound = Sound(samples, rate)
    names = (f"{free}.wav" for free in number_stems(stem))
    return write_new_file(folder, names, lambda path: _write_wav(sound, path), what="sound")


def _write_wav(sound: Sound, path: Path) -> None:
    levels = np.rint(sound.clean().T * _FULL_SCALE).astype("<i2")  # left and right in turn
    with wave.open(str(path), "wb") as file:
        file.setnchannels(_CHANNELS)
        file.setsampwidth(_SAMPLE_BYTES)
        file.setframerate(sound.rate)
        file.writeframes(levels.tobytes())
