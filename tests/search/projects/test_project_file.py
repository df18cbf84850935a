"""What is read from a project is what its format says (formats §5)."""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawthings_mcp.errors import DrawThingsError, InvalidImageError, InvalidInputError, StorageError
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.search.projects.project_file import ProjectFile, format_reference, parse_reference
from drawthings_mcp.search.projects.rows import ProjectEntry
from tests.search.projects.builder import DEFLATE, FPZIP, RAW, Builder, edit, lora

CREATED = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
FIRST = ProjectEntry(
    1,
    ImageMetadata(
        dialect="draw-things",
        width=1024,
        height=768,
        prompt="picture 0",
        negative_prompt="blurry",
        model="z_image_turbo_1.0_q8p.ckpt",
        loras=(("ink_lora_f16.ckpt", 0.4), ("grain_lora_f16.ckpt", 0.6)),
        seed=4294967295,
        steps=8,
        guidance_scale=1.0,
        sampler="UniPC Trailing",
        strength=0.7,
        created=CREATED,
        software="Draw Things",
    ),
    prompt_is_inferred=False,
    has_image=False,
)


def _list(project: Builder, since: int = 0) -> list[ProjectEntry]:
    with ProjectFile(project.path) as file:
        return list(file.list_entries(since))


def _prompts(project: Builder) -> list[str]:
    return [entry.metadata.prompt for entry in _list(project)]


def _jpeg(colour: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8), colour).save(stream, "JPEG")
    return stream.getvalue()


def test_a_row_of_a_newer_app_is_read_whole(project: Builder) -> None:
    project.add_node()
    assert _list(project) == [FIRST]


def test_an_entry_tells_the_same_metadata_as_any_picture(project: Builder) -> None:
    project.add_node()
    (metadata,) = [entry.metadata for entry in _list(project)]
    assert (metadata.dialect, metadata.prompt, metadata.seed, metadata.loras) == (
        "draw-things",
        "picture 0",
        2**32 - 1,
        FIRST.metadata.loras,
    )
    assert (metadata.width, metadata.height, metadata.created, metadata.sampler) == (
        1024,
        768,
        CREATED,
        "UniPC Trailing",
    )


def test_a_row_that_is_almost_empty_has_defaults(project: Builder) -> None:
    project.add("tensorhistorynode", (0, 0), {})
    (entry,) = _list(project)
    assert entry == ProjectEntry(
        1,
        ImageMetadata(
            "draw-things",
            0,
            0,
            seed=0,
            steps=0,
            guidance_scale=0.0,
            sampler="DPM++ 2M Karras",
            strength=0.0,
            software="Draw Things",
        ),
        prompt_is_inferred=True,
        has_image=False,
    )


def test_only_generated_pictures_and_first_frames_are_listed(project: Builder) -> None:
    project.add_node(0, 0, slot_23=("bool", True))
    project.add_node(0, 1, slot_23=("bool", False))
    project.add_node(0, 2, slot_100=("i64", 7), slot_101=("i32", 0))
    project.add_node(0, 3, slot_100=("i64", 7), slot_101=("i32", 1))
    project.add("clip", (7,), {1: ("i32", 81), 2: ("f64", 24.0)})
    assert [(entry.metadata.prompt, entry.frames) for entry in _list(project)] == [("picture 0", 1), ("picture 2", 81)]


def test_what_has_the_same_preview_is_listed_once(project: Builder) -> None:
    for time, preview in enumerate((5, 5, 6, 0, 0)):
        project.add_node(0, time, slot_41=("i64", preview))
    assert _prompts(project) == ["picture 0", "picture 2", "picture 3", "picture 4"]


def test_old_rows_with_the_same_tensor_are_listed_once(project: Builder) -> None:
    for time in range(2):
        project.add_node(0, time, slot_9=("i64", 100_000_001), slot_10=("i64", 300_000_000))
    assert _prompts(project) == ["picture 0"]


def test_what_came_since_is_listed(project: Builder) -> None:
    for time in range(1200):  # more than one transaction reads
        project.add_node(0, time)
    assert [entry.id for entry in _list(project)] == list(range(1, 1201))
    assert [entry.id for entry in _list(project, since=1198)] == [1199, 1200]
    assert _list(project, since=1200) == []


