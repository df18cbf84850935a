"""The data files of ``configs/``, wherever the package is installed."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).parents[1]


def find_configs() -> Traversable:
    """The folder with the data files.

    The wheel carries it inside the package. An editable install points into a checkout, where it stands at
    the top, so that people who look for recipes find it.
    """
    packaged = files("drawthings_mcp") / "configs"
    return packaged if packaged.is_dir() else _CHECKOUT / "configs"


def read_packaged(name: str) -> Any:
    """The parsed JSON of a data file."""
    return json.loads((find_configs() / name).read_text(encoding="utf-8"))
