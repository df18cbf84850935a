"""Pictures of the library on their way into the system's bin: a while in which that can be undone, then the move.

Nothing is unlinked. What is not the library's own, such as a photo that was brought in by its path, stays where it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.errors import DrawThingsError, InvalidInputError, StorageError
from drawthings_mcp.faces import Text
from drawthings_mcp.studio.finder import Finder
from drawthings_mcp.studio.gallery import Gallery

if TYPE_CHECKING:
    from drawthings_mcp.library.catalog import ImageCatalog
    from drawthings_mcp.library.records import ImageRecord

UNDO_SECONDS = 15.0
"""From the wish to the move."""
_logger = logging.getLogger(__name__)


class Bin:
    """What is about to be moved, and what was.

    Parameters
    ----------
    tasks
        In which it waits; what still waits when they end is moved then.
    """

    def __init__(self, gallery: Gallery, finder: Finder, tasks: TaskGroup, undo_seconds: float = UNDO_SECONDS) -> None:
        self._gallery = gallery
        self._finder = finder
        self._tasks = tasks
        self._undo_seconds = undo_seconds
        self._waiting: dict[str, anyio.CancelScope] = {}

    async def put(self, references: Iterable[str]) -> list[str]:
        """Hides pictures at once and has them moved after a while; their ids.

        Raises
        ------
        InvalidInputError
            One is not the library's own. Nothing is done then.
        InvalidImageError
            The file of one is gone, or is another by now.
        """
        records = {record.id: record for record in [await self._check(reference) for reference in references]}
        scopes = {image_id: anyio.CancelScope() for image_id in records if image_id not in self._waiting}
        self._waiting.update(scopes)  # before anything is awaited: others may ask for the same meanwhile
        try:
            await self._finder.mark_hidden(scopes, hidden=True, binned=True)
        except BaseException:
            for image_id in scopes:
                self._waiting.pop(image_id, None)
            raise
        for image_id, scope in scopes.items():
            self._tasks.start_soon(self._move_later, records[image_id], scope)
        return list(records)

    async def take_back(self, ids: Iterable[str]) -> list[str]:
        """Undoes what waits; the ids of pictures that were not moved yet."""
        kept = [image_id for image_id in dict.fromkeys(ids) if image_id in self._waiting]
        for image_id in kept:
            self._waiting.pop(image_id).cancel()
        await self._finder.mark_hidden(kept, hidden=False)
        return kept

    async def list_absent(self) -> dict[str, bool]:
        """What the page does not show, and whether it is in the bin; what was put back from there is shown again."""
        hidden = await self._finder.list_hidden()
        binned = [image_id for image_id, is_binned in hidden.items() if is_binned and image_id not in self._waiting]
        back = await anyio.to_thread.run_sync(_list_present, await self._gallery.open_catalog(), binned)
        if back:
            await self._finder.mark_hidden(back, hidden=False)
        return {image_id: is_binned for image_id, is_binned in hidden.items() if image_id not in back}

    async def _check(self, reference: str) -> ImageRecord:
        from drawthings_mcp.library.originals import INPUTS_FOLDER, open_unchanged

        catalog, policy = await self._gallery.open_catalog(), await self._gallery.build_policy()
        record = await anyio.to_thread.run_sync(catalog.get, reference)
        (await anyio.to_thread.run_sync(open_unchanged, record)).close()
        folders = (*policy.own_folders, policy.state_dir.resolve() / INPUTS_FOLDER)
        assert record.path is not None
        if record.kind == "p" or not any(record.path.resolve().is_relative_to(folder) for folder in folders):
            raise InvalidInputError(
                Text(
                    "The file of {id} is yours and not the library's: {path}. It stays where it is; hide it instead.",
                    id=record.id,
                    path=record.path,
                )
            )
        return record

    async def _move_later(self, record: ImageRecord, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                await anyio.sleep(self._undo_seconds)
        finally:
            # The end of the server does not undo what was asked for.
            if self._waiting.get(record.id) is scope:
                del self._waiting[record.id]
                with anyio.CancelScope(shield=True):
                    await self._move(record)

    async def _move(self, record: ImageRecord) -> None:
        with suppress(DrawThingsError):  # it is said by its being there again
            try:
                await anyio.to_thread.run_sync(_move_to_bin, record)
            except DrawThingsError as error:
                _logger.warning("%s", error)
                await self._finder.mark_hidden([record.id], hidden=False)


def _move_to_bin(record: ImageRecord) -> None:
    from send2trash import send2trash

    from drawthings_mcp.library.originals import open_unchanged

    open_unchanged(record).close()  # something else may lie there by now
    try:
        send2trash(record.source.path)
    except OSError as error:
        raise StorageError(f"{record.path} cannot be moved to the bin: {error}.") from error


def _list_present(catalog: ImageCatalog, ids: Iterable[str]) -> list[str]:
    def find() -> Iterator[str]:
        for image_id in ids:
            with suppress(DrawThingsError):
                path = catalog.get(image_id).path
                if path is not None and path.exists():
                    yield image_id

    return list(find())
