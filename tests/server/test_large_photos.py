"""Inpainting of photos that are larger than a model draws: a part is rendered and put back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp.types import CallToolResult, TextContent
from PIL import Image

from drawthings_mcp.metadata.reading import read_metadata

SIZE = (1600, 1200)
BOX = (300, 200, 700, 500)


def text_of(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    assert not result.is_error, result.content[0].text
    return result.content[0].text


def path_of(result: CallToolResult, name: str) -> Path:
    found = re.search(rf"^{name}: (.+\.png)", text_of(result), re.M)
    assert found is not None, text_of(result)
    return Path(found[1])


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def photo(tmp_path: Path, server_environment: dict[str, str]) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    server_environment["DRAWTHINGS_INPUT_DIRS"] = str(folder)
    noise = np.random.default_rng(7).integers(0, 256, (SIZE[1] // 4, SIZE[0] // 4, 3), np.uint8)
    Image.fromarray(noise).resize(SIZE, Image.Resampling.NEAREST).save(folder / "photo.png")
    return folder / "photo.png"


@pytest.fixture
def call(in_process: Any, photo: Path) -> Any:
    """Makes a mask of a box as i1, then calls ``generate_image`` with the photo, both in one session."""

    async def generate(box: tuple[float, ...], **arguments: Any) -> CallToolResult:
        async with in_process(server="demo") as client:
            made = {"operation": "mask_rectangle", "images": [str(photo)], "boxes": [list(box)]}
            text_of(await client.call_tool("transform_image", {**made, **arguments.pop("edges", {})}))
            asked = {"prompt": "a red balloon", "canvas": "a1", "mask": "i1", "seed": 3, "model": "z-image", "steps": 1}
            result: CallToolResult = await client.call_tool("generate_image", {**asked, **arguments})
            return result

    return generate


async def test_only_a_region_is_rendered_and_all_else_stays_bit_for_bit(call: Any, photo: Path) -> None:
    result = await call(BOX)
    before, after = read(photo), read(path_of(result, "v1"))
    assert after.shape == before.shape
    left, top, right, bottom = BOX
    touched = np.zeros(before.shape[:2], np.bool_)
    touched[top:bottom, left:right] = True
    assert np.array_equal(after[~touched], before[~touched])
    inner = (slice(top + 20, bottom - 20), slice(left + 20, right - 20))
    assert (after[inner] != before[inner]).any(axis=2).mean() > 0.9
    change = np.abs(after.astype(int) - before)
    assert change[top : top + 2, left + 50 : right - 50].mean() < 0.7 * change[inner].mean()  # the seam
    assert "1600×1200 seed 3" in text_of(result)
    assert "only 1088×960 around the mask, from 0,0, is rendered, at 1088×960, and put back into 1600×1200" in text_of(
        result
    )
    assert not re.search("upscaled|cropped", text_of(result))
    assert text_of(result).startswith("from canvas a1, mask i1")
    metadata = read_metadata(path_of(result, "v1"))
    assert metadata is not None
    assert metadata.record["region"] == [0, 0, 1088, 960]
    assert metadata.record["size"] == "1600x1200"
    assert metadata.record["parents"] == [["canvas", "a1"], ["mask", "i1"]]
    assert metadata.configuration is not None
    assert (metadata.configuration.width, metadata.configuration.height) == (1088, 960)


async def test_a_region_larger_than_the_model_draws_is_scaled_there_and_back(call: Any, photo: Path) -> None:
    result = await call((0.1, 0.1, 0.9, 0.9))
    before, after = read(photo), read(path_of(result, "v1"))
    assert after.shape == before.shape
    assert np.array_equal(after[:120], before[:120])
    assert np.array_equal(after[:, 1440:], before[:, 1440:])
    assert (after[300:900, 400:1200] != before[300:900, 400:1200]).any(axis=2).mean() > 0.9
    assert re.search(r"only 1600×1200 around the mask, from 0,0, is rendered, at \d+×\d+", text_of(result))


async def test_the_seam_fades_within_the_mask_as_softly_as_that_is(call: Any, photo: Path) -> None:
    result = await call(BOX, edges={"feather": 60})
    before, after = read(photo).astype(int), read(path_of(result, "v1")).astype(int)
    row = np.abs(after - before).max(axis=2)[300:400].mean(axis=0)
    assert row[:200].max() == 0
    assert row[300:305].mean() < 0.8 * row[400:600].mean()
    assert row[330:340].mean() > 0.9 * row[400:600].mean()


@pytest.mark.parametrize(
    "asked", [{"width": 1216, "height": 832}, {"image_format": "3:2"}, {"configuration": {"width": 1216}}]
)
async def test_a_size_that_is_asked_for_is_that_of_the_whole_picture(call: Any, asked: dict[str, Any]) -> None:
    told = text_of(await call(BOX, **asked, dry_run=True))
    assert "is rendered, at" not in told
    assert re.search(r"^size 12\d\d×[89]\d\d", told, re.M)


async def test_a_dry_run_says_what_would_be_rendered(call: Any) -> None:
    told = text_of(await call(BOX, dry_run=True))
    assert "size 1088×960" in told
    assert "only 1088×960 around the mask" in told


async def test_the_recipe_says_which_region_it_was_and_repeats_it(in_process: Any, photo: Path) -> None:
    async with in_process(server="demo") as client:
        made = {"operation": "mask_rectangle", "images": [str(photo)], "boxes": [list(BOX)]}
        text_of(await client.call_tool("transform_image", made))
        asked = {"prompt": "a red balloon", "canvas": "a1", "mask": "i1", "model": "z-image", "steps": 1, "seed": 3}
        text_of(await client.call_tool("generate_image", asked))
        told = text_of(await client.call_tool("review_image", {"images": ["v1"], "settings": True}))
        assert "of the canvas only 0,0 to 1088,960 was rendered, and put back" in told
        again = {"settings_from": "v1", "canvas": "a1", "mask": "i1", "mode": "inpaint", "dry_run": True}
        assert "only 1088×960 around the mask" in text_of(await client.call_tool("generate_image", again))
