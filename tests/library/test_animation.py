"""Videos as files that move: what a player sees and hears in them."""

from __future__ import annotations

import errno
import os
import sys
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.errors import InvalidImageError, InvalidInputError, StorageError
from drawthings_mcp.library.animation import Container, find_container, save_animation
from drawthings_mcp.library.audio import Sound
from drawthings_mcp.tensors.pixels import ensure_pixels

CONTAINERS: list[Container] = ["mp4", "apng"]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (30, 60, 90), (128, 128, 128), (255, 255, 255)]


def draw_frames(count: int = 12, height: int = 96, width: int = 112) -> list[NDArray[np.uint8]]:
    """Bars of colour that wander to the right."""
    bars = np.repeat(np.array([COLOURS], np.uint8), -(-width // len(COLOURS)), axis=1)[:, :width]
    return [np.roll(bars.repeat(height, axis=0), 4 * number, axis=1) for number in range(count)]


def play(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as film:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in film.decode(video=0)]


def play_png(path: Path) -> tuple[list[NDArray[np.uint8]], list[float]]:
    frames, durations = [], []
    with Image.open(path) as film:
        for number in range(getattr(film, "n_frames", 1)):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGBA" if film.mode == "RGBA" else "RGB")))
            durations.append(film.info["duration"])
    return frames, durations


def test_an_mp4_looks_like_its_frames(tmp_path: Path) -> None:
    frames = draw_frames()
    path = save_animation(frames, tmp_path / "new", "fox", 16, "mp4")
    assert path == tmp_path / "new" / "fox.mp4"
    played = play(path)
    assert len(played) == len(frames)
    for seen, frame in zip(played, frames, strict=True):
        # Colour has half the resolution, so edges between the bars differ; the bars themselves do not.
        difference = np.abs(seen.astype(int) - frame)
        assert np.median(difference) <= 3
        assert difference.mean() < 12


def test_an_mp4_plays_everywhere_and_starts_at_once(tmp_path: Path) -> None:
    path = save_animation(draw_frames(), tmp_path, "fox", 16, "mp4")
    with av.open(str(path)) as film:
        (stream,) = film.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
        assert stream.average_rate == 16
        assert stream.frames == 12
        assert len(film.streams) == 1
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_apng_is_its_frames(tmp_path: Path) -> None:
    frames = draw_frames(5)
    path = save_animation(frames, tmp_path, "fox", 16, "apng")
    assert path == tmp_path / "fox.png"
    seen, durations = play_png(path)
    np.testing.assert_array_equal(seen, frames)
    assert durations == [62.5] * 5
    np.testing.assert_array_equal(play(path), frames)  # FFmpeg reads it as well
    np.testing.assert_array_equal(ensure_pixels(path), frames[0])


def test_an_apng_may_be_transparent(tmp_path: Path) -> None:
    frames = [np.dstack([frame, frame[..., 0] ^ 255]) for frame in draw_frames(3)]
    seen, _ = play_png(save_animation(frames, tmp_path, "fox", 10, "apng"))
    np.testing.assert_array_equal(seen, frames)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_video_of_one_frame_is_one(container: Container, tmp_path: Path) -> None:
    path = save_animation(draw_frames(1), tmp_path, "fox", 16, container)
    assert len(play(path)) == 1


@pytest.mark.parametrize("size", [(97, 113), (96, 1), (1, 64)])
def test_odd_sizes_are_made_even_for_mp4_only(size: tuple[int, int], tmp_path: Path) -> None:
    frames = draw_frames(3, *size)
    assert play(save_animation(frames, tmp_path, "fox", 16, "apng"))[0].shape == (*size, 3)
    seen = play(save_animation(frames, tmp_path, "fox", 16, "mp4"))[0]
    assert seen.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)


@pytest.mark.parametrize(
    ("fps", "exact"),
    [(16, 16), (25.0, 25), (29.97, Fraction(2997, 100)), (30000 / 1001, Fraction(30000, 1001)), (0.5, Fraction(1, 2))],
)
def test_frame_rates_are_exact(fps: float, exact: Fraction, tmp_path: Path) -> None:
    with av.open(str(save_animation(draw_frames(4), tmp_path, "fox", fps, "mp4"))) as film:
        assert film.streams.video[0].average_rate == exact
    _, durations = play_png(save_animation(draw_frames(4), tmp_path, "fox", fps, "apng"))
    assert durations == pytest.approx([1000 / float(exact)] * 4)


def test_sound_is_heard_in_an_mp4(tmp_path: Path) -> None:
    times = np.arange(12_000, dtype=np.float32) / 24_000
    samples = np.stack([np.sin(times * 2765) * 0.5, times * 0]).astype(np.float32)
    path = save_animation(draw_frames(8), tmp_path, "fox", 16, "mp4", sound=Sound(samples, 24_000))
    with av.open(str(path)) as film:
        assert [stream.type for stream in film.streams] == ["video", "audio"]
        (stream,) = film.streams.audio
        assert (stream.codec_context.name, stream.rate, stream.channels) == ("aac", 24_000, 2)
        heard = np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)
    assert heard.shape[1] == pytest.approx(12_000, abs=2048)
    assert np.abs(heard[0]).max() == pytest.approx(0.5, abs=0.1)
    assert np.abs(heard[1]).max() < 0.01
    assert len(play(path)) == 8


