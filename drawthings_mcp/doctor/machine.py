"""Questions about this machine and what the user added to it. None leaves anything behind.

What is heavy or may be broken is imported by the check that needs it, so that the others still go on.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from drawthings_mcp.doctor.finding import Check, Finding, blame, ok, problem, warning
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.settings import NAMES, Settings, config_path, variable
from drawthings_mcp.validation import suggest

_DISTRIBUTION = "drawthings-mcp"
_REINSTALL = f"Install it again: pip install --force-reinstall {_DISTRIBUTION} (or: uv tool install --force ...)."
_PREFIX = "DRAWTHINGS_"
_NAME = re.compile(r"[A-Za-z0-9._-]+")

_LOW_SPACE = 5_000_000_000
_NO_SPACE = 200_000_000
"""Bytes below which the disk is called low, and full; a picture takes 1 to 10 MB."""

_MAC_FOLDERS = "On a Mac also see System Settings → Privacy & Security → Files and Folders."

_PATIENCE = 5.0
"""Seconds in which an endpoint has to list its models."""


def check_settings(_: Settings) -> Finding:
    """Whether every variable that looks like a setting is one."""
    known = {variable(name) for name in NAMES}
    strange = sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in known)
    if strange:
        names = ", ".join(strange)
        return warning(f"nothing reads {names}", f"Check the spelling.{suggest(strange[0], known)}")
    path = config_path()
    return ok(f"every {_PREFIX} variable is known; {path} {'was read' if path.exists() else 'is not there'}")


def check_python(_: Settings) -> Finding:
    """Which Python runs this."""
    return ok(f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}")


def check_packages(_: Settings) -> Finding:
    """Whether everything that the package needs is there, in which versions."""
    names = [_DISTRIBUTION, *_list_requirements()]
    versions = {name: _find_version(name) for name in names}
    if missing := [name for name, version in versions.items() if version is None]:
        return problem(f"missing: {', '.join(missing)}", _REINSTALL)
    return ok(", ".join(f"{name} {version}" for name, version in versions.items()))


def _list_requirements() -> list[str]:
    required = metadata.requires(_DISTRIBUTION) or []
    return [_NAME.match(line)[0] for line in required if "extra ==" not in line]  # type: ignore[index]


def _find_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_decoder(_: Settings) -> Finding:
    """Whether compressed pictures can be decoded, in the process that is there for it."""
    import numpy as np

    from drawthings_mcp.tensors.header import Codec
    from drawthings_mcp.tensors.tensor import decode_tensor, encode_tensor

    ramp = np.linspace(-1, 1, 64 * 64 * 3, dtype=np.float16).reshape(1, 64, 64, 3)
    try:
        decoded = decode_tensor(encode_tensor(ramp, codec=Codec.FPZIP))
    except DrawThingsError as error:
        return blame(error, _REINSTALL)
    if not np.array_equal(decoded, ramp):
        return problem("fpzip decodes to other values than were encoded", _REINSTALL)
    return ok("compressed pictures (fpzip) are decoded in a process of their own")


def check_output_dir(settings: Settings) -> Finding:
    """Whether originals can be saved."""
    return _check_folder(settings.output_dir, "DRAWTHINGS_OUTPUT_DIR")


def check_state_dir(settings: Settings) -> Finding:
    """Whether catalog and pins can be kept."""
    return _check_folder(settings.state_dir, "DRAWTHINGS_STATE_DIR")


def _check_folder(folder: Path, variable: str) -> Finding:
    remedy = f"Change its permissions, or set {variable} to a folder of yours. {_MAC_FOLDERS}"
    try:
        existing = _find_existing(folder)
        if not existing.is_dir():
            return problem(f"{existing} is a file, not a folder", f"Move it away, or set {variable} to a folder.")
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".doctor-"):
            pass
    except OSError as error:
        return problem(f"{folder} cannot be written: {error.strerror}", remedy)
    return ok(f"{folder} {'can be written' if existing == folder else 'is not there yet; it can be made when needed'}")


def _find_existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def check_space(settings: Settings) -> Finding:
    """Whether the disk has room for pictures."""
    try:
        free = shutil.disk_usage(_find_existing(settings.output_dir)).free
    except OSError as error:
        return warning(f"cannot be told: {error.strerror}", "Check the disk of the output folder.")
    detail = f"{free / 1e9:.1f} GB free where pictures are saved"
    remedy = "Free some space, or set DRAWTHINGS_OUTPUT_DIR to a folder on another disk."
    if free < _NO_SPACE:
        return problem(detail, remedy)
    return ok(detail) if free >= _LOW_SPACE else warning(detail, remedy)


def check_catalog(settings: Settings) -> Finding:
    """Whether the catalog of pictures can be opened and is sound."""
    from drawthings_mcp.library.catalog import ImageCatalog
    from drawthings_mcp.library.database import FILE_NAME

    path = settings.state_dir / FILE_NAME
    try:
        if not path.exists():
            return ok(f"{path} is not there yet; the first picture will make it")
        count = ImageCatalog(settings.state_dir).check()
    except OSError as error:
        return problem(f"{path} cannot be read: {error.strerror}", "Change its permissions.")
    except DrawThingsError as error:
        return blame(error)
    return ok(f"sound, {count} picture{'' if count == 1 else 's'}: {path}")


def check_presets(settings: Settings) -> Finding:
    """Whether the user's presets can be read."""
    from drawthings_mcp.presets.collection import read_presets

    presets = read_presets(settings.custom_configs, settings.state_dir)
    own = [preset.name for preset in presets.presets if preset.is_own]
    if presets.problems:
        return warning(
            " ".join(presets.problems),
            "Repair the file, name another as DRAWTHINGS_CUSTOM_CONFIGS, or set that to none.",
        )
    if not own:
        return ok("none of your own; those you save in the app, or in the presets folder, are found by name")
    return ok(f"{len(own)} of your own, {len(presets.presets) - len(own)} built in")


