"""The state folder and what is ours in it: readable by their owner alone, also where an older version left them open.

The user may have named a folder that has other things in it, the home folder for example: those stay as they are, and
so does the folder itself then.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""What a mode allows others than the owner."""
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
PART = re.compile(r"\.[0-9a-f]{16}\.part")
"""Names of files that are still being written; see ``library.new_files``."""

_Tree: TypeAlias = Mapping[str, "_Tree | None"]
"""Pattern of a name → what is ours in that folder; None for a file."""
_OWN: _Tree = {
    r"(catalog|search|tags|jobs|durable)\.(sqlite3|jsonl|lock)([-.].+)?": None,
    r"pins\.(json|lock)": None,
    r"simulator\.pem": None,
    r"tokens\.txt": None,
    r"server\.json": None,
    PART.pattern: None,
    "inputs": {"[0-9a-f]{2}": {r"[0-9a-f]{64}\.\w+": None, PART.pattern: None}},
    "made": {r"i\d+_\w+(-\d+)?\.png": None, PART.pattern: None},
    "thumbnails": {"[0-9a-f]{2}": {r"[0-9a-f]{64}-\d+\.webp": None, PART.pattern: None}},
    "unsaved": {r".+_s\d+(-\d+)?\.png": None, PART.pattern: None},
}
_NEIGHBOURS = frozenset(("presets", "config.toml", ".DS_Store"))
"""What users keep there on our advice, and what their system does."""
_prepared: set[tuple[int, int]] = set()
"""State folders that this process looked through, by device and inode."""


def prepare_state(folder: Path) -> None:
    """Make a state folder for its owner alone, or close one that is there; only the first call looks through it.

    Raises
    ------
    OSError
        It is not there and cannot be made.
    """
    make_private_folder(folder)
    status = folder.stat()
    if (status.st_dev, status.st_ino) not in _prepared:
        _prepared.add((status.st_dev, status.st_ino))
        _close(folder, _OWN, status)


def make_private_folder(folder: Path) -> None:
    """Make a folder for its owner alone unless it is there; folders above it are made as usual."""
    folder.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that is made, if need be, for its owner alone."""
    return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)


def _close(folder: Path, own: _Tree, status: os.stat_result) -> None:
    """Close what is ours in a folder, and the folder when there is nothing else in it."""
    is_ours = True
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            found = next((pattern for pattern in own if re.fullmatch(pattern, entry.name)), None)
            if found is not None and _close_entry(entry, own[found]):
                continue
            is_ours = is_ours and entry.name in _NEIGHBOURS
        if is_ours and status.st_mode & OTHERS:
            folder.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)


def _close_entry(entry: os.DirEntry[str], own: _Tree | None) -> bool:
    """Close a file or a folder of ours; False when it is no such thing, a link for example."""
    status = entry.stat(follow_symlinks=False)
    if not (stat.S_ISREG(status.st_mode) if own is None else stat.S_ISDIR(status.st_mode)):
        return False
    if status.st_mode & OTHERS:  # what is closed has nothing open in it that anybody could get at
        with suppress(OSError):
            if own is None:
                Path(entry.path).chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)
            else:
                _close(Path(entry.path), own, status)
    return True
