"""``upscale`` at the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (300, 200), (200, 60, 30)).save(path)
    return str(path)


def measure(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


async def test_a_file_becomes_as_large_as_a_print_needs(run: Any, photo: str, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        server = ("--server", simulator.address, "--tls", "off")
        card = await run("upscale", photo, "--print", "4x6", "--dpi", "100", "-o", str(tmp_path / "card.png"), *server)
        twice = await run("upscale", photo, "--json", *server)
    assert card.stdout == f"{tmp_path / 'card.png'}\n"
    assert measure(tmp_path / "card.png") == (600, 400)
    assert "note: enlarged 2 times by 4x_ultrasharp_f16.ckpt" in card.stderr
    (image,) = twice.document["images"]
    assert (image["width"], image["height"]) == (600, 400)
    assert measure(Path(image["path"])) == (600, 400)
    assert twice.document["mode"] == "upscale"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--print", "a0", "--dpi", "300"), "--dpi: a0 has 14043 pixels at 300 dpi, 8192 are the most: give 175"),
        (("--print", "a3", "--long-edge", "900"), "both say how large: give one of them"),
        (("--print", "a9"), "'a9' is not one of"),
        (("--dpi", "300"), "--dpi goes with --print"),
        (("--long-edge", "9000"), "9000 is not in the range"),
        (("-o", "large.jpg"), "end the name with .png"),
    ],
)
async def test_what_cannot_be_is_wrong_usage(invoke: Any, photo: str, arguments: tuple[str, ...], words: str) -> None:
    outcome = invoke("upscale", photo, *arguments)
    assert outcome.code == 2
    assert words in outcome.stderr


async def test_a_picture_that_is_large_already_is_left_alone(run: Any, photo: str) -> None:
    async with Simulator() as simulator:
        outcome = await run("upscale", photo, "--long-edge", "300", "--server", simulator.address, "--tls", "off")
    assert outcome.code == 1
    assert "--long-edge: the picture has 300×200 already; give more than 300, or resize it." in outcome.stderr
    assert not simulator.requests