def check_folders(settings: Settings) -> Finding:
    """Whether the folders to read pictures from and to search are there."""
    named = {"DRAWTHINGS_INPUT_DIRS": settings.input_dirs, "DRAWTHINGS_SEARCH_DIRS": settings.search_dirs}
    missing = [f"{folder} ({name})" for name, folders in named.items() for folder in folders if not folder.is_dir()]
    if missing:
        return warning(f"not there: {', '.join(missing)}", "Correct the setting, or connect the disk.")
    searched = ", ".join(map(str, settings.search_dirs)) or "the output folder only"
    return ok(f"pictures are read from {', '.join(map(str, settings.input_dirs))}; searched: {searched}")


def check_clients(_: Settings) -> Finding:
    """Which chat clients on this machine start this program."""
    from drawthings_mcp.install.clients import CLIENTS, this_machine
    from drawthings_mcp.install.entries import find_entry

    machine = this_machine()
    here = [client for client in CLIENTS if client.is_there(machine)]
    try:
        has_it = {client.title: find_entry(client, machine).is_ours for client in here}
    except DrawThingsError as error:
        return replace(blame(error), status="warning")
    if not here:
        return ok("none of those that `drawthings-mcp install` knows is on this machine")
    names = ", ".join(title for title, has in has_it.items() if has) or "none"
    lacking = next((client for client in here if not has_it[client.title]), None)
    install = f"; to add it to {lacking.title}: drawthings-mcp install {lacking.name}" if lacking else ""
    return ok(f"{sum(has_it.values())} of {len(here)} that were found have it ({names}){install}")


async def check_endpoint(url: str, model: str, key: str, purpose: str) -> Finding:
    """Whether an endpoint serves, and has the model that was named; ``purpose`` says what there is not without one."""
    if not url:
        return ok(f"none is set; {purpose}")
    from drawthings_mcp.web.endpoint import Endpoint, get_json

    try:
        reply = await get_json(Endpoint(url, model, key), "models", timeout=_PATIENCE)
    except DrawThingsError as error:
        # Nothing fails without it.
        return replace(blame(error, "Start it, or correct the address."), status="warning")
    rows = reply.get("data") if isinstance(reply, dict) else None
    names = [str(row.get("id")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    if model and model not in names:
        return warning(f"it serves, but does not list {model}; it has: {', '.join(names) or 'none'}", "Load it there.")
    return ok(f"it serves {', '.join(names) or 'no model yet'}")


async def check_endpoints(settings: Settings) -> Mapping[str, Finding]:
    """Both endpoints that can be set."""
    vision = settings.vision_url, settings.vision_model, settings.vision_key.get_secret_value()
    embedding = settings.embedding_url, settings.embedding_model, settings.embedding_key.get_secret_value()
    return {
        "vision endpoint": await check_endpoint(*vision, "pictures are not described to models that cannot see them"),
        "embeddings": await check_endpoint(*embedding, "search goes by words and looks"),
    }


MACHINE_CHECKS: Mapping[str, Check[Settings]] = {
    "settings": check_settings,
    "Python": check_python,
    "packages": check_packages,
    "decoder": check_decoder,
    "output folder": check_output_dir,
    "state folder": check_state_dir,
    "disk space": check_space,
    "catalog": check_catalog,
}
EXTRA_CHECKS: Mapping[str, Check[Settings]] = {
    "presets": check_presets,
    "folders": check_folders,
    "chat clients": check_clients,
}
