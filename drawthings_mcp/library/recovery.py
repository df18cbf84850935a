"""A catalog that can be relied on, and files of ours that it does not know yet, by what they say of themselves.

A lost or damaged database is rebuilt from its journal and from the pictures. Nothing is deleted: a damaged one is set
aside. While it is replaced, no process has it open.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, get_args

from drawthings_mcp.databases import hold_lock, list_companions, set_aside
from drawthings_mcp.errors import CatalogDamagedError, InvalidImageError, StorageError
from drawthings_mcp.library.catalog import LOCK_NAME, ImageCatalog, is_in_place
from drawthings_mcp.library.database import FILE_NAME, build_database
from drawthings_mcp.library.new_files import remove_leftovers
from drawthings_mcp.library.originals import INPUTS_FOLDER
from drawthings_mcp.library.records import (
    JOURNAL_NAME,
    ImageRecord,
    Journal,
    Parent,
    ParentRole,
    RecordFields,
    parse_id,
)
from drawthings_mcp.metadata.draw_things import EXPORTED, DrawThingsMetadata
from drawthings_mcp.metadata.draw_things_keys import parse_size
from drawthings_mcp.metadata.reading import read_metadata_from
from drawthings_mcp.tensors.picture_files import hash_file, open_regular_file

_SUFFIX = ".png"
_PATIENCE = timedelta(days=1)
"""How long an id stays reserved: a file follows its reservation within seconds."""
_MAX_CLAIMED = 10**9
"""The highest number that a file may claim: a foreign one could use up all that there are."""
RESCUE_FOLDER = "unsaved"
"""Folder of the state folder for pictures that could not be saved where they belong."""
MADE_FOLDER = "made"
"""Folder of the state folder for pictures that were made from others without Draw Things."""


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
    ours = [own for path in paths if path.absolute() not in known and (own := _open_own(path)) is not None]
    # Files that carry an id come first, so that no other gets it.
    ours.sort(key=lambda own: ("id" not in own.metadata.record, str(own.metadata.record.get("created", ""))))
    return [recover_file(catalog, own, trusted) for own in ours]


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A picture that this package saved for the catalog, as it was when it was open."""

    path: Path
    metadata: DrawThingsMetadata
    sha256: str
    status: os.stat_result


def _open_own(path: Path) -> OwnFile | None:
    """A file of ours where it was saved: a link to one is none."""
    try:
        with open_regular_file(Path(os.path.realpath(path.parent), path.name), follows_links=False) as file:
            return read_own(file, path)
    except (InvalidImageError, OSError):
        return None


def read_own(file: BinaryIO, path: Path) -> OwnFile | None:
    """How a picture was made that this package saved for the catalog; None for any other file."""
    try:
        metadata = read_metadata_from(file)
    except (InvalidImageError, StorageError):
        return None
    # Pictures saved by the Python client tell no mode; they were never meant for the catalog.
    if metadata is None or not {"id", "mode"} & metadata.record.keys() or EXPORTED in metadata.record:
        return None
    file.seek(0)
    return OwnFile(path, metadata, hash_file(file), os.fstat(file.fileno()))


def recover_file(catalog: ImageCatalog, own: OwnFile, trusted: Collection[str] | None = None) -> ImageRecord:
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
    known = catalog.find_by_hash(own.sha256)
    if known is not None:
        return known if is_in_place(known) else catalog.relocate(known.id, own.path)
    claimed = str(own.metadata.record.get("id", ""))
    parsed = parse_id(claimed)
    is_free = parsed is not None and parsed[1] <= _MAX_CLAIMED and not catalog.contains(claimed)
    reserved = claimed.lower() if is_free and (trusted is None or claimed in trusted) else ""
    kind = parsed[0] if parsed else "v"
    return catalog.add(kind, own.path, reserved=reserved, sha256=own.sha256, **_read_fields(own))


def _read_fields(own: OwnFile) -> RecordFields:
    metadata, record = own.metadata, own.metadata.record
    width, height = parse_size(record.get("size")) or (0, 0)
    return {
        "created": _parse_time(record.get("created")) or datetime.fromtimestamp(own.status.st_mtime, UTC),
        "width": width,
        "height": height,
        "prompt": metadata.prompt,
        "negative_prompt": metadata.negative_prompt,
        "seed": metadata.seed,
        "model": metadata.model,
        "server": str(record.get("server", "")),
        "simulated": metadata.is_simulated,
        "size_bytes": own.status.st_size,
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
            case [str(role), str(name)] if role in get_args(ParentRole) and parse_id(name):
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


@dataclass(frozen=True, slots=True)
class OpenedCatalog:
    """A sound catalog.

    Attributes
    ----------
    notes
        Sentences about what had to be done to get it.
    """

    catalog: ImageCatalog
    notes: tuple[str, ...] = ()


def open_catalog(state_dir: Path, folders: Iterable[Path] = ()) -> OpenedCatalog:
    """The catalog of a state folder, rebuilt when it is lost or damaged, with every picture of a crashed process.

    Parameters
    ----------
    folders
        Where pictures are saved; searched, with the folders in them, when there is no sound database.

    Raises
    ------
    StorageError
        The state folder cannot be written, or the database is of a newer version.
    """
    own = (state_dir / RESCUE_FOLDER, state_dir / MADE_FOLDER)
    folders = tuple(folders)
    for folder in (state_dir, *own, *(state_dir / INPUTS_FOLDER).glob("??"), *folders):
        remove_leftovers(folder)
    catalog = ImageCatalog(state_dir)
    notes: tuple[str, ...] = ()
    if not _is_sound(catalog, state_dir / FILE_NAME):
        database = build_database(state_dir / FILE_NAME, lock=None)
        with database.translate_errors(), hold_lock(state_dir / LOCK_NAME, exclusive=True):
            notes = tuple(_rebuild(state_dir, (*folders, *own)))
    reconcile(catalog, own)
    return OpenedCatalog(catalog, notes)


def _is_sound(catalog: ImageCatalog, path: Path) -> bool:
    if not path.exists():
        return False
    try:
        catalog.check()
    except CatalogDamagedError:
        return False
    return True


def _rebuild(state_dir: Path, folders: Iterable[Path]) -> Iterator[str]:
    path = state_dir / FILE_NAME
    if _is_sound(ImageCatalog(state_dir, database=build_database(path, lock=None)), path):
        return  # another process was faster
    fresh = path.with_name(f"{FILE_NAME}.new")
    for leftover in (fresh, *list_companions(fresh)):
        leftover.unlink(missing_ok=True)
    rebuilt = ImageCatalog(state_dir, database=build_database(fresh, lock=None))
    rebuilt.restore(_complete(record) for record in Journal(state_dir / JOURNAL_NAME).read())
    recover_files(rebuilt, itertools.chain.from_iterable(map(list_below, folders)))
    count = rebuilt.check()
    aside = set_aside(path)
    fresh.replace(path)
    if aside is not None:
        yield f"the catalog was damaged and was rebuilt with {count} pictures; the damaged file is kept as {aside}"
    elif count:
        yield f"the catalog was missing and was rebuilt with {count} pictures"


def _complete(record: ImageRecord) -> ImageRecord:
    """With the configuration, which the journal leaves to the file."""
    own = _open_own(record.path) if record.kind == "v" and record.path is not None else None
    if own is None or own.metadata.configuration is None:
        return record
    return replace(record, configuration=own.metadata.configuration.to_app_json())
