"""A catalog, folders that may be read, and pictures to put there."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.references.policy import ImportPolicy, build_policy
from drawthings_mcp.settings import Settings

Draw = Callable[..., bytes]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The one input folder."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> Settings:
    return Settings(output_dir=tmp_path / "output", state_dir=tmp_path / "state", input_dirs=(folder,))


@pytest.fixture
def policy(settings: Settings) -> ImportPolicy:
    return build_policy(settings)


@pytest.fixture
def catalog(settings: Settings) -> ImageCatalog:
    return ImageCatalog(settings.state_dir)


@pytest.fixture
def draw() -> Draw:
    """The bytes of a picture of one colour."""

    def draw_picture(
        size: tuple[int, int] = (40, 30), colour: Any = (200, 100, 50), mode: str = "RGB", **options: Any
    ) -> bytes:
        stream = io.BytesIO()
        file_format = options.pop("format", "PNG")
        Image.new(mode, size, colour).save(stream, file_format, **options)
        return stream.getvalue()

    return draw_picture


@pytest.fixture
def generated(catalog: ImageCatalog, settings: Settings, draw: Draw) -> ImageRecord:
    """A variant on disk."""
    settings.output_dir.mkdir()
    path = settings.output_dir / "2026-11-20_a-red-fox_s42.png"
    path.write_bytes(draw(colour="red"))
    return catalog.add("v", path, created=datetime.now(UTC), width=40, height=30, prompt="a red fox", seed=42)
