"""Recorded payloads, pictures to work on, and processes that end with the test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.tensors.fpzip_pool import FpzipPool

GOLDEN = Path(__file__).parents[1] / "golden" / "tensors"


@pytest.fixture
def golden() -> Callable[[str], bytes]:
    """Reads a recorded payload by its name."""

    def read(name: str) -> bytes:
        return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())

    return read


@pytest.fixture
def golden_digest() -> Callable[[str], str]:
    """Finds the recorded SHA-256 of a payload by its name."""

    def find(name: str) -> str:
        lines = (GOLDEN / "sha256.txt").read_text().splitlines()
        return {known: digest for digest, known in map(str.split, lines)}[name]

    return find


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """A 48×64 picture with every level in every channel, in three different orders."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([y * 64 + x, y * 5 + x * 3, 7 * x ^ 3 * y], axis=-1).astype(np.uint8)


@pytest.fixture
def pool() -> Iterator[FpzipPool]:
    """Decoder processes of the test's own."""
    pool = FpzipPool()
    yield pool
    pool.close()


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in an interpreter of its own, with every warning an error."""

    def run(program: str, text: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(program)
        return subprocess.run(
            [sys.executable, "-W", "error", *options, str(script)],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    return run