def test_sound_beyond_the_range_does_not_break_the_encoder(tmp_path: Path) -> None:
    samples = np.array([[np.nan, 9.0, -9.0, np.inf] * 600] * 2, np.float32)
    path = save_animation(draw_frames(2), tmp_path, "fox", 16, "mp4", sound=Sound(samples, 48_000))
    with av.open(str(path)) as film:
        heard = np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)
    assert np.isfinite(heard).all()


@pytest.mark.parametrize("container", CONTAINERS)
def test_nothing_is_ever_overwritten(container: Container, tmp_path: Path) -> None:
    suffix = {"mp4": "mp4", "apng": "png"}[container]
    (tmp_path / f"fox.{suffix}").write_text("mine")
    assert save_animation(draw_frames(2), tmp_path, "fox", 16, container).name == f"fox-2.{suffix}"
    assert (tmp_path / f"fox.{suffix}").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("container", CONTAINERS)
def test_never_more_than_two_decoded_frames_are_in_memory(container: Container, tmp_path: Path) -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    counts: list[int] = []

    def decode() -> Iterator[NDArray[np.uint8]]:
        for number in range(60):
            frame = np.full((64, 64, 3), number, np.uint8)
            alive.append(weakref.ref(frame))
            counts.append(sum(reference() is not None for reference in alive))
            yield frame

    save_animation(decode(), tmp_path, "fox", 16, container)
    assert len(counts) == 60
    assert max(counts) <= 2


def test_mp4_is_chosen_where_it_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_container() == "mp4"
    assert save_animation(draw_frames(2), tmp_path, "fox", 16).name == "fox.mp4"
    monkeypatch.setitem(sys.modules, "av", None)
    assert find_container() == "apng"
    assert save_animation(draw_frames(2), tmp_path, "fox", 16).name == "fox.png"
    with pytest.raises(InvalidInputError, match=r"drawthings-mcp\[video\]"):
        save_animation(draw_frames(2), tmp_path, "fox", 16, "mp4")


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"frames": []}, InvalidInputError, "at least one frame"),
    ({"frames": [*draw_frames(2), *draw_frames(1, 64, 64)]}, InvalidImageError, r"Frame 3 is \(64, 64, 3\)"),
    ({"frames": [np.zeros((8, 8), np.uint8)]}, InvalidImageError, "ensure_pixels"),
    ({"frames": [np.zeros((8, 8, 4), np.uint8)], "container": "mp4"}, InvalidImageError, "save the frames as APNG"),
    ({"fps": 0}, InvalidInputError, "0.1 to 60 frames per second, not 0"),
    ({"fps": float("nan")}, InvalidInputError, "frames per second, not nan"),
    ({"fps": 61}, InvalidInputError, "frames per second"),
    ({"container": "gif"}, InvalidInputError, "mp4 or apng, not 'gif'"),
    (
        {"container": "apng", "sound": Sound(np.zeros((2, 9), np.float32), 24_000)},
        InvalidInputError,
        "have no sound; save it as a file of its own",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "text"), WRONG, ids=lambda value: value if type(value) is str else "")
@pytest.mark.parametrize("container", CONTAINERS)
def test_what_cannot_be_saved_is_refused_and_leaves_nothing(
    arguments: dict[str, Any], error: type[Exception], text: str, container: Container, tmp_path: Path
) -> None:
    call = {"frames": draw_frames(2), "fps": 16, "container": container, **arguments}
    with pytest.raises(error, match=text):
        save_animation(call.pop("frames"), tmp_path, "fox", **call)
    assert list(tmp_path.iterdir()) == []


def test_frames_too_large_for_the_encoder_are_explained(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="save them as APNG"):
        save_animation([np.zeros((2, 20_000, 3), np.uint8)], tmp_path, "fox", 16, "mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_full_disk_is_explained(container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, mode: int = 0, exist_ok: bool = True) -> None:
        path.symlink_to("/dev/full")

    monkeypatch.setattr(Path, "touch", fill)
    frames = (np.random.default_rng(number).integers(0, 255, (256, 256, 3), np.uint8) for number in range(60))
    with pytest.raises(
        StorageError, match=f"The video cannot be saved .*{os.strerror(errno.ENOSPC)}.* free some space"
    ):
        save_animation(frames, tmp_path, "fox", 16, container)
    assert list(tmp_path.iterdir()) == []
