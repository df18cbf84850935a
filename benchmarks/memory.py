"""One call with eight inputs of 8192×8192: what the process takes at its peak, planned and shown."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import numpy as np

from benchmarks.measurement import Measurement, measure_peak
from drawthings_mcp.attachments.budget import plan_attachments
from drawthings_mcp.attachments.encoding import encode
from drawthings_mcp.attachments.policy import Policy
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio
from drawthings_mcp.tensors.png import encode_png

SIDE = 8192
INPUTS = 8
_GOAL_MIB = 700e6 / (1 << 20)


def run() -> Iterator[Measurement]:
    """In a process of its own, so that no other measurement counts."""
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), SIDE)
        for canvas in ("", "0.png"):
            output = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", folder, canvas], check=True, capture_output=True, text=True
            ).stdout
            before, peak, seconds = map(float, output.split())
            name = f"{INPUTS} inputs of {SIDE}×{SIDE}{', one the canvas' * bool(canvas)}: peak"
            note = f"{before:.0f} MiB before; {seconds:.1f} s"
            yield Measurement(name, peak, "MiB", _GOAL_MIB, note)


def write_inputs(folder: Path, side: int) -> None:
    """Different pictures as PNG files."""
    for number in range(INPUTS):
        pixels = np.zeros((side, side, 3), np.uint8)
        pixels[:, : side // 2] = 10 * number, 100, 200
        (folder / f"{number}.png").write_bytes(encode_png(pixels))


async def make_call(folder: Path, canvas: str) -> None:
    """Plan an edit of all pictures in a folder, and show them."""
    settings = Settings(server="demo", output_dir=folder / "out", state_dir=folder / "state", input_dirs=(folder,))
    paths = sorted(folder.glob("*.png"))
    moodboard = tuple(str(path) for path in paths if path.name != canvas)
    params = GenerateParams(
        prompt="all of them", model="qwen-image", canvas=str(folder / canvas) if canvas else "", moodboard=moodboard
    )
    async with open_studio(settings) as studio:
        made = await studio.plan(params)
        assert sum(len(hint.tensors) for hint in made.requests[0].hints) >= len(moodboard)
        found = await studio.gallery.find([str(path) for path in paths])
        policy = Policy(max_inputs=INPUTS)
        shown = plan_attachments(found.pictures, (), frozenset(), policy)
        sources = {picture.id: picture.source for picture in found.pictures}
        await anyio.to_thread.run_sync(encode, shown, sources, policy, 2_000)


async def _main() -> None:
    before, start = measure_peak(), time.monotonic()
    await make_call(Path(sys.argv[1]), sys.argv[2])
    print(before, measure_peak(), time.monotonic() - start)


if __name__ == "__main__":
    anyio.run(_main)