def test_a_picture_that_was_deleted_is_reported(project: Builder) -> None:
    for time in range(3):
        project.add_node(0, time)
    project.database.execute("DELETE FROM tensorhistorynode WHERE rowid = 2")
    with ProjectFile(project.path) as file:
        assert [(entry.id, entry.metadata.prompt) for entry in file.list_entries()] == [
            (1, "picture 0"),
            (3, "picture 2"),
        ]
        for read in (file.read_image, file.read_thumbnail):
            with pytest.raises(InvalidImageError, match="#2 is not there any more"):
                read(2)


@pytest.mark.parametrize("clock", [1_790_000_000, 1_790_000_000_000_000])
def test_time_is_in_seconds_or_microseconds(project: Builder, clock: int) -> None:
    project.add_node(0, 0, slot_11=("i64", clock))
    assert _list(project)[0].metadata.created == datetime.fromtimestamp(1_790_000_000, UTC)


@pytest.mark.parametrize("clock", [-5, 0, 2**62])
def test_a_time_that_makes_no_sense_is_none(project: Builder, clock: int) -> None:
    project.add_node(0, 0, slot_11=("i64", clock))
    assert _list(project)[0].metadata.created is None


def test_the_last_layer_with_a_picture_counts(project: Builder) -> None:
    project.add_node(0, 0, slot_40=("i32", 3))
    project.add_layer(0, 0, 0, 100_000_000, (640, 640))
    project.add_layer(0, 0, 2, 0, (1, 1))
    project.add_layer(0, 0, 1, 100_000_001, (2048, 1536))
    project.add_tensor(100_000_000, np.zeros((1, 2, 2, 3), np.float16))
    project.add_tensor(100_000_001, np.ones((1, 4, 6, 3), np.float16))
    (entry,) = _list(project)
    assert (entry.metadata.width, entry.metadata.height, entry.has_image) == (2048, 1536, True)
    with ProjectFile(project.path) as file:
        assert file.read_image(1).shape == (4, 6, 3)
        assert (file.read_image(1) == 255).all()


TENSOR = np.linspace(-1, 1, 8 * 8 * 3).reshape(1, 8, 8, 3)


