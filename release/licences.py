"""Writes ``docs/licences.md``: what an installation brings, and under which licences.

Run by ``make licences`` in an environment that has every extra; ``--check`` compares instead of writing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import cast

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "licences.md"
APP = "drawthings-mcp"
FOR_DEVELOPERS = {"test", "dev"}

UNSTATED = {"fpzip": "BSD-3-Clause"}
"""Licences of packages whose metadata names none, from the text that they carry."""

COPYLEFT = {
    "GPL-2.0-or-later": "x264 x265",
    "GPL-2.0-or-later, as built with x264 and x265": "avcodec avdevice avfilter avformat avutil swresample swscale",
    "GPL-3.0-or-later with GCC's runtime exception": "gfortran",
    "LGPL-2.1-or-later": "asound gnutls fribidi quadmath",
    "LGPL-2.0-or-later": "mp3lame",
    "LGPL-3.0-or-later or GPL-2.0-or-later": "gmp hogweed nettle unistring",
}
"""Libraries inside wheels that are not under a permissive licence."""

INTRODUCTION = """# Licences

drawthings-mcp is under the MIT licence. This is what an installation brings besides it, read from the metadata of the
packages that `constraints.txt` names, on Linux with Python 3.11 to 3.13. `make licences` writes this page.

No program under the GPL is in the default installation or in the container image; of GCC's runtime libraries inside
numpy's wheel one is under the GPL with the exception that lets every program use it. The wheel of PyAV, which only
the **extra `video`** brings, contains FFmpeg with the encoders x264 and x265, which are under the GPL: who passes on
an installation with that extra passes those on. Without it, films are saved as animated PNG files.

The container image adds a Debian base system and Python, each under the licences in its `/usr/share/doc`.
"""


def list_needed(name: str, extras: Iterable[str]) -> Iterator[str]:
    """What an installed distribution needs in this environment."""
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        environments: list[dict[str, str]] = [
            {**cast(dict[str, str], default_environment()), "extra": extra} for extra in ("", *extras)
        ]
        if requirement.marker is None or any(requirement.marker.evaluate(environment) for environment in environments):
            yield canonicalize_name(requirement.name)
            yield from (f"{canonicalize_name(requirement.name)}[{extra}]" for extra in requirement.extras)


def collect(extras: Iterable[str] = ()) -> set[str]:
    """The names of all distributions that the project brings with some extras."""
    seen: set[str] = set()
    waiting = [f"{APP}[{extra}]" for extra in extras] or [APP]
    while waiting:
        item = waiting.pop()
        if item not in seen:
            seen.add(item)
            name, _, extra = item.partition("[")
            try:
                waiting += list_needed(name, [extra.rstrip("]")] if extra else [])
            except PackageNotFoundError:
                sys.exit(f"{name} is not installed: run make licences, which installs every extra.")
    return {item for item in seen if "[" not in item} - {APP}


def read_licence(package: Distribution) -> str:
    """The licence by the newest field of the metadata that names it."""
    metadata = package.metadata
    if package.name in UNSTATED:
        return UNSTATED[package.name]
    if expression := metadata["License-Expression"]:
        return str(expression)
    classifiers = [
        entry.rpartition(" :: ")[2] for entry in metadata.get_all("Classifier") or [] if entry.startswith("License :: ")
    ]
    named = [entry for entry in classifiers if entry != "OSI Approved"]
    return ", ".join(named) or (metadata["License"] or "not stated").splitlines()[0]


def name_libraries(files: Iterable[str]) -> set[str]:
    """The libraries among the files of a wheel, without their versions."""
    found = (re.search(r"\.(?:libs|dylibs)/lib(\w+)[-.]", file) for file in files)
    return {match[1] for match in found if match}


def list_copyleft(package: Distribution) -> Iterator[str]:
    """Libraries inside the wheel that are not under a permissive licence, with their licences."""
    libraries = name_libraries(map(str, package.files or []))
    for licence, names in COPYLEFT.items():
        if inside := sorted(libraries.intersection(names.split())):
            yield f"{', '.join(inside)}: {licence}"


def write_table(names: Iterable[str]) -> str:
    """A table in Markdown, a row for each distribution."""
    rows = ["| package | licence | inside its wheel, not permissive |", "|---|---|---|"]
    for name in sorted(names):
        package = distribution(name)
        rows.append(f"| {name} | {read_licence(package)} | {'; '.join(list_copyleft(package)) or '–'} |")
    return "\n".join(rows)


def write_page() -> str:
    """The whole page."""
    default = collect()
    extras = [
        extra for extra in distribution(APP).metadata.get_all("Provides-Extra") or [] if extra not in FOR_DEVELOPERS
    ]
    parts = [INTRODUCTION, f"## Default\n\n{write_table(default)}\n"]
    parts += [
        f"## Extra `{extra}`, besides the default\n\n{write_table(collect([extra]) - default)}\n"
        for extra in sorted(extras)
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    page = write_page()
    if "--check" not in sys.argv:
        TARGET.write_text(page, "utf-8")
    elif TARGET.read_text("utf-8") != page:
        sys.exit("docs/licences.md is not what is installed: run make licences.")
