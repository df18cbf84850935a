"""What is LM Studio's own: where its home is, and which of its models can see."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drawthings_mcp.errors import DrawThingsError

_PORT = 1234
_MAX_PORT = 65_535
_PATIENCE = 3.0
"""Seconds in which it has to list its models."""


def find_home(home: Path) -> Path:
    """Its folder: the one that its pointer file names, or ``.lmstudio``, or the one that older versions have."""
    with suppress(OSError, UnicodeDecodeError):
        named = Path((home / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip())
        if named.is_absolute() and named.is_dir():
            return named
    older = home / ".cache" / "lm-studio"
    new = home / ".lmstudio"
    return older if older.is_dir() and not new.exists() else new


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """Its server on this machine.

    Attributes
    ----------
    url
        For requests in OpenAI's form.
    seeing
        Its models that take pictures, those that are loaded first; None when it does not answer.
    """

    url: str
    seeing: tuple[str, ...] | None


async def ask_endpoint(home: Path) -> LocalEndpoint:
    """Which of the models can see, as LM Studio itself says; nothing is loaded."""
    from drawthings_mcp.web.endpoint import Endpoint, get_json

    base = f"http://127.0.0.1:{_read_port(home)}"
    try:
        reply = await get_json(Endpoint(f"{base}/api/v0"), "models", timeout=_PATIENCE)
    except DrawThingsError:
        return LocalEndpoint(f"{base}/v1", None)
    return LocalEndpoint(f"{base}/v1", _list_seeing(reply))


def _read_port(home: Path) -> int:
    """The port that was last set in it."""
    with suppress(OSError, ValueError):
        settings = json.loads((home / ".internal" / "http-server-config.json").read_text(encoding="utf-8"))
        port = settings.get("port") if isinstance(settings, dict) else None
        if isinstance(port, int) and 0 < port <= _MAX_PORT:
            return port
    return _PORT


def _list_seeing(reply: Any) -> tuple[str, ...]:
    rows = reply.get("data") if isinstance(reply, dict) else None
    models = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    seeing = [row for row in models if row.get("type") == "vlm" and isinstance(row.get("id"), str)]
    return tuple(row["id"] for row in sorted(seeing, key=lambda row: row.get("state") != "loaded"))
