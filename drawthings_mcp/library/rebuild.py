"""A catalog that can be relied on: a lost or damaged one is made anew from its journal and from the pictures.

Nothing is deleted: a damaged database is set aside. While it is replaced, no process has it open.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from drawthings_mcp.databases import COMPANIONS, hold_lock
from drawthings_mcp.errors import CatalogDamagedError
from drawthings_mcp.library.catalog import LOCK_NAME, ImageCatalog
from drawthings_mcp.library.database import FILE_NAME, build_database
from drawthings_mcp.library.journal import FILE_NAME as JOURNAL_NAME
from drawthings_mcp.library.journal import Journal
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.library.recovery import list_below, read_own, reconcile, recover_files

RESCUE_FOLDER = "unsaved"
"""Folder of the state folder for pictures that could not be saved where they belong."""
MADE_FOLDER = "made"
"""Folder of the state folder for pictures that were made from others without Draw Things."""


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
    for leftover in (fresh, *_list_companions(fresh)):
        leftover.unlink(missing_ok=True)
    rebuilt = ImageCatalog(state_dir, database=build_database(fresh, lock=None))
    rebuilt.restore(_complete(record) for record in Journal(state_dir / JOURNAL_NAME).read())
    recover_files(rebuilt, itertools.chain.from_iterable(map(list_below, folders)))
    count = rebuilt.check()
    aside = _set_aside(path)
    fresh.replace(path)
    if aside is not None:
        yield f"the catalog was damaged and was rebuilt with {count} pictures; the damaged file is kept as {aside}"
    elif count:
        yield f"the catalog was missing and was rebuilt with {count} pictures"


def _complete(record: ImageRecord) -> ImageRecord:
    """With the configuration, which the journal leaves to the file."""
    metadata = read_own(record.path) if record.kind == "v" and record.path is not None else None
    if metadata is None or metadata.configuration is None:
        return record
    return replace(record, configuration=metadata.configuration.to_app_json())


def _set_aside(path: Path) -> Path | None:
    """Give what is there of a database another name; None when there is no database."""
    stem = f"{FILE_NAME}.damaged-{datetime.now():%Y%m%d-%H%M%S}"
    names = (f"{stem}{'' if number == 1 else f'-{number}'}" for number in itertools.count(1))
    aside = next(free for name in names if not (free := path.with_name(name)).exists())
    # Companions of the old file would be taken for those of the new one.
    for companion, ending in zip(_list_companions(path), COMPANIONS, strict=True):
        if companion.exists():
            companion.rename(aside.with_name(aside.name + ending))
    return path.rename(aside) if path.exists() else None


def _list_companions(path: Path) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in COMPANIONS]
