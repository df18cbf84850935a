"""Saving the frames of a video: numbered, together, new, with their metadata, a few at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.errors import StorageError, TensorError
from drawthings_mcp.generation import ResultImage
from drawthings_mcp.library.frames import FrameMetadata, FrameSet
from drawthings_mcp.metadata.reading import read_metadata


@pytest.fixture
def frames(image: ResultImage) -> list[ResultImage]:
    return [replace(image, pixels=image.pixels + np.uint8(number)) for number in range(3)]


def save_frames(frames: Iterable[ResultImage], folder: Path, **metadata: Unpack[FrameMetadata]) -> list[Path]:
    saved = FrameSet(folder, "fox", **metadata)
    for frame in frames:
        saved.add(frame)
    return saved.paths


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_frames_are_numbered_and_carry_their_pixels_and_metadata(frames: list[ResultImage], tmp_path: Path) -> None:
    paths = save_frames(
        (replace(frame, simulated=True) for frame in frames),
        tmp_path / "new",
        server="mac:7859",
        requested_size=(10, 10),
        extra={"mode": "text2image"},
    )
    assert paths == [tmp_path / "new" / f"fox-000{number}.png" for number in (1, 2, 3)]
    for number, (path, frame) in enumerate(zip(paths, frames, strict=True), 1):
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), frame.pixels)
        metadata = read_metadata(path)
        assert metadata is not None
        assert (metadata.prompt, metadata.seed, metadata.is_simulated) == ("a red fox", 42, True)
        assert metadata.record["frame"] == number
        assert metadata.record["server"] == "mac:7859"
        assert metadata.record["requested_size"] == "10x10"
        assert metadata.record["mode"] == "text2image"


@pytest.mark.parametrize("left", ["fox-0001.png", "fox-0003.png", "fox-0081.png", "FOX-12345.PNG"])
def test_a_set_takes_a_stem_of_which_there_is_no_frame_yet(
    frames: list[ResultImage], tmp_path: Path, left: str
) -> None:
    (tmp_path / left).write_text("mine")
    assert [path.name for path in save_frames(frames, tmp_path)] == [f"fox-2-000{n}.png" for n in (1, 2, 3)]
    assert [path.name for path in save_frames(frames, tmp_path)] == [f"fox-3-000{n}.png" for n in (1, 2, 3)]
    assert (tmp_path / left).read_text() == "mine"


def test_single_pictures_and_other_names_are_not_in_the_way(frames: list[ResultImage], tmp_path: Path) -> None:
    for name in ("fox.png", "fox-2.png", "fox-000.png", "fox-0001.mp4", "big-fox-0001.png", "fox.bar-0001.png"):
        (tmp_path / name).write_text("mine")
    paths = save_frames(frames, tmp_path)
    assert [path.name for path in paths] == ["fox-0001.png", "fox-0002.png", "fox-0003.png"]


def test_a_file_that_comes_in_between_is_left_alone(frames: list[ResultImage], tmp_path: Path) -> None:
    saved = FrameSet(tmp_path, "fox")
    assert saved.stem == "fox"
    saved.add(frames[0])
    (tmp_path / "fox-0002.png").write_text("mine")
    saved.add(frames[1])
    saved.add(frames[2])
    assert [path.name for path in saved.paths] == ["fox-0001.png", "fox-0002-2.png", "fox-0003.png"]
    assert (tmp_path / "fox-0002.png").read_text() == "mine"
    again = FrameSet(tmp_path, "fox")
    again.add(frames[0])
    assert again.stem == "fox-2"


SAVE_MANY = """
from pathlib import Path
import numpy as np
from drawthings_mcp.generation import ResultImage, ImageGenerationConfig
from drawthings_mcp.library.frames import FrameSet
image = ResultImage(np.zeros((8, 8, 3), np.uint8), "fox", "", ImageGenerationConfig(model="m", seed=1))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(8):
    frames = FrameSet(Path(folder), "fox")
    print(*(frames.add(image).name for _ in range(5)))
"""


def test_sets_of_two_processes_never_mix(run_twice: Callable[[str, Path], list[str]], tmp_path: Path) -> None:
    sets = run_twice(SAVE_MANY, tmp_path)
    stems = ["fox", *(f"fox-{number}" for number in range(2, 17))]
    assert sorted(sets) == sorted(" ".join(f"{stem}-000{n}.png" for n in range(1, 6)) for stem in stems)
    assert list_names(tmp_path) == sorted(name for line in sets for name in line.split())


def test_never_more_than_two_decoded_frames_are_in_memory(image: ResultImage, tmp_path: Path) -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    counts: list[int] = []

    def decode() -> Iterator[ResultImage]:
        for number in range(6):
            frame = replace(image, pixels=np.full((64, 64, 3), number, np.uint8))
            alive.append(weakref.ref(frame.pixels))
            counts.append(sum(reference() is not None for reference in alive))
            yield frame

    assert len(save_frames(decode(), tmp_path)) == 6
    assert max(counts) <= 2


def test_frames_before_a_damaged_one_stay(frames: list[ResultImage], tmp_path: Path) -> None:
    def decode() -> Iterator[ResultImage]:
        yield from frames[:2]
        raise TensorError("damaged")

    with pytest.raises(TensorError, match="damaged"):
        save_frames(decode(), tmp_path)
    assert list_names(tmp_path) == ["fox-0001.png", "fox-0002.png"]


def test_no_frames_leave_nothing_behind(tmp_path: Path) -> None:
    assert save_frames([], tmp_path) == []
    assert list_names(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_explained(frames: list[ResultImage], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match=r"The frame cannot be saved .* A file stands where the folder should be"):
        save_frames(frames, tmp_path / "file")
