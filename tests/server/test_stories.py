"""Continuous stories: what is shown, in which order, how much it weighs, and never the same twice."""

from __future__ import annotations

import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from mcp import Client
from mcp.types import BlobResourceContents, CallToolResult, ImageContent, ResourceLink
from PIL import Image

from drawthings_mcp.metadata.reading import read_metadata
from tests.calls import text_of

pytestmark = pytest.mark.anyio

MOST = 900_000


class Chat:
    """A client that keeps what it was shown."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.shown: list[list[str]] = []

    async def call(self, tool: str, **arguments: Any) -> CallToolResult:
        with anyio.fail_after(60):
            result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, text_of(result)
        assert len(result.model_dump_json(by_alias=True, exclude_none=True)) <= MOST
        shown = shown_in(result)
        assert sum(isinstance(block, ImageContent) for block in result.content) == len(shown)
        self.shown.append(shown)
        return result


def shown_in(result: CallToolResult) -> list[str]:
    """The ids of the pictures in a result, in order; those of a sheet joined."""
    (line,) = re.findall(r"^shown.*$", text_of(result), re.M)
    shown = line.partition(": ")[2].partition(";")[0]
    return re.findall(r"\[sheet of [^]]+\]|\b[avpi]\d+\b", shown)


def pictures_in(result: CallToolResult) -> list[Image.Image]:
    blocks = [block for block in result.content if isinstance(block, ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(block.data))) for block in blocks]


def draw_photo(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (640, 480)) -> str:
    """A photo that came from a phone: turned by its EXIF, with a position."""
    image = Image.new("RGB", size, colour)
    exif = image.getexif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 1.0)
    image.save(path, exif=exif)
    return str(path)


def is_red(pixels: np.ndarray) -> np.ndarray:
    """Where a mask is drawn: red beyond what simulated pictures and photos of the tests have."""
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    return np.asarray((red > 130) & (red - np.maximum(green, blue) > 50))


@pytest.fixture
def photos(tmp_path: Path, server_environment: dict[str, str]) -> tuple[str, str]:
    folder = tmp_path / "photos"
    folder.mkdir()
    server_environment["DRAWTHINGS_INPUT_DIRS"] = str(folder)
    return draw_photo(folder / "red.jpg", (200, 30, 30)), draw_photo(folder / "blue.jpg", (30, 30, 200))


async def test_from_two_photos_to_a_sheet_of_six(over_stdio: Any, photos: tuple[str, str]) -> None:
    first, second = photos
    async with over_stdio("--server", "demo") as client:
        chat = Chat(client)
        edit = await chat.call("generate_image", prompt="put the hat on her", canvas=first, moodboard=[second])
        assert "from canvas a1, moodboard a2" in text_of(edit)
        assert [picture.size for picture in pictures_in(edit)][:2] == [(480, 640), (480, 640)]  # upright
        await chat.call("generate_image", prompt="a hat shop", variants=3, width=512, height=512)
        await chat.call("generate_image", prompt="a red hat", canvas="v2", moodboard=["a1"], width=512, height=512)
        await chat.call("review_image", images=["v1"])
        mask = await chat.call("transform_image", operation="mask_rectangle", images=["v4"], boxes=[[0, 0, 0.5, 0.5]])
        assert "note: i1 is shown in red on v4" in text_of(mask)
        red = is_red(np.asarray(pictures_in(mask)[0]))
        height, width = red.shape
        assert red[: height // 2 - 4, : width // 2 - 4].mean() > 0.95
        assert red[height // 2 :, width // 2 :].mean() < 0.5
        inpaint = await chat.call("generate_image", prompt="a blue feather", canvas="v4", mask="I1", seed=3)
        assert text_of(inpaint).splitlines()[0] == "from canvas v4, mask i1 (red on the canvas)"
        await chat.call("transform_image", operation="contact_sheet", images=["a1", "a2", "v1", "v2", "v3", "v6"])
    assert chat.shown == [
        ["a1", "a2", "v1"],
        ["v2", "v3", "v4"],
        ["v5"],  # v2 and a1 were shown before
        ["v1"],
        ["i1"],
        ["v6"],
        ["i2"],
    ]


async def test_lineage_is_kept_in_files_and_catalog(
    in_process: Any, photos: tuple[str, str], server_environment: dict[str, str]
) -> None:
    async with in_process(server="demo") as client:
        chat = Chat(client)
        await chat.call("generate_image", prompt="night", canvas=photos[0], width=256, height=256)
        await chat.call("generate_image", prompt="dawn", canvas="latest", width=256, height=256, seed=7)
        reviewed = text_of(await chat.call("review_image", images=["v2", "a1"]))
    assert reviewed.splitlines()[-1] == "v2: “dawn” seed 7 from canvas v1"
    (dawn,) = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*dawn*.png")
    metadata = read_metadata(dawn)
    assert metadata is not None
    assert metadata.record["parents"] == [["canvas", "v1"]]


async def test_a_request_with_many_variants_and_inputs_stays_within_two_and_three(
    in_process: Any, photos: tuple[str, str]
) -> None:
    async with in_process(server="demo") as client:
        chat = Chat(client)
        await chat.call("generate_image", prompt="one", width=256, height=256)
        result = await chat.call(
            "generate_image",
            prompt="a group",
            canvas="v1",
            moodboard=list(photos),
            variants=4,
            width=256,
            height=256,
        )
    # v1 was shown as an output; of the four new ones the last place holds the two oldest.
    assert chat.shown[1] == ["a1", "a2", "v4", "v5", "[sheet of v2 v3]"]
    assert "already shown: v1" in text_of(result)


async def test_the_same_picture_is_known_again_by_every_name(in_process: Any, photos: tuple[str, str]) -> None:
    data = "data:image/jpeg;base64," + base64.b64encode(Path(photos[0]).read_bytes()).decode()
    async with in_process(server="demo") as client:
        chat = Chat(client)
        texts = [
            text_of(await chat.call("review_image", images=[reference]))
            for reference in (photos[0], f"file://{photos[0]}", data, "latest:a", "A1")
        ]
        made = await chat.call("generate_image", prompt="x", width=256, height=256)
        saved = Path(photos[0]).with_name("from the chat.jpg")
        (block,) = [block for block in made.content if isinstance(block, ImageContent)]
        saved.write_bytes(base64.b64decode(block.data))
        mapped = await chat.call("review_image", images=[str(saved)])
    assert {text.partition(":")[0] for text in texts} == {"a1"}
    assert text_of(mapped).startswith("v1: ")


async def test_previews_carry_no_metadata(in_process: Any, photos: tuple[str, str]) -> None:
    async with in_process(server="demo") as client:
        result = await Chat(client).call("generate_image", prompt="x", canvas=photos[0], width=256, height=256)
    for picture in pictures_in(result):
        assert not picture.getexif()
        assert not {"exif", "xmp", "icc_profile", "comment"} & picture.info.keys()


async def test_pictures_are_resources_with_completed_ids(
    in_process: Any, photos: tuple[str, str], server_environment: dict[str, str]
) -> None:
    from mcp import MCPError
    from mcp.types import BlobResourceContents, ResourceTemplateReference

    async with in_process(server="demo") as client:
        await Chat(client).call("generate_image", prompt="x", canvas=photos[0], width=256, height=256)
        (original,) = (await client.read_resource("image://v1")).contents
        (preview,) = (await client.read_resource("image://a1/preview")).contents
        (photo,) = (await client.read_resource("image://A1")).contents
        template = ResourceTemplateReference(uri="image://{id}")
        ids = (await client.complete(template, {"name": "id", "value": ""})).completion.values
        templates = [found.uri_template for found in (await client.list_resource_templates()).resource_templates]
        with pytest.raises(MCPError, match=r"There is no picture “v9”; the nearest are v1"):
            await client.read_resource("image://v9")
    (file,) = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png")
    assert isinstance(original, BlobResourceContents)
    assert isinstance(preview, BlobResourceContents)
    assert isinstance(photo, BlobResourceContents)
    assert base64.b64decode(original.blob) == file.read_bytes()
    assert base64.b64decode(photo.blob) == Path(photos[0]).read_bytes()
    assert (original.mime_type, photo.mime_type, preview.mime_type) == ("image/png", "image/jpeg", "image/jpeg")
    assert Image.open(io.BytesIO(base64.b64decode(preview.blob))).size == (480, 640)
    assert ids == ["v1", "a1"]
    assert {"image://{id}", "image://{id}/preview"} <= set(templates)


async def test_ids_live_on_in_the_next_session_and_what_it_saw_does_not(
    over_stdio: Any, photos: tuple[str, str]
) -> None:
    for session in range(2):
        async with over_stdio("--server", "demo") as client:
            chat = Chat(client)
            await chat.call("generate_image", prompt="x", canvas=photos[0], width=256, height=256)
            assert chat.shown == [["a1", f"v{session + 1}"]]


async def test_a_mask_of_another_size_is_refused_in_the_words_of_the_tool(
    in_process: Any, photos: tuple[str, str]
) -> None:
    white, clear = (Path(photos[0]).with_name(name) for name in ("white.png", "clear.png"))
    Image.new("RGB", (100, 90), "white").save(white)
    picture = Image.open(photos[0]).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 100, 100))
    picture.save(clear)
    async with in_process(server="demo") as client:
        with anyio.fail_after(60):
            refused = await client.call_tool("generate_image", {"prompt": "x", "canvas": photos[0], "mask": str(white)})
        painted = await Chat(client).call("generate_image", prompt="x", canvas=str(clear), width=256, height=256)
    assert refused.is_error
    assert text_of(refused).startswith("mask: is 100x90; it must have the size of canvas, 480x640, or the size that is")
    assert "note: Parts of canvas are clear: they are painted" in text_of(painted)


async def test_what_cannot_be_used_gets_one_sentence(in_process: Any, photos: tuple[str, str], tmp_path: Path) -> None:
    secret = draw_photo(tmp_path / "secret.jpg", (0, 0, 0))
    cases = [
        ("generate_image", {"prompt": "x", "canvas": "v7"}, "canvas: There is no picture “v7”"),
        ("generate_image", {"prompt": "x", "canvas": secret}, "canvas: "),
        ("generate_image", {"prompt": "x", "moodboard": ["http://127.0.0.1/x.png"]}, "moodboard: "),
        ("generate_image", {"prompt": "x", "canvas": "my photo.jpg"}, "There is no picture “my photo.jpg”"),
        ("review_image", {"images": []}, "name 1 to 5 pictures"),
        ("review_image", {"images": ["latest"] * 6}, "images: takes at most 5 items, got 6"),
        ("review_image", {"images": ["latest"], "max_edge": 4000}, "max_edge: must be from 256 to 1568"),
        ("review_image", {"sight": "ABCD"}, "no test picture was shown yet"),
        ("transform_image", {"operation": "rotate", "images": ["a1"]}, "operation: must be 'crop'"),
        ("transform_image", {"operation": "crop", "images": [photos[0]]}, "boxes: crop takes one box"),
        ("transform_image", {"operation": "side_by_side", "images": [photos[0]]}, "takes 2 different images, got 1"),
        ("transform_image", {"operation": "crop", "images": ["a1"], "boxes": [[0, 0, 9000, 9000]]}, "boxes: "),
    ]
    async with in_process(server="demo") as client:
        for tool, arguments, words in cases:
            with anyio.fail_after(60):
                result = await client.call_tool(tool, arguments)
            assert result.is_error, arguments
            assert words in text_of(result), text_of(result)
            assert len(text_of(result).replace(str(tmp_path), "")) < 400
            assert "\n" not in text_of(result)


async def test_a_resource_is_what_was_recorded_and_nothing_that_took_its_place(
    in_process: Any, photos: tuple[str, str], tmp_path: Path
) -> None:
    from mcp import MCPError

    secret = tmp_path / "secret.txt"
    secret.write_text("nobody's picture")
    async with in_process(server="demo") as client:
        await Chat(client).call("review_image", images=list(photos))
        Path(photos[0]).unlink()
        Path(photos[0]).symlink_to(secret)
        Path(photos[1]).write_bytes(b"something else")
        for uri in ("image://a1", "image://a1/preview", "image://a2", "image://a2/preview"):
            with pytest.raises(MCPError, match=r"has changed since it became a\d"):
                await client.read_resource(uri)


async def test_an_original_too_large_for_a_message_is_named_instead_of_sent(
    in_process: Any, photos: tuple[str, str]
) -> None:
    from mcp import MCPError

    large = Path(photos[0]).with_name("large.bmp")
    Image.new("RGB", (3600, 3000)).save(large)
    async with in_process(server="demo") as client:
        await Chat(client).call("review_image", images=[str(large)])
        with pytest.raises(MCPError, match=r"a1 has 32 MB, too many for a message; read image://a1/preview, or open"):
            await client.read_resource("image://a1")
        (preview,) = (await client.read_resource("image://a1/preview")).contents
    assert preview.mime_type == "image/jpeg"


async def test_long_paths_leave_room_for_the_line_that_says_what_is_shown(
    in_process: Any, photos: tuple[str, str]
) -> None:
    folder = Path(photos[0]).parent.joinpath(*(f"{'a long name of a folder ' * 4}{n}" for n in range(3)))
    folder.mkdir(parents=True)
    paths = [draw_photo(folder / f"{n}.jpg", (40 * n, 0, 0), (64, 48)) for n in range(5)]
    async with in_process(server="demo") as client:
        result = await Chat(client).call("review_image", images=paths)
    lines = text_of(result).splitlines()
    assert lines[0] == f"in {folder}:"
    assert lines[1:6] == [f"a{n}: {n - 1}.jpg 48×64" for n in range(1, 6)]
    assert lines[6].startswith("shown: outputs a1 a2 a3 a4 a5 (5/5)")


async def test_pictures_are_understood_as_small_models_name_them(in_process: Any, photos: tuple[str, str]) -> None:
    async with in_process(server="demo") as client:
        chat = Chat(client)
        await chat.call("review_image", images=list(photos))
        for images in (
            "a1",
            "a1, A2",
            ["a1, a2"],
            '["a1"]',
            ["image a1"],
            ["#a1"],
            ["a1.png"],
            ["[a1]"],
            ["Image: a1"],
        ):
            await chat.call("review_image", images=images)
        size = {"width": 256, "height": 256}
        await chat.call("generate_image", prompt="x", canvas=["a1"], moodboard="a2", mask="null", **size)
        await chat.call("generate_image", prompt="x", canvas="none", moodboard=["None"], mask=[], **size)
        for boxes in ([0, 0, 48, 64], "[0, 0, 48, 64]", "0, 0, 48, 64", ["0,0,48,64"], [[0, 0, 48, 64]]):
            await chat.call("transform_image", operation="crop", images="a1", boxes=boxes)
        corner = {"x": 0, "y": 0, "width": 48, "height": 64}
        for named in (corner, [corner], [{"x": 0, "y": 0, "w": 0.1, "h": 0.1}], {"x1": 0, "y1": 0, "x2": 48, "y2": 64}):
            cut = await chat.call("transform_image", operation="crop", images="a1", boxes=named)
            assert "48×64" in text_of(cut)
        edges = {"left": 0, "top": 0, "right": 48, "bottom": 64}
        crop = await chat.call("transform_image", operation="crop", images=["a1"], boxes=[edges])
    both, one = ["a1", "a2"], ["a1"]
    assert chat.shown[1:10] == [one, both, both, one, one, one, one, one, one]
    assert chat.shown[10:12] == [["v1"], ["v2"]]
    assert "i10: " in text_of(crop)
    assert "i10_crop.png 48×64" in text_of(crop)


async def test_a_mask_is_judged_on_its_picture_also_after_it_was_changed(
    over_stdio: Any, photos: tuple[str, str]
) -> None:
    async with over_stdio("--server", "demo") as client:
        chat = Chat(client)
        box = {"x": 0.25, "y": 0.25, "width": 0.5, "height": 0.5}
        made = await chat.call("transform_image", operation="mask_rectangle", images=[photos[1]], boxes=[box], grow=40)
        grown = is_red(np.asarray(pictures_in(made)[0])).mean()
        assert grown == pytest.approx(320 * 400 / (480 * 640), abs=0.02)
        inverted = await chat.call("transform_image", operation="invert_mask", images=["i1"], feather=10)
        assert is_red(np.asarray(pictures_in(inverted)[0])).mean() == pytest.approx(1 - grown, abs=0.05)
        shrunk = await chat.call("transform_image", operation="adjust_mask", images=["i2"], grow=-8, columns=3)
        assert "note: i3 is shown in red on a1" in text_of(shrunk)
        assert "note: adjust_mask does not use columns" in text_of(shrunk)
        reviewed = await chat.call("review_image", images=["i3", "a1"])
        assert is_red(np.asarray(pictures_in(reviewed)[0])).any()
        assert not is_red(np.asarray(pictures_in(reviewed)[1])).any()
        zoomed = await chat.call("review_image", images=["i3"], box=box, max_edge=512)
        assert pictures_in(zoomed)[0].size == (384, 512)
        assert "i3 is shown from 120,160 to 360,480, enlarged 1.6 times" in text_of(zoomed)
        refused = await client.call_tool("review_image", {"images": ["a1"], "box": [0, 0, 900, 10]})
        assert refused.is_error
        assert "box: [0, 0, 900, 10] has no pixel, or some outside" in text_of(refused)


async def test_sheets_are_labelled_as_asked_and_stand_as_strips(in_process: Any, photos: tuple[str, str]) -> None:
    async with in_process(server="demo") as client:
        chat = Chat(client)
        two = {"operation": "contact_sheet", "images": list(photos)}
        strip = await chat.call("transform_image", **two, columns=1, labels=[], long_edge=4096)
        assert "492×1298" in text_of(strip)
        lying = await chat.call("transform_image", **two, columns=2, labels=["Vorher", "Nachher"], long_edge=4096)
        assert "978×" in text_of(lying)
        tiny = await client.call_tool("transform_image", {**two, "long_edge": 20})
        assert "long_edge: a sheet has at least 256 pixels, got 20." in text_of(tiny)
        refused = await client.call_tool("transform_image", {**two, "labels": ["one"]})
        assert "labels: one for each of the 2 different images, or [] for none; got 1." in text_of(refused)
        shape = {"operation": "resize", "images": ["a1"], "width": 100, "height": 100}
        asked = await client.call_tool("transform_image", shape)
        assert "fit: says how: 100×100 pixels have another shape than the picture, 480×640." in text_of(asked)
        assert "100×100" in text_of(await chat.call("transform_image", **shape, fit="pad"))


async def test_a_client_that_takes_links_gets_one_to_each_original(in_process: Any, photos: tuple[str, str]) -> None:
    async def list_links(name: str, version: str) -> list[str]:
        async with in_process(server="demo", name=name, version=version) as client:
            result = await Chat(client).call("generate_image", prompt="x", width=256, height=256, variants=2)
            cut = await Chat(client).call("transform_image", operation="crop", images="v1", boxes=[0, 0, 0.5, 0.5])
            blocks = [block for block in (*result.content, *cut.content) if isinstance(block, ResourceLink)]
            for block in blocks:
                contents = (await client.read_resource(block.uri)).contents[0]
                assert isinstance(contents, BlobResourceContents)
                assert len(base64.b64decode(contents.blob)) == block.size
            return [f"{block.uri} {block.mime_type}" for block in blocks]

    linked = ["image://v1 image/png", "image://v2 image/png", "image://i1 image/png"]
    assert await list_links("Visual Studio Code", "1.107.1") == linked
    assert await list_links("google-adk", "2.13.0") == []


async def test_a_picture_is_ready_for_print_in_two_calls(over_stdio: Any, server_environment: dict[str, str]) -> None:
    async with over_stdio("--server", "demo") as client:
        chat = Chat(client)
        await chat.call("generate_image", prompt="a fox by the sea", width=768, height=512, steps=2)
        printed = await chat.call("transform_image", operation="upscale", images=["latest"], long_edge=1748)  # A6
    assert chat.shown == [["v1"], ["v2"]]
    assert re.search(r"^v2: .+ 1748×1165 seed \d+$", text_of(printed), re.M)


async def test_a_grid_of_nine_is_one_call_and_a_comic_of_four_panels_two(over_stdio: Any) -> None:
    size = {"width": 256, "height": 256, "steps": 2}
    async with over_stdio("--server", "demo") as client:
        grid = Chat(client)
        sweep = {"guidance_scale": [1, 4, 7], "seed": [1, 2, 3]}
        tried = await grid.call("generate_image", prompt="a fox by the sea", sweep=sweep, **size)
        comic = Chat(client)
        panels = [f"a red fox {what}, ink drawing" for what in ("wakes up", "finds a key", "opens a door", "laughs")]
        await comic.call("generate_image", prompts=panels, **size)
        page = await comic.call(
            "transform_image", operation="contact_sheet", images=[f"v{n}" for n in range(10, 14)], labels=[], columns=2
        )
        strip = await comic.call("transform_image", operation="contact_sheet", images=["v10", "v11", "v12"], columns=1)
    assert grid.shown == [["i1"]]
    assert text_of(tried).startswith("v1–v9: ")
    assert comic.shown == [["i2"], ["i3"], ["i4"]]
    ((width, height),) = re.findall(r"(\d+)×(\d+), contact_sheet", text_of(strip))
    assert int(width) > 256, "the panels of a strip are not made small"
    assert int(height) > 3 * 256
    (shown,) = pictures_in(page)
    assert shown.width == shown.height


async def test_like_one_but_blue_is_one_call_and_shows_only_blue_ones(over_stdio: Any) -> None:
    things = ["a blue fox by the sea", "a green fox in a meadow", "a blue vase on a table", "a red vase on a table"]
    things += ["a blue house at night", "two foxes in the snow", "children at the beach", "a red fox by the sea"]
    async with over_stdio("--server", "demo") as client:
        await Chat(client).call("generate_image", prompts=things, width=256, height=256, steps=2)
    for arguments in (
        {"like": "v8", "query": "like v8 but blue"},
        {"like": "v8", "query": "blau"},
        {"query": "like v8 but blue"},
    ):
        async with over_stdio("--server", "demo") as client:
            found = text_of(await Chat(client).call("search_images", **arguments))
        assert set(re.findall(r"^(v\d+) • ", found, re.M)) == {"v1", "v3", "v5"}
        assert "note: " not in found


async def test_the_two_photos_of_a_chat_are_one_call(
    over_stdio: Any, server_environment: dict[str, str], tmp_path: Path
) -> None:
    attached = tmp_path / "home" / ".lmstudio" / "user-files"
    attached.mkdir(parents=True)
    server_environment["HOME"] = str(tmp_path / "home")
    for stamp, name, colour in ((1770514213626, "beach.jpg", (200, 180, 90)), (1770514213627, "dog.jpg", (90, 60, 30))):
        path = attached / f"{stamp} - {name}"
        draw_photo(path, colour)
        os.utime(path, (stamp / 1000, stamp / 1000))
    async with over_stdio("--server", "demo") as client:
        chat = Chat(client)
        edit = await chat.call(
            "generate_image", prompt="put the dog of picture 2 on the beach", canvas="latest:a2", moodboard=["latest:a"]
        )
        by_name = await chat.call("review_image", images=["dog.jpg", "beach.jpg"])
    assert chat.shown == [["a1", "a2", "v1"], ["a2", "a1"]]
    assert text_of(edit).startswith("from canvas a1, moodboard a2")
    assert "latest:a2 is a guess: the second newest attachment in LM Studio, “1770514213626 - beach.jpg”" in text_of(
        edit
    )
    assert np.asarray(pictures_in(by_name)[0]).mean() < np.asarray(pictures_in(by_name)[1]).mean()


async def test_a_poster_its_final_after_an_edit_and_its_export_are_a_call_each(
    over_stdio: Any, server_environment: dict[str, str]
) -> None:
    async with over_stdio("--server", "demo") as client:
        chat = Chat(client)
        text = 'poster, a red fox in the snow, large title "WINTER" above it'
        await chat.call("generate_image", prompt=text, image_format="portrait", steps=1)
        await chat.call("generate_image", prompt="make it night; keep everything else", canvas="latest")
        final = await chat.call("transform_image", operation="upscale", images=["latest"], long_edge=1600)
        exported = await client.call_tool(
            "transform_image", {"operation": "export", "images": ["latest"], "filename": "winter", "format": "webp"}
        )
    assert chat.shown == [["v1"], ["v2"], ["v3"]]
    assert text_of(final).startswith("from canvas v2\nv3: ")
    (file,) = Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]).joinpath("Exports").iterdir()
    assert text_of(exported).startswith(f"v3: {file} 1040×1600 webp")
    with Image.open(file) as copy:
        assert (copy.size, copy.format) == ((1040, 1600), "WEBP")


async def test_a_part_of_a_large_photo_is_repainted_in_two_calls(over_stdio: Any, photos: tuple[str, str]) -> None:
    large = draw_photo(Path(photos[0]).with_name("large.jpg"), (60, 90, 140), (1800, 2400))
    async with over_stdio("--server", "demo") as client:
        chat = Chat(client)
        box = {"x": 0.4, "y": 0.4, "width": 0.2, "height": 0.2}
        await chat.call("transform_image", operation="mask_rectangle", images=[large], boxes=[box], feather=16)
        repainted = await chat.call("generate_image", prompt="a red balloon", canvas="latest:a", mask="latest:i")
    assert chat.shown == [["i1"], ["a1", "v1"]]
    assert re.search(r"^v1: .+ 2400×1800 seed \d+$", text_of(repainted), re.M)
    assert "note: only " in text_of(repainted)
