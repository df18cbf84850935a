"""The catalog of a studio, checked and repaired at the first call that needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from drawthings_mcp.errors import StorageError
from drawthings_mcp.settings import Settings

if TYPE_CHECKING:
    from drawthings_mcp.library.catalog import ImageCatalog
    from drawthings_mcp.library.recovery import OpenedCatalog


class Archive:
    """Gives the catalog."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = anyio.Lock()
        self._catalog: ImageCatalog | None = None

    async def open(self) -> OpenedCatalog:
        """The catalog; what had to be repaired is reported once.

        A catalog that cannot be used is no reason not to make pictures: it is given as it is, with the reason, and
        tried again at the next call. One that was lost or damaged since is rebuilt: numbered from 1 again, ids would
        be given twice.
        """
        from drawthings_mcp.library.catalog import ImageCatalog
        from drawthings_mcp.library.recovery import OpenedCatalog, open_catalog

        async with self._opening:
            if self._catalog is not None and not await anyio.to_thread.run_sync(self._catalog.is_lost):
                return OpenedCatalog(self._catalog)
            try:
                opened = await anyio.to_thread.run_sync(
                    open_catalog, self._settings.state_dir, [self._settings.output_dir]
                )
            except StorageError:
                # Said with each picture that gets no id.
                return OpenedCatalog(ImageCatalog(self._settings.state_dir))
            self._catalog = opened.catalog
            return opened
