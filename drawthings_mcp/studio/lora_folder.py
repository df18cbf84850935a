"""The user's folder of LoRAs, which servers get that lack one: what is known of its files, and what goes along."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drawthings_mcp.catalog import Catalog, LoRA, ServerInventory
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.planning.known import is_whole, load_known
from drawthings_mcp.wire.catalog import parse_lora

_logger = logging.getLogger(__name__)

_KIND = "loras"
_APP_FILE = "custom_lora.json"
"""Where the app keeps what it knows of imported LoRAs, next to them (formats, user imports)."""
_MAX_APP_FILE = 10_000_000
_SUFFIX = ".ckpt"


class LoRAFolder:
    """LoRAs in a folder by their names, as of now; a link is none.

    Parameters
    ----------
    folder
        None where nothing is to be uploaded.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._specifications: dict[str, Mapping[str, Any]] = {}

    def add_to(self, inventory: ServerInventory) -> ServerInventory:
        """An inventory with the LoRAs that can be uploaded, as far as is known what they fit; blocks.

        What a server lists is known from there, else from the app's file in the folder or from our own facts.
        """
        files = self._list_files()
        if not files:
            return inventory
        told = {**load_known().loras, **self._read_app_file(), **{lora.file: lora for lora in inventory.loras}}
        self._specifications |= {file: told[file].specification for file in files if file in told}
        catalog = inventory.catalog
        if catalog is not None:
            listed = {lora.file for lora in catalog.loras}
            added = tuple(told[file] for file in files if file in told and file not in listed)
            catalog = replace(catalog, loras=(*catalog.loras, *added))
        return ServerInventory(catalog, {**inventory.answers, **dict.fromkeys(files, True)}, inventory.can_ask)

    def find(self, file: str) -> Path | None:
        """Where a LoRA is; None when it is not there."""
        return self._list_files().get(file)

    def describe(self, request: GenerationRequest, catalog: Catalog | None) -> GenerationRequest:
        """A request with what a server is not told by an upload: to which model its LoRAs belong (protocol §8.5)."""
        sent: Sequence[dict[str, Any]] = request.override.get(_KIND, [])
        known = {entry.get("file") for entry in sent} | {lora.file for lora in (catalog.loras if catalog else ())}
        wanted = dict.fromkeys(lora.file for lora in request.configuration.loras if lora.file not in known)
        added = [
            dict(self._specifications[file]) for file in wanted if is_whole(_KIND, self._specifications.get(file, {}))
        ]
        return replace(request, override={**request.override, _KIND: [*sent, *added]}) if added else request

    def _list_files(self) -> dict[str, Path]:
        if self._folder is None:
            return {}
        try:
            there = [path for path in self._folder.iterdir() if path.suffix == _SUFFIX]
            return {path.name: path for path in there if path.is_file() and not path.is_symlink()}
        except OSError as error:
            _logger.warning("the folder of LoRAs cannot be read: %s", error)
            return {}

    def _read_app_file(self) -> dict[str, LoRA]:
        assert self._folder is not None
        path = self._folder / _APP_FILE
        try:
            data = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_APP_FILE else []
            whole = [entry for entry in data if isinstance(entry, dict) and is_whole(_KIND, entry)]
            return {lora.file: lora for lora in map(parse_lora, whole)}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _logger.warning("%s cannot be read: %s", path, error)
            return {}
