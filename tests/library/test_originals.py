"""Saving originals: whole, new, with their metadata, or a clear error and nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.errors import StorageError
from drawthings_mcp.generation import ResultImage
from drawthings_mcp.library.originals import save_image
from drawthings_mcp.metadata.reading import read_metadata


def test_a_picture_is_saved_with_pixels_and_metadata(image: ResultImage, tmp_path: Path) -> None:
    path = save_image(
        replace(image, simulated=True),
        tmp_path / "new" / "folder",
        "fox",
        server="mac:7859",
        requested_size=(1000, 1000),
        extra={"mode": "edit"},
    ).path
    assert path == tmp_path / "new" / "folder" / "fox.png"
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), image.pixels)
    metadata = read_metadata(path)
    assert metadata is not None
    assert (metadata.prompt, metadata.negative_prompt, metadata.seed) == ("a red fox", "blurry", 42)
    assert metadata.is_simulated
    assert metadata.record["server"] == "mac:7859"
    assert metadata.record["requested_size"] == "1000x1000"
    assert metadata.record["mode"] == "edit"


def test_nothing_is_ever_overwritten(image: ResultImage, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_text("mine")
    (tmp_path / "fox-2.png").symlink_to("nowhere")
    assert save_image(image, tmp_path, "fox").path == tmp_path / "fox-3.png"
    assert (tmp_path / "fox.png").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fox-2.png", "fox-3.png", "fox.png"]


def test_a_relative_folder_gives_an_absolute_path(
    image: ResultImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save_image(image, Path("pictures"), "fox").path == tmp_path / "pictures" / "fox.png"


SAVE_MANY = """
from pathlib import Path
import numpy as np
from drawthings_mcp.generation import ResultImage, ImageGenerationConfig
from drawthings_mcp.library.originals import save_image
image = ResultImage(np.zeros((8, 8, 3), np.uint8), "fox", "", ImageGenerationConfig(model="m", seed=1))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(40):
    print(save_image(image, Path(folder), "fox").path.name)
"""


def test_two_processes_never_get_the_same_name(run_twice: Callable[[str, Path], list[str]], tmp_path: Path) -> None:
    names = run_twice(SAVE_MANY, tmp_path)
    expected = ["fox.png", *(f"fox-{number}.png" for number in range(2, 81))]
    assert sorted(names) == sorted(expected) == sorted(path.name for path in tmp_path.iterdir())
    assert all(read_metadata(tmp_path / name) for name in names)


def _refuse_links(source: Path, target: Path) -> None:
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def test_disks_without_hard_links_are_as_safe(
    image: ResultImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _refuse_links)
    (tmp_path / "fox.png").write_text("mine")
    assert save_image(image, tmp_path, "fox").path == tmp_path / "fox-2.png"
    assert read_metadata(tmp_path / "fox-2.png")
    assert (tmp_path / "fox.png").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "pass another output_dir"),
        (errno.EACCES, "change its permissions"),
        (errno.EIO, "Check the disk"),
    ],
)
def test_a_failing_disk_is_explained_and_nothing_is_left_behind(
    image: ResultImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=advice) as caught:
        save_image(image, tmp_path, "fox")
    assert str(tmp_path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_explained(image: ResultImage, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Writing is not allowed there"):
        save_image(image, tmp_path, "fox")


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_the_place_of_the_folder_is_explained(image: ResultImage, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="A file stands where the folder should be"):
        save_image(image, tmp_path / "file" / below, "fox")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_name_that_is_too_long_is_explained(image: ResultImage, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="name is too long"):
        save_image(image, tmp_path, "x" * 300)
    assert list(tmp_path.iterdir()) == []
