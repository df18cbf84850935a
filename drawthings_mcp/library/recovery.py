"""Files of ours that the catalog does not know → rows, by what the files say of themselves.

Owns what is believed of them. Knows nothing of damaged databases: that is ``rebuild``'s.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from drawthings_mcp.errors import InvalidImageError, StorageError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.opening import hash_file
from drawthings_mcp.library.records import ImageFacts, ImageRecord, Parent, Role, parse_id
from drawthings_mcp.metadata import ImageMetadata, read_metadata
from drawthings_mcp.metadata.draw_things_keys import parse_size
from drawthings_mcp.tensors.picture_files import open_regular_file

_SUFFIX = ".png"
_PATIENCE = timedelta(days=1)
"""How long an id stays reserved: a file follows its reservation within seconds."""
_MAX_CLAIMED = 10**9
"""The highest number that a file may claim: a foreign one could use up all that there are."""


def reconcile(catalog: ImageCatalog, folders: Iterable[Path] = ()) -> list[ImageRecord]:
    """Record the pictures of processes that died between the file and its row.

    Parameters
    ----------
    folders
        Where files may have gone instead of the folders for which their ids were reserved.

    Returns
    -------
    list[ImageRecord]
        What was recorded. Nothing is read when no id waits for its file.
    """
    reservations = catalog.list_reservations()
    if not reservations:
        return []
    candidates = {*reservations.values(), *folders}
    paths = [path for folder in sorted(candidates) for path in _list_folder(folder)]
    recovered = recover_files(catalog, paths, trusted=reservations)
    catalog.drop_reservations(datetime.now(UTC) - _PATIENCE)
    return recovered


def recover_files(
    catalog: ImageCatalog, paths: Iterable[Path], trusted: Collection[str] | None = None
) -> list[ImageRecord]:
    """Record those of some files that are ours and not recorded; see ``recover_file``."""
    known = catalog.list_paths()
    candidates = ((path, read_own(path)) for path in paths if path.absolute() not in known)
    ours = [(path, metadata) for path, metadata in candidates if metadata is not None]
    # Files that carry an id come first, so that no other gets it.
    ours.sort(key=lambda found: ("id" not in found[1].record, str(found[1].record.get("created", ""))))
    return [recover_file(catalog, path, metadata, trusted) for path, metadata in ours]


def read_own(path: Path) -> ImageMetadata | None:
    """How a picture was made that this package saved for the catalog; None for any other file."""
    try:
        with open_regular_file(path):
            metadata = read_metadata(path)
    except (InvalidImageError, StorageError):
        return None
    # Pictures saved by the Python client tell no mode; they were never meant for the catalog.
    return metadata if metadata is not None and {"id", "mode"} & metadata.record.keys() else None


def recover_file(
    catalog: ImageCatalog, path: Path, metadata: ImageMetadata, trusted: Collection[str] | None = None
) -> ImageRecord:
    """The record of a file of ours, made if need be.

    Parameters
    ----------
    trusted
        Ids that a file may claim; by default any that is free.

    Returns
    -------
    ImageRecord
        Of the same bytes, if they are recorded: a file that was moved or copied.
    """
    with open_regular_file(path) as file:
        sha256 = hash_file(file)
    known = catalog.find_by_hash(sha256)
    if known is not None:
        return known if known.path is not None and known.path.exists() else catalog.relocate(known.id, path)
    claimed = str(metadata.record.get("id", ""))
    parsed = parse_id(claimed)
    is_free = parsed is not None and parsed[1] <= _MAX_CLAIMED and not catalog.contains(claimed)
    reserved = claimed.lower() if is_free and (trusted is None or claimed in trusted) else ""
    facts = _build_facts(path, metadata)
    return catalog.add(parsed[0] if parsed else "v", path, reserved=reserved, sha256=sha256, **facts)


def _build_facts(path: Path, metadata: ImageMetadata) -> ImageFacts:
    record = metadata.record
    width, height = parse_size(record.get("size")) or (0, 0)
    return {
        "created": _parse_time(record.get("created")) or datetime.fromtimestamp(path.stat().st_mtime, UTC),
        "width": width,
        "height": height,
        "prompt": metadata.prompt,
        "negative_prompt": metadata.negative_prompt,
        "seed": metadata.seed,
        "model": metadata.model,
        "server": str(record.get("server", "")),
        "simulated": metadata.is_simulated,
        "size_bytes": path.stat().st_size,
        "format": "PNG",
        "configuration": metadata.configuration.to_app_json() if metadata.configuration else None,
        "job": str(record.get("job", "")),
        "parents": tuple(_parse_parents(record.get("parents"))),
    }


def _parse_time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _parse_parents(value: Any) -> Iterator[Parent]:
    for item in value if isinstance(value, list) else []:
        match item:
            case [str(role), str(name)] if role in get_args(Role) and parse_id(name):
                yield Parent(role, name)  # type: ignore[arg-type]


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() == _SUFFIX)
    except OSError:
        return []


def list_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and all folders in it that could be ours, links not followed."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent) / name for name in sorted(names) if name.lower().endswith(_SUFFIX))
