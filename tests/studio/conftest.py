"""A studio whose files are the test's own, in front of one of two independent servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.settings import Settings, load_settings
from drawthings_mcp.studio.studio import Studio, open_studio

OpenStudio = Callable[..., AbstractAsyncContextManager[Studio]]


@pytest.fixture
def preset_file(tmp_path: Path) -> Path:
    """Where the app keeps its presets; not there yet."""
    return tmp_path / "custom_configs.json"


@pytest.fixture
def save_presets(preset_file: Path) -> Callable[..., None]:
    """``save_presets({"name": …, "configuration": …}, …)``: as the app would."""

    def save(*presets: dict[str, Any]) -> None:
        preset_file.write_text(json.dumps(presets, indent=2, sort_keys=True))

    return save


@pytest.fixture
def studio_at(tmp_path: Path, preset_file: Path) -> OpenStudio:
    """``async with studio_at(address) as studio``."""

    @asynccontextmanager
    async def connect(address: str, **options: str) -> AsyncIterator[Studio]:
        settings: Settings = load_settings(
            {"server": address, "tls": "off", "custom_configs": str(preset_file), **options},
            environment={
                "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"),
                "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"),
            },
        )
        async with open_studio(settings) as studio:
            yield studio

    return connect
