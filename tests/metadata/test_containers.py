"""Reading text from picture files, friendly and hostile ones."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from drawthings_mcp.errors import InvalidImageError, StorageError
from drawthings_mcp.metadata.containers.reading import read_raw_metadata
from drawthings_mcp.metadata.reading import read_metadata

MakePng = Callable[..., Path]
MIB = 1024 * 1024


def test_texts_of_every_kind_are_read_wherever_they_stand(make_png: MakePng) -> None:
    path = make_png(
        (b"tEXt", b"plain\0caf\xe9"),
        (b"tEXt", b"modern\0caf\xc3\xa9"),
        (b"zTXt", b"small\0\0" + zlib.compress(b"deflated")),
        (b"iTXt", b"long\0\0\0de\0\xc3\xbcber\0text"),
        (b"iTXt", b"long and small\0\1\0\0\0" + zlib.compress(b"inflated")),
        after=True,
    )
    assert read_raw_metadata(path).texts == {
        "plain": "café",
        "modern": "café",
        "small": "deflated",
        "long": "text",
        "long and small": "inflated",
    }


def test_a_picture_without_text_carries_nothing(make_png: MakePng) -> None:
    assert read_metadata(make_png()) is None


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "GIF", "BMP"])
def test_other_formats_without_metadata_carry_nothing(tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (4, 4)).save(path, file_format)
    assert read_metadata(path) is None


def test_deflated_text_that_grows_beyond_the_limit_is_refused(make_png: MakePng) -> None:
    bomb = zlib.compress(b" " * (9 * MIB))
    path = make_png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb))
    assert path.stat().st_size < 20_000
    with pytest.raises(InvalidImageError, match="8 MiB"):
        read_metadata(path)


def test_many_texts_that_are_too_much_together_are_refused(make_png: MakePng) -> None:
    path = make_png(*[(b"tEXt", b"part\0" + b" " * (3 * MIB)) for _ in range(3)])
    with pytest.raises(InvalidImageError, match="8 MiB"):
        read_metadata(path)


def test_a_single_text_beyond_the_limit_is_refused_unread(make_png: MakePng) -> None:
    path = make_png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b" " * (8 * MIB)))
    with pytest.raises(InvalidImageError, match="8 MiB"):
        read_metadata(path)


def test_damaged_deflated_text_is_refused(make_png: MakePng) -> None:
    with pytest.raises(InvalidImageError, match="damaged"):
        read_metadata(make_png((b"zTXt", b"key\0\0not deflated")))


def test_a_file_that_ends_within_a_text_is_refused(make_png: MakePng) -> None:
    path = make_png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"x" * 1000))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InvalidImageError, match="ends within its iTXt"):
        read_metadata(path)


def test_pixels_are_not_decoded(make_png: MakePng) -> None:
    path = make_png((b"tEXt", b"key\0value"))
    path.write_bytes(path.read_bytes().replace(zlib.compress(b"\0\x80"), b"\xff" * 10))
    assert read_raw_metadata(path).texts == {"key": "value"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere\.png cannot be read: No such file"):
        read_metadata(tmp_path / "nowhere.png")


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InvalidImageError, match="is not a file"):
        read_metadata(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InvalidImageError, match="is not a file"):
        read_metadata(tmp_path / "pipe.png")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG", b"\xff\xd8\xff\xe0 not a jpeg"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(InvalidImageError, match=r"notes\.png"):
        read_metadata(path)
