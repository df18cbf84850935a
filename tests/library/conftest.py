"""A picture to save, and a way to run code in other processes at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drawthings_mcp.generation import ImageGenerationConfig, ResultImage


@pytest.fixture
def image() -> ResultImage:
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    configuration = ImageGenerationConfig(model="z_image_turbo_1.0_q8p.ckpt", seed=42, steps=8)
    return ResultImage(pixels, "a red fox", "blurry", configuration)


@pytest.fixture
def run_twice() -> Callable[[str, Path], list[str]]:
    """Runs a script in two processes that start their work together; the lines of both."""

    def run(script: str, folder: Path) -> list[str]:
        command = [sys.executable, "-c", f"import sys; folder = sys.argv[1]\n{script}", str(folder)]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        lines = []
        for process in processes:
            output, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            lines += output.split("\n")[:-1]
        return lines

    return run