@pytest.mark.parametrize("codec", [RAW, DEFLATE, FPZIP], ids=["raw", "deflate", "fpzip"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("dims", [8, 12])
def test_pictures_of_every_codec_are_decoded(project: Builder, codec: int, dtype: Any, dims: int) -> None:
    tensor = TENSOR.astype(dtype)
    project.add_node(0, 0, slot_9=("i64", 100_000_000))
    project.add_tensor(100_000_000, tensor, codec, dims=dims)
    with ProjectFile(project.path) as file:
        pixels = file.read_image(1)
    expected = np.clip(np.floor((tensor[0].astype(np.float64) + 1) * 127.5), 0, 255)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(float) - expected).max() <= 1


def test_a_picture_with_alpha_has_four_channels(project: Builder) -> None:
    tensor = np.ones((1, 4, 4, 4), np.float16)
    tensor[..., 0] = 0.5  # alpha comes first, as on the wire
    project.add_node(0, 0, slot_9=("i64", 100_000_000))
    project.add_tensor(100_000_000, tensor, DEFLATE)
    with ProjectFile(project.path) as file:
        pixels = file.read_image(1)
    assert pixels.shape == (4, 4, 4)
    assert (pixels[0, 0, :3] == 255).all()
    assert 126 <= pixels[0, 0, 3] <= 128


@pytest.mark.parametrize(
    "change",
    [
        "type = 0x511 << 32 | 1",
        "data = x'00'",
        "dim = x''",
        "datatype = 0x40000",
        "format = 9",
        "type = 0xF7217 << 32 | 1",
    ],
)
def test_a_picture_that_cannot_be_decoded_is_one_sentence(project: Builder, change: str) -> None:
    project.add_node(0, 0, slot_9=("i64", 100_000_000))
    project.add_tensor(100_000_000, TENSOR.astype(np.float16))
    project.database.execute(f"UPDATE tensors SET {change}")
    with (
        ProjectFile(project.path) as file,
        pytest.raises(InvalidImageError, match="damaged, or from a newer Draw Things"),
    ):
        file.read_image(1)


def test_a_picture_that_was_thrown_away_is_reported(project: Builder) -> None:
    project.add_node(0, 0, slot_9=("i64", 100_000_000))
    with ProjectFile(project.path) as file:
        assert [entry.has_image for entry in file.list_entries()] == [False]
        with pytest.raises(
            InvalidImageError, match=r"#1 is in the history, but its picture is not in the file any more"
        ):
            file.read_image(1)


def test_thumbnails_are_the_apps_own_bytes(project: Builder) -> None:
    project.add_node(0, 0, slot_41=("i64", 77))
    project.add_node(0, 1, slot_9=("i64", 100_000_000), slot_10=("i64", 300_000_005))
    project.add_node(0, 2, slot_41=("i64", 78))
    project.add_thumbnail(77, _jpeg(10), half=False)
    project.add_thumbnail(77, _jpeg(20), half=True)
    project.add_thumbnail(400_000_005, _jpeg(30), half=False)
    with ProjectFile(project.path) as file:
        assert file.read_thumbnail(1) == _jpeg(20)
        assert file.read_thumbnail(1, full=True) == _jpeg(10)
        assert file.read_thumbnail(2) == _jpeg(30)
        assert file.read_thumbnail(3) is None


def test_a_thumbnail_is_found_in_a_damaged_row(project: Builder) -> None:
    project.add_node(0, 0, slot_41=("i64", 77))
    row = b"\xff" * 16 + _jpeg(20) + b"tail"
    project.database.execute("INSERT INTO thumbnailhistoryhalfnode (__pk0, p) VALUES (77, ?)", (row,))
    with ProjectFile(project.path) as file:
        assert file.read_thumbnail(1) == _jpeg(20)


def _add_old_node(project: Builder, time: int, edits: int, lineage: int = 3) -> int:
    return project.add_node(
        0,
        time,
        slot_98=None,
        slot_99=None,
        slot_12=("i64", edits),
        slot_13=("i64", lineage),
        slot_41=("i64", 900 + time),
    )


def test_prompts_of_older_rows_are_replayed_in_utf_16(project: Builder) -> None:
    edits = [edit(0, 1, "🦊 fox"), edit(6, 0, " in snow"), edit(0, 4, "dull", negative=True), edit(99, 99, "!")]
    project.add(
        "texthistorynode",
        (3, 1),
        {2: ("i64", 50), 3: ("str", "a"), 4: ("str", "blur"), 5: ("tables", edits)},
    )
    for time, count in enumerate((50, 51, 52, 53, 54, 60)):
        _add_old_node(project, time, count)
    assert [(entry.metadata.prompt, entry.metadata.negative_prompt) for entry in _list(project)] == [
        ("a", "blur"),
        ("🦊 fox", "blur"),
        ("🦊 fox in snow", "blur"),
        ("🦊 fox in snow", "dull"),
        ("🦊 fox in snow!", "dull"),
        ("🦊 fox in snow!", "dull"),
    ]


def test_a_lineage_of_texts_may_be_an_alias(project: Builder) -> None:
    project.add("textlineagenode", (3,), {1: ("i64", 4)})
    project.add("textlineagenode", (4,), {1: ("i64", 5)})
    project.add("texthistorynode", (5, 0), {3: ("str", "found")})
    project.add("texthistorynode", (6, 0), {3: ("str", "of another")})
    _add_old_node(project, 0, 0)
    assert _prompts(project) == ["found"]


def test_aliases_in_a_circle_end(project: Builder) -> None:
    project.add("textlineagenode", (3,), {1: ("i64", 4)})
    project.add("textlineagenode", (4,), {1: ("i64", 3)})
    project.add("texthistorynode", (9, 0), {3: ("str", "of the highest lineage")})
    _add_old_node(project, 0, 0)
    assert _prompts(project) == ["of the highest lineage"]


def test_a_row_without_any_text_infers_it_from_the_one_before(project: Builder) -> None:
    project.add_node(0, 1)
    project.add_node(0, 2, slot_98=None, slot_99=None)
    project.add_node(7, 9, slot_98=None, slot_99=None)
    assert [(entry.metadata.prompt, entry.prompt_is_inferred) for entry in _list(project)] == [
        ("picture 1", False),
        ("picture 1", True),
        ("", True),
    ]


def test_loras_without_a_file_are_left_out(project: Builder) -> None:
    project.add_node(0, 0, slot_30=("tables", [lora(""), lora("Ü 漢字.ckpt", -1.25)]))
    assert _list(project)[0].metadata.loras == (("Ü 漢字.ckpt", -1.25),)


def test_a_project_that_lacks_tables_still_lists(project: Builder) -> None:
    project.add_node(0, 0, slot_9=("i64", 100_000_000), slot_40=("i32", 1), slot_100=("i64", 3))
    for table in (
        "tensordata",
        "thumbnailhistorynode",
        "thumbnailhistoryhalfnode",
        "texthistorynode",
        "clip",
        "tensors",
    ):
        project.database.execute(f"DROP TABLE {table}")
    assert _prompts(project) == ["picture 0"]
    with ProjectFile(project.path) as file:
        assert file.read_thumbnail(1) is None


def test_what_is_no_project_is_refused(tmp_path: Path, project: Builder) -> None:
    for content in (b"", b"SQLite format 3\0", b"hello, this is a text and no database"):
        (tmp_path / "a.sqlite3").write_bytes(content)
        with (
            pytest.raises(InvalidInputError, match="not a project of Draw Things"),
            ProjectFile(tmp_path / "a.sqlite3"),
        ):
            pass
    project.database.execute("DROP TABLE tensorhistorynode")
    with pytest.raises(InvalidInputError, match="a database, but not a project"), ProjectFile(project.path):
        pass


def test_a_view_in_place_of_the_history_is_no_project(project: Builder) -> None:
    project.database.execute("DROP TABLE tensorhistorynode")
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS rowid, x AS __pk0, x AS p FROM n"
    )
    project.database.execute(f"CREATE VIEW tensorhistorynode AS {endless}")
    with pytest.raises(InvalidInputError, match="not a project"), ProjectFile(project.path):
        pass


