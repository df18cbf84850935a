"""Sound as WAV files, read back with another program's eyes."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.library.audio import Sound, save_audio
from drawthings_mcp.tensors.audio import decode_audio, encode_audio
from drawthings_mcp.tensors.header import Codec


def read(path: Path) -> tuple[NDArray[np.int16], int]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        data = file.readframes(file.getnframes())
        return np.frombuffer(data, "<i2").reshape(-1, 2).T, file.getframerate()


def test_left_and_right_stay_apart_and_exact(tmp_path: Path) -> None:
    times = np.arange(4800, dtype=np.float32) / 48_000
    samples = np.stack([np.sin(440 * 6.283 * times), times * 0]).astype(np.float32)
    payload = encode_audio(samples, codec=Codec.FPZIP)
    path = save_audio(decode_audio(payload), tmp_path / "new", "fox", 48_000)
    assert path == tmp_path / "new" / "fox.wav"
    levels, rate = read(path)
    assert rate == 48_000
    np.testing.assert_array_equal(levels, np.rint(samples * 32767))


def test_what_is_too_loud_is_clipped_and_never_wraps_around(tmp_path: Path) -> None:
    loud = np.array([[1, -1, 1.5, -7, 0.5], [np.inf, -np.inf, np.nan, 1e38, -0.0]], np.float32)
    levels, _ = read(save_audio(loud, tmp_path, "fox", 24_000))
    assert levels.tolist() == [[32767, -32767, 32767, -32767, 16384], [32767, -32767, 0, 32767, 0]]


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    samples = np.zeros((2, 10), np.float32)
    (tmp_path / "fox.wav").write_text("mine")
    assert save_audio(samples, tmp_path, "fox", 24_000).name == "fox-2.wav"
    assert (tmp_path / "fox.wav").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((1, 10), np.float32),
        np.zeros((10, 2), np.float32),
        np.zeros(10, np.float32),
        np.zeros((2, 0), np.float32),
        np.zeros((2, 10), np.int16),
    ],
)
def test_arrays_that_are_no_sound_are_refused(samples: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"Sound is \(2, samples\) of float32"):
        save_audio(samples, tmp_path, "fox", 24_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [0, -1, 1_000_000])
def test_impossible_rates_are_refused(rate: int) -> None:
    with pytest.raises(InvalidInputError, match="samples per second"):
        Sound(np.zeros((2, 10), np.float32), rate)


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="The sound cannot be saved"):
        save_audio(np.zeros((2, 10), np.float32), tmp_path / "file", "fox", 24_000)
