"""Copies for others: what they carry, where they go, and that nothing is ever overwritten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp.types import CallToolResult
from PIL import Image, PngImagePlugin

from drawthings_mcp.metadata.reading import read_image_metadata, read_metadata
from tests.calls import text_of

LATITUDE = b"\x34\x12\x00\x00\x07\x00\x00\x00"
PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" exif:GPSLatitude="48,7.5N" photoshop:City="Ulm">
<exif:GPSLongitude>9,59.1E</exif:GPSLongitude><dc:creator>Photographer</dc:creator>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def path_in(result: CallToolResult) -> Path:
    assert not result.is_error, text_of(result)
    found = re.search(r"(/.+\.(?:jpe?g|webp|png)) \d+×", text_of(result))
    assert found is not None, text_of(result)
    return Path(found[1])


@pytest.fixture
def inputs(tmp_path: Path, server_environment: dict[str, str]) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    server_environment["DRAWTHINGS_INPUT_DIRS"] = str(folder)
    return folder


@pytest.fixture
def photo(inputs: Path) -> str:
    """From a phone: turned, with a position in EXIF, in XMP and in the notes of the maker."""
    image = Image.fromarray(np.arange(96 * 64 * 3, dtype=np.uint8).reshape(64, 96, 3) // 4)
    exif = image.getexif()
    exif[0x0112], exif[0x010F], exif[0x0110] = 6, "Phone", "Phone 7"
    exif.get_ifd(0x8769)[0x9003] = "2026:05:04 03:02:01"
    exif.get_ifd(0x8769)[0x927C] = b"Maker\0\1" + LATITUDE
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 7.0, 30.0), 3: "E", 4: (9.0, 59.0, 6.0)})
    image.save(inputs / "walk.jpg", exif=exif, xmp=PACKET.encode())
    assert read_image_metadata(inputs / "walk.jpg", with_position=True).position is not None
    return str(inputs / "walk.jpg")


def read_everything(path: Path) -> str:
    """All that a file carries besides its pixels, as one text."""
    with Image.open(path) as image:
        exif = image.getexif()
        tags = {**exif, **exif.get_ifd(0x8769), **exif.get_ifd(0x8825)}
        return f"{tags} {image.info}"


@pytest.mark.parametrize("ending", ["jpg", "webp", "png"])
async def test_a_photo_keeps_its_metadata_but_for_the_place(in_process: Any, photo: str, ending: str) -> None:
    async with in_process(server="demo") as client:
        arguments = {"operation": "export", "images": [photo], "filename": f"for-you.{ending}"}
        result = await client.call_tool("transform_image", arguments)
    path = path_in(result)
    assert "note: position data removed" in text_of(result)
    told = read_image_metadata(path, with_position=True)
    assert told.position is None
    assert told.camera == "Phone 7"
    assert f"{told.created:%d %H:%M:%S}" == "04 03:02:01"
    assert (told.width, told.height) == (64, 96)  # upright
    everything = read_everything(path)
    assert "Photographer" in everything
    for word in ("GPS", "48,7", "9,59", "Ulm", "48.125"):
        assert word not in everything
    assert LATITUDE not in path.read_bytes()


@pytest.mark.parametrize("ending", ["jpg", "webp", "png"])
async def test_a_generated_picture_says_how_it_was_made_unless_told_otherwise(in_process: Any, ending: str) -> None:
    async with in_process(server="demo") as client:
        await client.call_tool("generate_image", {"prompt": "a red fox", "seed": 7, "width": 256, "height": 256})
        export = {"operation": "export", "images": ["v1"], "filename": f"fox.{ending}"}
        told = read_metadata(path_in(await client.call_tool("transform_image", export)))
        silent = path_in(await client.call_tool("transform_image", {**export, "keep_metadata": False}))
    assert told is not None
    assert (told.prompt, told.seed) == ("a red fox", 7)
    assert told.configuration is not None
    assert silent.name == f"fox-2.{ending}"
    assert read_metadata(silent) is None
    assert "fox" not in read_everything(silent)


async def test_pictures_of_every_kind_are_exported_under_their_own_names(
    in_process: Any, photo: str, server_environment: dict[str, str]
) -> None:
    async with in_process(server="demo", search_dirs=str(Path(photo).parent)) as client:
        call = client.call_tool
        await call("generate_image", {"prompt": "a red fox", "seed": 7, "width": 256, "height": 256})
        await call("transform_image", {"operation": "crop", "images": ["v1"], "boxes": [0, 0, 0.5, 0.5]})
        found = await call("search_images", {"query": "walk", "source": "folders"})
        assert "p1" in text_of(found)
        kinds = {"v1": r".*_a-red-fox_s7", "i1": "i1_crop", "p1": "walk"}
        for name, stem in kinds.items():
            path = path_in(await call("transform_image", {"operation": "export", "images": [name]}))
            assert path.parent == Path(server_environment["DRAWTHINGS_OUTPUT_DIR"]) / "Exports"
            assert re.fullmatch(stem, path.stem)
            with Image.open(path) as image:
                assert image.format == "JPEG"
        # Copies are not found beside their originals, and are none of the library's.
        again = await call("search_images", {"query": "fox"})
        assert "Exports" not in text_of(again)
        assert len(re.findall(r"^[vp]\d+ ", text_of(again), re.M)) == 1


async def test_texts_that_a_format_has_no_place_for_are_named_and_places_in_texts_are_left_out(
    in_process: Any, inputs: Path
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a wolf\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x64")
    texts.add_itxt("workflow", '{"nodes": []}')
    texts.add_text("Comment", "taken at GPSLatitude: 48.125")
    texts.add_text("Raw profile type exif", "\nexif\n 8\n4578696600000000")
    texts.add_text("Title", "Wölfe")
    Image.new("RGB", (64, 64)).save(inputs / "wolf.png", pnginfo=texts)
    async with in_process(server="demo") as client:
        export = {"operation": "export", "images": [str(inputs / "wolf.png")]}
        as_webp = await client.call_tool("transform_image", {**export, "format": "webp"})
        as_png = await client.call_tool("transform_image", {**export, "filename": "wolf.png"})
    assert "note: webp has no place for Title; png keeps them" in text_of(as_webp)
    assert "workflow" in read_everything(path_in(as_webp))
    for path in (path_in(as_webp), path_in(as_png)):
        metadata = read_image_metadata(path)
        assert (metadata.prompt, metadata.seed, metadata.steps) == ("a wolf", 5, 20)
        assert "48.125" not in read_everything(path)
        assert b"4578696600000000" not in path.read_bytes()
    with Image.open(path_in(as_png)) as image:
        assert image.info["Title"] == "Wölfe"


async def test_nothing_is_overwritten_and_no_name_leads_out(
    in_process: Any, photo: str, tmp_path: Path, server_environment: dict[str, str]
) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    for made in (folder, other):
        made.mkdir()
    (folder / "poster.jpg").write_text("mine")
    (folder / "link").symlink_to(other, target_is_directory=True)
    async with in_process(server="demo", export_dirs=str(folder)) as client:

        async def export(filename: str) -> CallToolResult:
            arguments = {"operation": "export", "images": [photo], "filename": filename}
            result: CallToolResult = await client.call_tool("transform_image", arguments)
            return result

        assert path_in(await export("poster.jpg")) == folder / "poster-2.jpg"
        assert path_in(await export("prints/a3")) == folder / "prints" / "a3.jpg"
        assert path_in(await export(str(folder / "b.webp"))) == folder / "b.webp"
        for outside in ("../x.jpg", f"{other}/x.jpg", "link/x.jpg", "~/x.jpg", "prints/../../x.jpg"):
            refused = await export(outside)
            assert refused.is_error
            assert f"filename: leads out of the folders for exports: {folder}." in text_of(refused)
        for wrong in ("x.tiff", ".jpg", ".hidden", "a:b", "a\u0000b.jpg", "x" * 300):
            refused = await export(wrong)
            assert refused.is_error, wrong
            assert text_of(refused).startswith("filename: ") or "filename: " in text_of(refused)
        clash = {"operation": "export", "images": [photo], "filename": "x.jpg", "format": "png"}
        assert "which is not png" in text_of(await client.call_tool("transform_image", clash))
    assert (folder / "poster.jpg").read_text() == "mine"
    assert not list(other.iterdir())
    assert not (tmp_path / "x.jpg").exists()


async def test_clear_parts_stay_clear_by_default_and_become_white_in_jpeg(in_process: Any, inputs: Path) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:16] = (200, 0, 0, 255)
    Image.fromarray(pixels).save(inputs / "cut.png")
    async with in_process(server="demo") as client:
        export = {"operation": "export", "images": [str(inputs / "cut.png")]}
        clear = path_in(await client.call_tool("transform_image", export))
        flat = await client.call_tool("transform_image", {**export, "format": "jpeg"})
    with Image.open(clear) as image:
        assert np.array_equal(np.asarray(image), pixels)
    assert "note: clear parts of a1 are white: JPEG has none" in text_of(flat)
    with Image.open(path_in(flat)) as image:
        assert np.asarray(image)[31, 31].min() >= 250
