"""Every preset there is right now: the user's own, the app's, and those of this package.

They are read again each time, so that changes count at once, and never written.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from drawthings_mcp.errors import DrawThingsError, UnknownNameError
from drawthings_mcp.faces import Phrase, Step, Text, join_texts
from drawthings_mcp.presets.mode_table import list_recipes
from drawthings_mcp.presets.preset import Preset, PresetSource, parse_preset
from drawthings_mcp.quoting import key_of
from drawthings_mcp.validation import suggest

APP_FILE = Path("Library/Containers/com.liuliu.draw-things/Data/Documents/Models/custom_configs.json")
"""Where the app keeps its presets, below the home folder (formats §1.2)."""

OWN_FOLDER = "presets"
"""Folder in the state folder whose JSON files hold presets of ours."""

_MAX_BYTES = 32_000_000
"""A file of thousands of presets; what is larger is something else."""

_SHOWN = 10
"""Names of presets that a text lists at most."""

_LEAVE_OUT = Step("set", setting="custom_configs", value="none")
_PRIVACY_ERRORS = (errno.EPERM, errno.EACCES)


class _UnusableFileError(DrawThingsError):
    """A file of presets cannot be used; says why in one sentence."""


@dataclass(frozen=True, slots=True)
class PresetCollection:
    """Presets by name; where a name occurs twice, the first counts.

    Attributes
    ----------
    problems
        One sentence for each file that could not be used, or not all of it.
    """

    presets: tuple[Preset, ...]
    problems: tuple[str, ...] = ()

    def find(self, name: str, *, own: bool = False) -> Preset | None:
        """The preset with a name, without regard to case, and to spaces around it or too many.

        A name as a model reads it, quoted and cut, is found as well.

        Parameters
        ----------
        own
            Only among those that the user made.
        """
        wanted, read = " ".join(name.split()).lower(), key_of(name)
        known = [preset for preset in self.presets if preset.is_own or not own]
        named = next((preset for preset in known if preset.name.lower() == wanted), None)
        return named or next((preset for preset in known if key_of(preset.name) == read), None)

    def get(self, name: str) -> Preset:
        """Like ``find``.

        Raises
        ------
        UnknownNameError
            There is none; names those that look like it, and the files that could not be read.
        """
        found = self.find(name)
        if found is None:
            hint = suggest(name, [preset.name for preset in self.presets])
            text = Text("There is no preset {name!r}.{hint}{own}", name=name, hint=hint, own=self.describe_own())
            raise UnknownNameError(join_texts(text, *self.problems), name=name)
        return found

    def describe_own(self) -> Text:
        """`` Your presets: …``, the first few; that there are none, otherwise."""
        own = [preset.name for preset in self.presets if preset.is_own]
        more = Phrase(", …" if len(own) > _SHOWN else "")
        if not own:
            return Text(" You have no presets of your own yet.")
        return Text(" Your presets: {own}{more}.", own=tuple(own[:_SHOWN]), more=more)


def read_presets(app_file: Path | Literal["none"] | None, state_dir: Path) -> PresetCollection:
    """All presets: those of the state folder, those of the app, those of this package.

    Parameters
    ----------
    app_file
        The app's ``custom_configs.json``; None looks where the app keeps it, ``"none"`` leaves it out.
    """
    presets: list[Preset] = []
    problems: list[str] = []
    for path, source in _list_files(app_file, state_dir):
        try:
            found, skipped = _read_file(path, source)
        except _UnusableFileError as error:
            problems.append(error.problem)
            continue
        presets += found
        if skipped:
            problems.append(f"{path}: {skipped} of its entries lack a name or a configuration and are left out.")
    return PresetCollection((*presets, *list_recipes()), tuple(problems))


def _list_files(app_file: Path | Literal["none"] | None, state_dir: Path) -> Iterable[tuple[Path, PresetSource]]:
    own = state_dir / OWN_FOLDER
    yield from ((path, "own") for path in (sorted(own.glob("*.json")) if own.is_dir() else ()))
    if app_file == "none":
        return
    path = app_file if isinstance(app_file, Path) else Path.home() / APP_FILE
    if app_file is not None or _may_exist(path):
        yield path, "app"


def _may_exist(path: Path) -> bool:
    """Whether a file is there, or is kept from us."""
    try:
        path.stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _read_file(path: Path, source: PresetSource) -> tuple[list[Preset], int]:
    """The presets of a file, the last of a name only, and how many entries are none."""
    elements = _list_elements(_parse(path, _read_text(path)), path)
    presets = [parse_preset(element, source, path) for element in elements]
    by_name = {preset.name.lower(): preset for preset in presets if preset is not None}
    return list(by_name.values()), presets.count(None)


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            raise _UnusableFileError(_explain_absence(path))
        if path.stat().st_size > _MAX_BYTES:
            raise _UnusableFileError(f"{path} is too large for a file of presets and is left out.")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _UnusableFileError(_explain_refusal(path, error)) from error
    except UnicodeDecodeError as error:
        raise _UnusableFileError(f"{path} is not UTF-8 text, so its presets are left out.") from error


def _explain_absence(path: Path) -> Text:
    what = "is not a file" if path.exists() else "does not exist"
    return Text(
        "{path} {what}, so there are no presets from it; {correct}, or {leave_out}.",
        path=path,
        what=Phrase(what),
        correct=Step("set", setting="custom_configs"),
        leave_out=_LEAVE_OUT,
    )


def _explain_refusal(path: Path, error: OSError) -> str:
    if error.errno not in _PRIVACY_ERRORS:
        return f"{path} cannot be read ({error.strerror}), so its presets are left out."
    if sys.platform == "darwin":
        return Text(
            "macOS keeps {path} from this program, so its presets are left out: allow the program that starts it in "
            "System Settings → Privacy & Security → Full Disk Access, or {leave_out}.",
            path=path,
            leave_out=_LEAVE_OUT,
        )
    return f"{path} may not be read, so its presets are left out: change its permissions."


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _UnusableFileError(
            f"{path} is not whole JSON ({error}), so its presets are left out; it is read again at the next call."
        ) from error


def _list_elements(data: Any, path: Path) -> list[Any]:
    """The elements of an array of presets, a single preset, or a bare configuration under its file's name."""
    if isinstance(data, list):
        return data
    if isinstance(data, Mapping):
        return [data] if "configuration" in data else [{"name": path.stem, "configuration": data}]
    raise _UnusableFileError(f"{path} holds no list of presets and is left out.")
