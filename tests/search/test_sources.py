"""What is indexed, and what happens to it afterwards: moved, changed, copied, deleted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.metadata.reading import read_image_metadata_from
from drawthings_mcp.search.database import open_index, open_tags
from drawthings_mcp.search.engine import SearchEngine
from drawthings_mcp.search.folders import FolderSource, choose_sources
from drawthings_mcp.search.indexing import run_indexing
from drawthings_mcp.search.query import SearchArguments
from drawthings_mcp.search.source import NONE_KNOWN, Entry, KnownFolders, Listing
from tests.search.conftest import Desk, Picture, paint

pytestmark = pytest.mark.anyio


@dataclass
class Counting:
    """A folder of pictures that remembers what was read of it."""

    root: Path
    kind: str = "folders"
    read_names: list[str] = field(default_factory=list)

    def is_there(self) -> bool:
        return self.root.is_dir()

    def list_folders(self, known: KnownFolders = NONE_KNOWN) -> Iterator[Listing]:
        return self._folder.list_folders(known)

    def read(self, path: Path) -> Iterator[Entry]:
        self.read_names.append(path.name)
        return self._folder.read(path)

    def find_place(self, path: Path, key: str) -> str | None:
        return self._folder.find_place(path, key)

    def read_preview(self, path: Path, key: str) -> Path:
        return path

    @property
    def _folder(self) -> FolderSource:
        return FolderSource("folders", self.root, lambda _, path: ImageMetadata("plain", 8, 8, prompt=path.read_text()))


async def test_only_what_is_new_or_changed_is_read(desk: Desk) -> None:
    source = Counting(desk.pictures)
    (desk.pictures / "fox.png").write_text("a fox")
    (desk.pictures / "cat.png").write_text("a cat")
    engine = desk.engine(sources=[source])
    await engine.search(SearchArguments())
    await engine.search(SearchArguments())
    assert sorted(source.read_names) == ["cat.png", "fox.png"]
    (desk.pictures / "cat.png").write_text("a striped tiger")
    (desk.pictures / "dog.png").write_text("a dog")
    source.read_names.clear()
    assert (await engine.search(SearchArguments("tiger"))).total == 1
    assert sorted(source.read_names) == ["cat.png", "dog.png"]
    assert (await engine.search(SearchArguments("cat -tiger"))).total == 0


async def test_a_moved_file_is_found_at_its_new_place_without_being_read_again(desk: Desk) -> None:
    source = Counting(desk.pictures)
    (desk.pictures / "fox.png").write_text("a vixen")
    engine = desk.engine(sources=[source])
    (before,) = (await engine.search(SearchArguments("vixen"))).hits
    (desk.pictures / "2025").mkdir()
    (desk.pictures / "fox.png").rename(desk.pictures / "2025" / "holiday.png")
    source.read_names.clear()
    (after,) = (await engine.search(SearchArguments("vixen holiday"))).hits
    assert after.place == str(desk.pictures / "2025" / "holiday.png")
    assert after.id == before.id
    assert source.read_names == []
    assert (await engine.search(SearchArguments('"fox pictures"'))).total == 0


async def test_a_deleted_picture_is_gone_with_its_words(desk: Desk) -> None:
    Picture("a quokka smiling").write(desk.pictures / "one.png")
    Picture("a lemur").write(desk.pictures / "sub" / "two.png")
    engine = desk.engine()
    assert (await engine.search(SearchArguments())).total == 2
    (desk.pictures / "one.png").unlink()
    shutil.rmtree(desk.pictures / "sub")
    assert (await engine.search(SearchArguments())).total == 0
    # No correction leads to a word that is in no picture any more.
    assert (await engine.search(SearchArguments("quoka"))).hits == ()


async def test_a_picture_that_was_deleted_since_is_dropped_before_the_limit(desk: Desk) -> None:
    for number in range(6):
        Picture(f"walrus {number}", day=f"2025-01-0{number + 1}").write(desk.pictures / f"{number}.png")
    await desk.engine().index()
    for number in (5, 4, 2):
        (desk.pictures / f"{number}.png").unlink()
    engine = desk.engine(budget=0.0)
    result = await engine.search(SearchArguments("walrus", limit=2))
    assert [Path(row.place).name for row in result.hits] == ["3.png", "1.png"]
    rest = await engine.search(SearchArguments("walrus", limit=2, offset=2))
    assert [Path(row.place).name for row in rest.hits] == ["0.png"]


async def test_copies_are_one_hit_until_the_last_is_gone(desk: Desk) -> None:
    first = Picture("an axolotl").write(desk.pictures / "axolotl.png")
    second = Path(shutil.copy(first, desk.pictures / "axolotl copy.png"))
    result = await desk.search("axolotl")
    assert [row.place for row in result.hits] == [str(first)]
    first.unlink()
    again = await desk.search("axolotl")
    assert [(row.place, row.id) for row in again.hits] == [(str(second), result.hits[0].id)]
    second.unlink()
    assert (await desk.search("axolotl")).total == 0


async def test_files_that_differ_in_the_middle_only_are_two_pictures(desk: Desk) -> None:
    source = Counting(desk.pictures)
    for name in ("one", "two"):
        (desk.pictures / f"{name}.png").write_text("x" * 50_000 + name + "x" * 50_000)
    engine = desk.engine(sources=[source])
    assert (await engine.search(SearchArguments())).total == 2
    assert (await engine.search(SearchArguments())).total == 2


async def test_a_generated_picture_keeps_its_own_id_wherever_it_is_found(desk: Desk) -> None:
    path = Picture("a narwhal").write(desk.output / "narwhal.png")
    record = desk.catalog.add("v", path, created=datetime.now(UTC), width=512, height=512)
    shutil.copy(path, desk.pictures / "sent to me.png")
    Picture("a beluga").write(desk.pictures / "beluga.png")
    rows = (await desk.search()).hits
    assert {(Path(row.place).name, row.id, row.kind) for row in rows} == {
        ("narwhal.png", record.id, "generated"),
        ("beluga.png", "p1", "folders"),
    }
    assert await desk.names("narwhal", source="folders") == ["narwhal.png"]
    assert await desk.names(source="generated") == ["narwhal.png"]


async def test_the_same_picture_has_the_same_id_in_every_search(desk: Desk) -> None:
    for number in range(5):
        Picture(f"ibis {number}").write(desk.pictures / f"{number}.png")
    ids = {row.place: row.id for row in (await desk.search("ibis")).hits}
    Picture("ibis 9").write(desk.pictures / "9.png")
    for query in ("ibis 3", "ibis", "ibis 1"):
        for row in (await desk.search(query)).hits:
            assert ids.setdefault(row.place, row.id) == row.id
    assert len(set(ids.values())) == 6


async def test_hidden_files_links_and_other_files_are_left_alone(desk: Desk, tmp_path: Path) -> None:
    secret = Picture("secret").write(tmp_path / "elsewhere" / "secret.png")
    Picture("secret").write(desk.pictures / ".hidden" / "one.png")
    Picture("secret").write(desk.pictures / ".0123456789abcdef.part")
    Picture("secret").write(desk.pictures / "notes.txt")
    (desk.pictures / "link.png").symlink_to(secret)
    (desk.pictures / "round").symlink_to(desk.pictures)
    (desk.pictures / "out").symlink_to(secret.parent)
    os.mkfifo(desk.pictures / "pipe.png")
    (desk.pictures / "folder.png").mkdir()
    Picture("open").write(desk.pictures / "one.PNG")
    assert await desk.names() == ["one.PNG"]


async def test_a_picture_that_becomes_a_link_is_gone(desk: Desk, tmp_path: Path) -> None:
    secret = Picture("secret").write(tmp_path / "elsewhere" / "secret.png")
    path = Picture("an emu").write(desk.pictures / "emu.png")
    engine = desk.engine(fresh_for=3600.0)
    assert (await engine.search(SearchArguments("emu"))).total == 1
    path.unlink()
    path.symlink_to(secret)
    assert (await engine.search(SearchArguments("emu"))).hits == ()


async def test_a_folder_within_another_is_searched_once(desk: Desk) -> None:
    Picture("a heron").write(desk.pictures / "birds" / "heron.png")
    desk.more += [desk.pictures / "birds", desk.pictures / "birds" / "..", desk.output]
    Picture("a crane").write(desk.output / "crane.png")
    result = await desk.search()
    assert sorted((Path(row.place).name, row.kind) for row in result.hits) == [
        ("crane.png", "generated"),
        ("heron.png", "folders"),
    ]


async def test_a_folder_that_becomes_a_source_of_its_own_changes_hands(desk: Desk) -> None:
    Picture("a heron").write(desk.pictures / "own" / "heron.png")
    assert [row.kind for row in (await desk.search()).hits] == ["folders"]
    settings = desk.settings.model_copy(update={"output_dir": desk.pictures / "own"})
    engine = SearchEngine(settings, desk.catalog, budget=60.0)
    assert [row.kind for row in (await engine.search(SearchArguments())).hits] == ["generated"]
    assert (await engine.search(SearchArguments(source="folders"))).total == 0


async def test_a_folder_that_is_no_longer_searched_is_not_found(desk: Desk, tmp_path: Path) -> None:
    Picture("a stork").write(desk.pictures / "stork.png")
    Picture("a swan").write(tmp_path / "more" / "swan.png")
    desk.more.append(tmp_path / "more")
    assert (await desk.search()).total == 2
    desk.more.clear()
    assert await desk.names() == ["stork.png"]


async def test_a_folder_that_was_indexed_once_is_searched_until_it_is_forgotten(desk: Desk, tmp_path: Path) -> None:
    Picture("a swan").write(tmp_path / "more" / "swan.png")
    await desk.engine().index([tmp_path / "more"])
    assert await desk.names("swan") == ["swan.png"]
    await desk.engine().forget([tmp_path / "more"])
    assert await desk.names("swan") == []
    with open_index(desk.state).open() as connection:
        for table in ("pictures", "places", "files", "vocabulary"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


async def test_a_run_that_removes_what_is_gone_can_be_stopped(desk: Desk) -> None:
    for number in range(300):
        Picture(f"herd {number}").write(desk.pictures / f"{number}.png")
    await desk.engine().index()
    for path in desk.pictures.iterdir():
        path.unlink()
    index, tags = open_index(desk.state), open_tags(desk.state)
    sources = choose_sources(
        desk.output, [desk.pictures], lambda file, path: read_image_metadata_from(file, name=str(path))
    )
    asked = iter([False] * (len(sources) + 1))
    run_indexing(index, tags, sources, should_stop=lambda: next(asked, True))
    with index.open() as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (44,)
    run_indexing(index, tags, sources)
    with index.open() as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (0,)


async def test_what_is_gone_is_no_part_of_the_time_that_listing_took(desk: Desk) -> None:
    Picture("a heron").write(desk.pictures / "heron.png")
    await desk.engine().index()
    (desk.pictures / "heron.png").unlink()
    report = await desk.engine().index()
    assert report.listing_seconds < 60


async def test_outputs_of_comfyui_are_distinguished_from_its_other_folders(desk: Desk, tmp_path: Path) -> None:
    home = tmp_path / "ComfyUI"
    for part in ("custom_nodes", "models", "input"):
        Picture("not an output").write(home / part / "example.png")
    Picture("a ziggurat").write(home / "output" / "2025" / "ComfyUI_00001_.png")
    desk.more.append(home)
    (row,) = (await desk.search()).hits
    assert (row.metadata.prompt, row.kind) == ("a ziggurat", "comfyui")
    assert await desk.names("source:comfyui") == await desk.names(source="folders") == ["ComfyUI_00001_.png"]
    assert await desk.names("ziggurat -source:comfyui") == []


async def test_attachments_of_lm_studio_are_found_by_their_original_names(desk: Desk, tmp_path: Path) -> None:
    home = tmp_path / ".lmstudio"
    (home / "conversations").mkdir(parents=True)
    attachment = paint(home / "user-files" / "1770514213626 - 185.png", np.zeros((8, 8, 3), np.uint8))
    described = {"type": "image", "originalName": "Grandmother's garden.png", "fileIdentifier": attachment.name}
    attachment.with_name(f"{attachment.name}.metadata.json").write_text(json.dumps(described))
    for broken in ("{", "[]", '{"originalName": 3}', "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):
        other = paint(home / "user-files" / f"{abs(hash(broken))}.png", np.full((8, 8, 3), len(broken), np.uint8))
        other.with_name(f"{other.name}.metadata.json").write_text(broken)
    paint(home / "working-directories" / "123" / "result.png", np.full((8, 8, 3), 99, np.uint8))
    desk.more.append(home)
    (row,) = (await desk.search("grandmother garden")).hits
    assert (row.place, row.kind) == (str(attachment), "lm-studio")
    assert (await desk.search(source="folders")).total == 6


async def test_photos_without_words_are_found_by_name_folder_and_date(desk: Desk) -> None:
    photo = paint(desk.pictures / "Lisbon 2019" / "DSC_0042.jpg", np.zeros((8, 8, 3), np.uint8))
    when = datetime(2019, 5, 4, 12).timestamp()
    os.utime(photo, (when, when))
    for query in ("lisbon", "dsc 0042", "DSC_0042", "since:2019-05-04 until:2019-05-04", "lisbon until:2019"):
        assert await desk.names(query) == ["DSC_0042.jpg"], query
    assert await desk.names("since:2019-05-05") == []


async def test_a_video_is_one_hit_and_not_its_frames(desk: Desk) -> None:
    for number in range(1, 6):
        Picture(f"a running gnu {number}").write(desk.output / f"2025-06-01_gnu_s1-{number:04}.png")
    Picture("a gnu in 1985").write(desk.output / "gnu-1985.png")
    Picture("a gnu").write(desk.pictures / "gnu-0001.png")
    Picture("a gnu too").write(desk.pictures / "gnu-0002.png")
    assert sorted(await desk.names("gnu")) == [
        "2025-06-01_gnu_s1-0001.png",
        "gnu-0001.png",
        "gnu-0002.png",
        "gnu-1985.png",
    ]


async def test_who_looks_for_projects_learns_where_they_are(desk: Desk) -> None:
    assert "com.liuliu.draw-things" in (await desk.search(source="projects")).notes[0]
    desk.pictures.rmdir()
    desk.output.rmdir()
    assert "com.liuliu.draw-things" in " ".join((await desk.search(source="projects")).notes)


async def test_pictures_of_other_programs_are_found_by_their_prompts_and_models(desk: Desk) -> None:
    graph = {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a heron"}},
        "2": {
            "class_type": "KSampler",
            "inputs": {"seed": 1, "steps": 2, "cfg": 1, "sampler_name": "euler", "positive": ["1", 0]},
        },
    }
    texts = {
        "novelai": {"Software": "NovelAI", "Comment": json.dumps({"prompt": "an otter", "seed": 3})},
        "matrix": {"parameters-json": json.dumps({"PositivePrompt": "a badger", "ModelName": "ember_xl"})},
        "ruined": {"parameters": json.dumps({"Prompt": "a lynx", "software": "RuinedFooocus"})},
    }
    desk.pictures.mkdir(exist_ok=True)
    for name, pairs in texts.items():
        info = PngImagePlugin.PngInfo()
        for key, text in pairs.items():
            info.add_itxt(key, text)
        Image.new("RGB", (8, len(name))).save(desk.pictures / f"{name}.png", pnginfo=info)
    exif = Image.Exif()
    exif[0x9286] = json.dumps({"prompt": graph, "workflow": {}})
    Image.new("RGB", (8, 8)).save(desk.pictures / "comfy.jpg", exif=exif)
    queries = ("otter", "badger model:ember_xl", "lynx", "heron")
    assert [await desk.names(query) for query in queries] == [
        ["novelai.png"],
        ["matrix.png"],
        ["ruined.png"],
        ["comfy.jpg"],
    ]


async def test_links_to_other_folders_and_names_that_are_no_text_are_said_once(desk: Desk, tmp_path: Path) -> None:
    Picture("a fox").write(desk.pictures / "fox.png")
    elsewhere = tmp_path / "elsewhere"
    Picture("a hidden fox").write(elsewhere / "hidden.png")
    (desk.pictures / "album").symlink_to(elsewhere)
    (desk.pictures / "itself").symlink_to(desk.pictures)  # found anyway
    (desk.pictures / "gone").symlink_to(tmp_path / "nowhere")
    Picture("a fox of bytes").write(tmp_path / "bytes.png").rename(os.fsdecode(bytes(desk.pictures) + b"/\xff.png"))
    (desk.pictures / os.fsdecode(b"\xfe.txt")).touch()
    engine = desk.engine()
    page = await engine.search(SearchArguments("fox"))
    assert page.total == 1
    album = f"{desk.pictures / 'album'} is a link to another folder, which is not searched; index that folder once"
    names = f"Files in {desk.pictures} are left out, since their names are no UTF-8 text; rename them."
    assert len(page.notes) == 2
    assert page.notes[0].startswith(album)
    assert page.notes[1] == names
    assert (await engine.search(SearchArguments("fox"))).notes == ()
    report = await engine.index()
    assert report.links == [desk.pictures / "album"]
    assert len(report.list_skipped()) == 2
