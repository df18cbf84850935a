"""The command that starts this program, and will tomorrow."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePath
from urllib.parse import urlparse
from urllib.request import url2pathname

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text

_PROGRAM = "drawthings-mcp"
_PACKAGE = "drawthings_mcp"


@dataclass(frozen=True, slots=True)
class Launch:
    """A command: the program, what makes it start ours, and options of ours."""

    command: str
    args: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def find_launch(environment: Mapping[str, str] | None = None) -> Launch:
    """How to start this program from anywhere.

    The installed program is named by its path. One that ``uvx`` put into its cache for this run is started by ``uvx``
    again, by its name only if it came from the index under that name: a name that nobody has published can be taken by
    anybody.

    Raises
    ------
    InvalidInputError
        It runs from a cache, and what it was made from is gone.
    """
    environment = os.environ if environment is None else environment
    script = _find_script()
    if not _is_cached(Path(sys.prefix), environment):
        if script is None:
            return Launch(sys.executable, ("-m", _PACKAGE))
        return Launch(str(_prefer_link(script, environment)))
    uvx, source = shutil.which("uvx", path=environment.get("PATH")), _find_source()
    if uvx is None or source is None:
        problem = (
            "drawthings-mcp runs from {folder}, which may be emptied any time. Install it first, then try again: {how}."
        )
        raise InvalidInputError(Text(problem, folder=Path(sys.prefix), how="`pip install` or `uv tool install`"))
    return Launch(uvx, (*source, _PROGRAM))


def is_ours(command: Sequence[str]) -> bool:
    """Whether a program and its arguments start this one, however it was installed."""
    return _find_program(command) is not None


def find_options(command: Sequence[str]) -> tuple[str, ...]:
    """The options that a command gives to this program; none when it starts something else."""
    place = _find_program(command)
    return () if place is None else tuple(command[place + 1 :])


def _find_program(command: Sequence[str]) -> int | None:
    names = {_PROGRAM, f"{_PROGRAM}.exe", _PACKAGE}
    found = [place for place, word in enumerate(command) if word.replace("\\", "/").rpartition("/")[2] in names]
    return found[-1] if found else None


def _find_script() -> Path | None:
    """The program that was installed with this package."""
    try:
        files = metadata.distribution(_PROGRAM).files or []
    except metadata.PackageNotFoundError:
        return None
    named = (Path(str(file.locate())) for file in files if PurePath(file).name in (_PROGRAM, f"{_PROGRAM}.exe"))
    return next((Path(os.path.abspath(path)) for path in named if path.is_file()), None)  # noqa: PTH100 - links stay


def _prefer_link(script: Path, environment: Mapping[str, str]) -> Path:
    """A link to the program on the search path, which outlives a version that is in the program's own path."""
    found = shutil.which(_PROGRAM, path=environment.get("PATH"))
    if found is None or not Path(found).is_absolute() or not Path(found).is_symlink():
        return script
    return Path(found) if Path(found).resolve() == script.resolve() else script


def _is_cached(prefix: Path, environment: Mapping[str, str]) -> bool:
    """Whether a tool made this environment for one run."""
    home = Path.home()
    caches = [
        environment.get("UV_CACHE_DIR"),
        Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "uv",
        Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "uv" / "cache",
        home / ".cache" / "pipx",
        home / ".local" / "pipx" / ".cache",
        home / ".local" / "share" / "pipx" / ".cache",
        home / "Library" / "Caches" / "pipx",
    ]
    real = prefix.resolve()
    return any(real.is_relative_to(Path(cache).resolve()) for cache in caches if cache)


def _find_source() -> tuple[str, ...] | None:
    """What tells ``uvx`` where this program came from: nothing for the index; None when it is gone."""
    direct = metadata.distribution(_PROGRAM).read_text("direct_url.json")
    if direct is None:
        return ()
    source = json.loads(direct)
    url = str(source["url"])
    if url.startswith("file:"):
        path = Path(url2pathname(urlparse(url).path))
        return ("--from", str(path)) if path.exists() else None
    version = source.get("vcs_info")
    return ("--from", f"{version['vcs']}+{url}@{version['commit_id']}" if version else url)
