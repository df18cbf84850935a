"""Pictures that a call starts from: however many and large they are, one of them is in memory in full."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drawthings_mcp.tensors.png import encode_png

SIDE, COUNT = 3072, 8
DECODED_MIB = SIDE * SIDE * 4 / (1 << 20)
"""Of one picture while it is decoded; its pixels take three quarters of that."""
PROGRAM = """
import json, sys
from pathlib import Path
import anyio
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.studio import open_studio

def read_peak():
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(words[1]) for words in lines if words[0] == "VmHWM:") / 1024

async def main(folder):
    settings = Settings(server="demo", output_dir=folder / "out", state_dir=folder / "state", input_dirs=(folder,))

    async def plan(paths):
        names = tuple(map(str, paths))
        params = GenerateParams(prompt="all", model="qwen-image", width=512, height=512, moodboard=names)
        return await studio.plan(params)

    async with open_studio(settings) as studio:
        await plan([folder / "small.png"])
        before = read_peak()
        made = await plan(sorted(folder.glob("large-*.png")))
        (hint,) = made.requests[0].hints
        print(json.dumps([read_peak() - before, [tensor.tensor.shape[:2] for tensor in hint.tensors]]))

anyio.run(main, Path(sys.stdin.read()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process since its beginning")
def test_of_many_large_references_one_is_in_memory(tmp_path: Path) -> None:
    for number in range(COUNT):
        data = encode_png(np.full((SIDE, SIDE, 3), 20 * number, np.uint8))
        (tmp_path / f"large-{number}.png").write_bytes(data)
    (tmp_path / "small.png").write_bytes(encode_png(np.zeros((64, 64, 3), np.uint8)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=str(tmp_path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    peak, shapes = json.loads(done.stdout)
    assert shapes == [[512, 512]] * COUNT
    assert peak < 3 * DECODED_MIB  # all eight took more than six times as much