def test_a_project_of_a_newer_app_says_so(project: Builder) -> None:
    project.database.execute("ALTER TABLE tensorhistorynode RENAME COLUMN p TO q")
    with pytest.raises(StorageError, match="newer Draw Things than is known here"), ProjectFile(project.path):
        pass


def test_a_project_that_is_gone_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"gone\.sqlite3 cannot be read: No such file"),
        ProjectFile(tmp_path / "gone.sqlite3"),
    ):
        pass


def test_a_damaged_project_is_one_sentence(project: Builder) -> None:
    for time in range(200):
        project.add_node(0, time)
    project.close()
    data = bytearray(project.path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    project.path.write_bytes(data)
    with pytest.raises(StorageError, match="cannot be read"), ProjectFile(project.path) as file:
        list(file.list_entries())


@settings(max_examples=150)
@given(data=st.data())
def test_a_row_may_be_damaged_anywhere(project: Builder, data: st.DataObject) -> None:
    with project.database:
        project.database.execute("DELETE FROM tensorhistorynode")
    project.add_node(0, 0, slot_98=None, slot_12=("i64", 3), slot_13=("i64", 1), slot_40=("i32", 1))
    blob = bytearray(project.database.execute("SELECT p FROM tensorhistorynode").fetchone()[0])
    for place in data.draw(st.lists(st.integers(0, len(blob) - 1), max_size=6)):
        blob[place] = data.draw(st.integers(0, 255))
    cut = bytes(blob[: data.draw(st.integers(0, len(blob)))])
    project.database.execute("UPDATE tensorhistorynode SET p = ?", (cut,))
    with ProjectFile(project.path) as file:
        for entry in file.list_entries():
            with suppress(DrawThingsError):
                file.read_image(entry.id)


def test_a_reference_names_one_picture(project: Builder) -> None:
    text = format_reference(project.path, 12)
    assert text.startswith("project:///")
    assert text.endswith("/F%C3%BCchse%20%231.sqlite3#12")
    assert parse_reference(text) == (project.path, 12)


@pytest.mark.parametrize(
    "text", ["", "v3", "project://a#1", "project:///a", "project:///a#0", "project:///a#x", "file:///a#1"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="project:///path"):
        parse_reference(text)
