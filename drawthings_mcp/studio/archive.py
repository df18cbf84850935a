"""The catalog of a studio, made sound at the first call that needs it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from drawthings_mcp.errors import StorageError
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.background import load_room

if TYPE_CHECKING:
    from drawthings_mcp.library import ImageCatalog, OpenedCatalog


class Archive:
    """Gives the catalog, checking and mending it when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = anyio.Lock()
        self._catalog: ImageCatalog | None = None

    async def open(self) -> OpenedCatalog:
        """The catalog; what had to be mended is told once.

        A catalog that cannot be used is no reason not to make pictures: it is given as it is, with the reason, and
        tried again at the next call. One that was lost or damaged since is mended: numbered from 1 again, ids would
        be given twice.
        """
        library = await load_room("library")
        async with self._opening:
            if self._catalog is not None and not await anyio.to_thread.run_sync(self._catalog.is_lost):
                return library.OpenedCatalog(self._catalog)  # type: ignore[no-any-return]
            prepare = partial(library.open_catalog, self._settings.state_dir, [self._settings.output_dir])
            try:
                opened: OpenedCatalog = await anyio.to_thread.run_sync(prepare)
            except StorageError:
                # Said with each picture that gets no id.
                return library.OpenedCatalog(library.ImageCatalog(self._settings.state_dir))  # type: ignore[no-any-return]
            self._catalog = opened.catalog
            return opened
