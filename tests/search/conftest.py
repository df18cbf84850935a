"""Pictures on disk that say what they are told to, and engines over them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.search.engine import SearchEngine
from drawthings_mcp.search.hits import HitPage
from drawthings_mcp.search.query import SearchArguments
from drawthings_mcp.settings import Settings

PATIENT = 60.0
"""Seconds that no search of these tests takes; none is waited for in vain."""


@dataclass(frozen=True)
class Picture:
    """A picture as the tests think of it."""

    prompt: str = ""
    model: str = ""
    seed: int = 1
    size: tuple[int, int] = (512, 512)
    day: str = "2025-06-01"
    lora: str = ""

    def write(self, path: Path) -> Path:
        """As a PNG file of one row of pixels that claims its size, with the text that A1111 writes."""
        lora = f" <lora:{self.lora}:0.8>" if self.lora else ""
        model = f", Model: {self.model}" if self.model else ""
        width, height = self.size
        text = f"{self.prompt}{lora}\nSteps: 20, Sampler: Euler a, Seed: {self.seed}, Size: {width}x{height}{model}"
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"iTXt", b"parameters\0\0\0\0\0" + text.encode()), (b"IEND", b""))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_build_chunk(*chunk) for chunk in chunks))
        when = datetime.fromisoformat(f"{self.day}T12:00:00").timestamp()
        os.utime(path, (when, when))
        return path


def _build_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def paint(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], prompt: str = "") -> Path:
    """A picture that can be looked at."""
    info = PngImagePlugin.PngInfo()
    if prompt:
        info.add_text("parameters", f"{prompt}\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 8x8")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, pnginfo=info if path.suffix == ".png" else None)
    return path


@dataclass
class Desk:
    """A state folder, folders to search, and what one asks of them."""

    folder: Path
    more: list[Path] = field(default_factory=list)

    @property
    def output(self) -> Path:
        """Our own library."""
        return self.folder / "output"

    @property
    def pictures(self) -> Path:
        """A folder that is searched."""
        return self.folder / "pictures"

    @property
    def state(self) -> Path:
        """Where catalog and index are."""
        return self.folder / "state"

    @property
    def settings(self) -> Settings:
        return Settings(output_dir=self.output, search_dirs=(self.pictures, *self.more), state_dir=self.state)

    @property
    def catalog(self) -> ImageCatalog:
        return ImageCatalog(self.state)

    def engine(self, **options: object) -> SearchEngine:
        """An engine as a new process would have it."""
        return SearchEngine(self.settings, self.catalog, **{"budget": PATIENT, "fresh_for": 0.0, **options})  # type: ignore[arg-type]

    async def search(self, query: str = "", **arguments: object) -> HitPage:
        """What a new process finds."""
        return await self.engine().search(SearchArguments(query, **arguments))  # type: ignore[arg-type]

    async def names(self, query: str = "", **arguments: object) -> list[str]:
        """The names of the files that it finds."""
        return [Path(row.place).name for row in (await self.search(query, **arguments)).hits]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    made.output.mkdir()
    made.pictures.mkdir()
    return made


@pytest.fixture
def start_script() -> Iterator[Callable[[str, Sequence[object]], subprocess.Popen[str]]]:
    """Starts Python code in a process of its own, which says ``ready`` and waits for a line."""
    with ExitStack() as stack:

        def start(script: str, arguments: Sequence[object]) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script, *map(str, arguments)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield start
