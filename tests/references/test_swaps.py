"""What is put in the place of a checked file, or of a folder on the way to it, is never read."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawthings_mcp.attachments.preview import open_small
from drawthings_mcp.errors import DrawThingsError, InvalidImageError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import read_pixels
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.references.policy import ImportPolicy
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.search.folders import choose_sources
from drawthings_mcp.search.projects.project_file import ProjectFile
from drawthings_mcp.tensors.picture_files import open_regular_file

if TYPE_CHECKING:
    from tests.references.conftest import Draw

pytestmark = pytest.mark.anyio

Swap = Callable[[], None]
ALLOWED, FOREIGN = (10, 200, 30), (200, 10, 30)


@pytest.fixture
def picture(folder: Path, draw: Draw) -> Path:
    """A file that may be read, in a folder of its own."""
    path = folder / "trip" / "fox.png"
    path.parent.mkdir()
    path.write_bytes(draw(colour=ALLOWED))
    return path


@pytest.fixture(params=["file", "folder"])
def swap(request: pytest.FixtureRequest, tmp_path: Path, picture: Path, draw: Draw) -> Swap:
    """Puts a link to a foreign picture in the place of the file or of its folder, once."""
    foreign = tmp_path / "private" / "fox.png"
    foreign.parent.mkdir()
    foreign.write_bytes(draw(colour=FOREIGN))
    place, target = (picture, foreign) if request.param == "file" else (picture.parent, foreign.parent)

    def put_link() -> None:
        if not place.is_symlink():
            place.rename(tmp_path / "aside")
            place.symlink_to(target)

    return put_link


def swap_before_opening(monkeypatch: pytest.MonkeyPatch, swap: Swap, name: str = "") -> list[str]:
    """Swap right before something is opened, or what has a name; all that was opened since stands in the list."""
    original = os.open
    seen: list[str] = []

    def hooked(path: Any, *args: Any, **options: Any) -> Any:
        if not name or Path(path).name == name:
            seen.append(str(path))
            swap()
        return original(path, *args, **options)

    monkeypatch.setattr(os, "open", hooked)
    return seen


def swap_after_check(monkeypatch: pytest.MonkeyPatch, swap: Swap) -> list[str]:
    """Swap as soon as the links of a path were resolved."""
    original = os.path.realpath
    seen: list[str] = []

    def hooked(path: Any, **options: Any) -> Any:
        real = original(path, **options)
        if str(path).endswith("fox.png"):
            seen.append(str(path))
            swap()
        return real

    monkeypatch.setattr(os.path, "realpath", hooked)
    return seen


MOMENTS: dict[str, Callable[[pytest.MonkeyPatch, Swap], list[str]]] = {
    "after the check": swap_after_check,
    "before opening": swap_before_opening,
    "while opening": partial(swap_before_opening, name="fox.png"),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_swapped_path_never_leads_to_foreign_pixels(
    catalog: ImageCatalog,
    policy: ImportPolicy,
    picture: Path,
    swap: Swap,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allowed = hashlib.sha256(picture.read_bytes()).hexdigest()
    seen = MOMENTS[moment](monkeypatch, swap)
    try:
        record = (await resolve_reference(str(picture), catalog, policy)).record
        colour = tuple(read_pixels(record)[0, 0])
    except InvalidImageError:
        colour = ALLOWED
    assert seen
    assert colour == ALLOWED
    # Nothing foreign became known either.
    assert {image.sha256 for image in catalog.list_images()} <= {allowed}


async def test_what_is_shown_of_a_record_has_its_bytes(
    catalog: ImageCatalog, policy: ImportPolicy, picture: Path, swap: Swap
) -> None:
    record = (await resolve_reference(str(picture), catalog, policy)).record
    assert open_small(record.source, 64).getpixel((0, 0)) == ALLOWED
    swap()
    with pytest.raises(InvalidImageError, match="has changed since"):
        open_small(record.source, 64)


@pytest.mark.parametrize("moment", ["before opening", "while opening"])
async def test_a_source_of_search_reads_no_swapped_file(
    tmp_path: Path, picture: Path, swap: Swap, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents: list[bytes] = []

    def read_metadata(file: Any, path: Path) -> Any:
        contents.append(file.read())
        return None

    (source, *_) = (
        source
        for source in choose_sources(tmp_path / "output", [picture.parents[1]], read_metadata)
        if source.kind == "folders"
    )
    allowed = picture.read_bytes()
    seen = MOMENTS[moment](monkeypatch, swap)
    try:
        list(source.read(picture))
        shown = np.asarray(open_small(source.read_preview(picture, ""), 64))
        assert tuple(shown[0, 0]) == ALLOWED
    except (DrawThingsError, OSError):
        pass
    assert seen
    assert contents in ([], [allowed])


def test_links_inside_of_the_folders_work_and_no_link_does_where_none_may_be(
    folder: Path, picture: Path, tmp_path: Path
) -> None:
    link = folder / "link.png"
    link.symlink_to(picture)
    with open_regular_file(link) as file:
        assert file.read() == picture.read_bytes()
    with open_regular_file(picture, follows_links=False) as file:
        assert file.read() == picture.read_bytes()
    with pytest.raises(InvalidImageError, match="replaced by a link"):
        open_regular_file(link, follows_links=False)


async def test_a_link_to_an_allowed_file_is_followed(
    catalog: ImageCatalog, policy: ImportPolicy, folder: Path, picture: Path
) -> None:
    (folder / "way").symlink_to(picture.parent)
    record = (await resolve_reference(str(folder / "way" / "fox.png"), catalog, policy)).record
    assert record.path == picture


async def test_a_swapped_project_is_not_opened(tmp_path: Path, folder: Path) -> None:
    from tests.search.projects.builder import Builder

    project = folder / "trip.sqlite3"
    foreign = tmp_path / "private.sqlite3"
    for path in (project, foreign):
        Builder(path).close()
    with ProjectFile(project):
        pass
    project.unlink()
    project.symlink_to(foreign)
    with pytest.raises(DrawThingsError, match="link"), ProjectFile(project):
        pass


@pytest.mark.parametrize("call", ["stat", "lstat"])
async def test_a_folder_that_may_not_be_entered_is_a_sentence(
    catalog: ImageCatalog, policy: ImportPolicy, generated: ImageRecord, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    original = getattr(os, call)

    def refuse(path: Any, *args: Any, **options: Any) -> Any:
        if str(path) == str(generated.path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *args, **options)

    monkeypatch.setattr(os, call, refuse)
    monkeypatch.setattr(os, "open", refuse_open(str(generated.path)))
    with pytest.raises(InvalidImageError, match=r"cannot be read \(Permission denied\); check the path"):
        await resolve_reference(str(generated.path), catalog, policy)


def refuse_open(refused: str) -> Callable[..., int]:
    """``os.open`` that may not open a file by its name."""
    original = os.open

    def open_file(path: Any, *args: Any, **options: Any) -> int:
        if Path(os.fsdecode(path)).name == Path(refused).name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path, *args, **options)

    return open_file


async def test_links_that_cannot_be_resolved_are_a_sentence(
    catalog: ImageCatalog, policy: ImportPolicy, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Any, **_: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os.path, "realpath", refuse)
    with pytest.raises(InvalidImageError, match=r"cannot be read \(Permission denied\)"):
        await resolve_reference(str(picture), catalog, policy)
