"""Processes that write at once, and processes that are killed in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from drawthings_mcp.library.recovery import open_catalog
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.tensors.picture_files import hash_file

WORK = """
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from drawthings_mcp.generation import ResultImage, ImageGenerationConfig
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import keep_input, save_image
from drawthings_mcp.library.recovery import open_catalog
from drawthings_mcp.tensors.png import encode_png

state, output = Path(folder) / "state", Path(folder) / "output"
configuration = ImageGenerationConfig(model="m.ckpt", seed=1, steps=8)

def make_picture(catalog, number):
    pixels = np.full((8, 8, 3), number % 256, np.uint8)
    image = ResultImage(pixels, f"fox {number}", "", configuration.replace(seed=number))
    image_id = catalog.reserve("v", output)
    saved = save_image(image, output, "fox", extra={"id": image_id, "mode": "text2image"})
    return catalog.add(
        "v", saved.path, reserved=image_id, created=datetime.now(UTC), width=8, height=8, prompt=image.prompt,
        seed=number, sha256=saved.sha256, size_bytes=saved.size_bytes, format=saved.format,
        configuration=image.configuration.to_app_json(),
    ).id

def bring_in(catalog, number):
    data = encode_png(np.full((8, 8, 3), number % 256, np.uint8), str(number))
    path = keep_input(state, data, "PNG")
    return catalog.register_file("a", path, sha256=path.stem, size_bytes=len(data), created=datetime.now(UTC), width=8,
                         height=8).id
"""

TWO_HUNDRED = f"""{WORK}
import os
print("ready", flush=True)
sys.stdin.readline()
catalog = open_catalog(state, [output]).catalog
for number in range(200):
    print(make_picture(catalog, number + os.getpid() * 1000))
"""


@pytest.mark.slow
def test_two_processes_keep_two_hundred_pictures_each(
    run_twice: Callable[[str, Path], list[str]], tmp_path: Path
) -> None:
    ids = run_twice(TWO_HUNDRED, tmp_path)
    assert sorted(ids, key=lambda name: int(name[1:])) == [f"v{number}" for number in range(1, 401)]
    check_consistency(tmp_path, reported=set(ids))


KILLED = f"""{WORK}
import os, random, signal

def count_down(moment):
    # Every call and return counts, also those of C functions: links, syncs, statements of SQL.
    def profile(frame, event, argument):
        nonlocal moment
        moment -= 1
        if moment == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return profile

def run(moment):
    sys.setprofile(count_down(moment))
    catalog = open_catalog(state, [output]).catalog
    for number in range(1000):
        for work in (make_picture, bring_in):
            image_id = work(catalog, number + moment * 1000)
            os.write(1, f"{{image_id}}\\n".encode())

dice = random.Random(5)
for turn in range(100):
    # The first ones die while the catalog is made, later ones anywhere in their first pictures.
    moment = dice.randrange(1, 3_000 if turn < 20 else 80_000)
    child = os.fork()
    if child == 0:
        run(moment)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
"""


@pytest.mark.slow
def test_a_hundred_kills_cost_neither_a_picture_nor_an_id(tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import sys; folder = sys.argv[1]\n{KILLED}", str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert finished.returncode == 0, finished.stderr
    reported = finished.stdout.split()
    assert len(reported) == len(set(reported)) > 50  # how many calls a picture takes depends on the Python
    check_consistency(tmp_path, reported=set(reported))


def check_consistency(folder: Path, reported: set[str]) -> None:
    """Every picture has one row with its bytes and its id, and what was reported is there."""
    catalog = open_catalog(folder / "state", [folder / "output"]).catalog
    records = catalog.list_images()
    assert catalog.check() == len({record.id for record in records}) == len(records)
    assert reported <= {record.id for record in records}
    by_path = {record.path: record for record in records}
    pictures = list((folder / "output").glob("*.png"))
    assert {path for path in by_path if path is not None and path.parent == folder / "output"} == set(pictures)
    for path in pictures:
        metadata = read_metadata(path)
        assert metadata is not None
        assert metadata.record["id"] == by_path[path].id
        assert (metadata.prompt, metadata.seed) == (by_path[path].prompt, by_path[path].seed)
        with Image.open(path) as picture:
            picture.load()
    for record in records:
        assert record.path is not None
        with record.path.open("rb") as file:
            assert hash_file(file) == record.sha256
