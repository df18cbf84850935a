"""The library's catalog, kept sound, and its pictures by reference: found, read, worked on without a server."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from drawthings_mcp.errors import DrawThingsError, InvalidImageError, StorageError
from drawthings_mcp.faces import Text, say
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.results import (
    FoundPictures,
    MadePicture,
    OpenedPicture,
    Original,
    ShownPicture,
    find_mime_type,
)

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from drawthings_mcp.faces import Face
    from drawthings_mcp.library.catalog import ImageCatalog
    from drawthings_mcp.library.records import ImageRecord
    from drawthings_mcp.library.recovery import OpenedCatalog
    from drawthings_mcp.references.policy import ImportPolicy, Visitor
    from drawthings_mcp.studio.export import ExportedPicture, ExportParams
    from drawthings_mcp.studio.recipes import RecordedRecipe
    from drawthings_mcp.studio.transform import TransformParams

_OVERLAY_EDGE = 1568
"""Longest side of a picture with its mask: as large as any preview."""


@dataclass(slots=True)
class _Opened:
    """The catalog, once it is open, and the state of its file when it was last found sound; shared by all views."""

    catalog: ImageCatalog | None = None
    checked: tuple[int, ...] | None = None


class Gallery:
    """Pictures of one studio.

    Parameters
    ----------
    tasks
        Where it notes which previews were shown, while their result is on its way.
    reads_anywhere
        Whether paths may lead out of the input folders: for a person at a shell.
    """

    def __init__(self, settings: Settings, tasks: TaskGroup, *, reads_anywhere: bool) -> None:
        self._settings = settings
        self._tasks = tasks
        self._reads_anywhere = reads_anywhere
        self._visitor: Visitor | None = None
        self._opening = anyio.Lock()
        self._opened = _Opened()
        self._remembering = anyio.Lock()

    def open_to(self, visitor: Visitor) -> Gallery:
        """The same gallery as one of several clients sees it."""
        view = copy.copy(self)
        view._visitor = visitor
        return view

    def note_own(self, *image_ids: str) -> None:
        """Notes what the client of this view made or found, for its ``latest``."""
        if self._visitor is not None:
            self._visitor.own.add(*image_ids)

    async def open(self) -> OpenedCatalog:
        """The catalog, checked and repaired at the first call; what was repaired is reported once.

        A catalog that cannot be used is no reason not to make pictures: it is given as it is and tried again at the
        next call. One that was lost or damaged since is rebuilt: numbered from 1 again, ids would be given twice.
        """
        from drawthings_mcp.library.catalog import ImageCatalog
        from drawthings_mcp.library.recovery import OpenedCatalog, open_catalog

        async with self._opening:
            known = self._opened.catalog
            if known is not None and await self._is_sound(known):
                return OpenedCatalog(known)
            try:
                opened = await anyio.to_thread.run_sync(
                    open_catalog, self._settings.state_dir, [self._settings.output_dir]
                )
            except StorageError:
                # Said with each picture that gets no id.
                return OpenedCatalog(ImageCatalog(self._settings.state_dir))
            self._opened.catalog = opened.catalog
            return opened

    async def _is_sound(self, catalog: ImageCatalog) -> bool:
        """Whether the catalog can be relied on; it is only read when its file has changed since."""
        state = catalog.describe_file()
        if state is not None and state == self._opened.checked:
            return True
        if await anyio.to_thread.run_sync(catalog.is_lost):
            return False
        self._opened.checked = state
        return True

    async def open_catalog(self) -> ImageCatalog:
        """The catalog alone; it knows every preview that was shown."""
        async with self._remembering:
            return (await self.open()).catalog

    async def build_policy(self) -> ImportPolicy:
        """What may come in, and from where."""
        from drawthings_mcp.references.policy import build_policy

        policy = await anyio.to_thread.run_sync(build_policy, self._settings, self._visitor)
        return replace(policy, folders=(Path("/"),)) if self._reads_anywhere else policy

    async def find(self, references: Iterable[str]) -> FoundPictures:
        """The pictures that references lead to; those from outside get ids."""
        from drawthings_mcp.references.resolve import resolve_reference

        catalog, policy = await self.open_catalog(), await self.build_policy()
        found: dict[str, ImageRecord] = {}
        notes: list[str] = []
        for reference in references:
            resolved = await resolve_reference(reference, catalog, policy)
            record = resolved.record
            # Some pictures are recorded without a size: those that were found, and those of damaged catalogs.
            found[record.id] = record if record.width else await self._measure(record)
            notes += resolved.notes
        return FoundPictures(tuple(found.values()), tuple(dict.fromkeys(notes)))

    async def describe_recipes(self, pictures: Sequence[ImageRecord], face: Face) -> list[str]:
        """How pictures were made, in lines; of two, what differs. See ``studio.recipes``."""
        from drawthings_mcp.studio.recipes import describe_recipes, read_recipe

        def describe() -> list[str]:
            return describe_recipes(list(map(read_recipe, pictures)), face)

        return await anyio.to_thread.run_sync(describe)

    async def find_recipes(self, references: Iterable[str]) -> list[RecordedRecipe]:
        """How the pictures that references lead to were made; those from outside get ids."""
        from drawthings_mcp.studio.recipes import find_recipe

        catalog, policy = await self.open_catalog(), await self.build_policy()
        return [await find_recipe(reference, catalog, policy) for reference in references]

    async def _measure(self, record: ImageRecord) -> ImageRecord:
        from drawthings_mcp.library.originals import read_pixels

        pixels = await anyio.to_thread.run_sync(read_pixels, record)
        return replace(record, width=pixels.shape[1], height=pixels.shape[0])

    async def open_original(self, image_id: str) -> OpenedPicture:
        """The file of a picture as it was recorded, to be closed by the caller; refused when it changed since."""
        from drawthings_mcp.library.originals import open_unchanged

        record = await anyio.to_thread.run_sync((await self.open_catalog()).get, image_id)
        file = await anyio.to_thread.run_sync(open_unchanged, record)
        assert record.path is not None
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        return OpenedPicture(record.id, record.path, file, find_mime_type(record.format), size, record.sha256)

    async def read_original(self, image_id: str, max_bytes: int) -> Original:
        """The bytes of ``open_original``; refused when they are more than ``max_bytes``."""
        opened = await self.open_original(image_id)
        with opened.file as file:
            if opened.size_bytes > max_bytes:
                raise InvalidImageError(
                    f"{opened.id} has {opened.size_bytes / 1e6:.0f} MB, too many for a message; read "
                    f"image://{opened.id}/preview, or open the file {opened.path}."
                )
            return Original(opened.id, await anyio.to_thread.run_sync(file.read), opened.mime_type)

    async def list_ids(self, limit: int) -> list[str]:
        """The newest ids of all kinds; none when the catalog cannot be read."""
        try:
            records = await anyio.to_thread.run_sync(partial((await self.open_catalog()).list_images, limit=limit))
        except StorageError:
            return []
        return [record.id for record in records]

    async def transform(self, params: TransformParams) -> MadePicture:
        """Makes a picture from others without a server, and keeps it as ``iN``."""
        from drawthings_mcp.studio.transform import make

        found = await self.find(params.images)
        work = partial(make, params, found.pictures, await self.open_catalog(), self._settings.state_dir)
        made = await anyio.to_thread.run_sync(work)
        self.note_own(made.id)
        return MadePicture(made, found.notes)

    async def add(self, data: bytes) -> tuple[ImageRecord, tuple[str, ...]]:
        """A picture that a person brought in, as ``aN``; and notes about what they might not expect.

        Raises
        ------
        InvalidImageError
            It is no picture that can be taken, or a larger one than may come in.
        """
        from drawthings_mcp.references.importing import import_bytes
        from drawthings_mcp.references.policy import MAX_DATA_BYTES

        catalog, policy = await self.open_catalog(), await self.build_policy()
        if len(data) > MAX_DATA_BYTES:
            problem = f"The picture has {len(data) / 1e6:.0f} MB; at most {MAX_DATA_BYTES / 1e6:.0f} MB can come in."
            raise InvalidImageError(problem)
        found = await anyio.to_thread.run_sync(import_bytes, data, "The picture", "", catalog, policy)
        self.note_own(found.record.id)
        return found.record, found.notes

    async def keep_mask(self, reference: str, painted: bytes) -> ImageRecord:
        """A mask that a person painted over a picture, as ``iN``; see ``transform.keep_painted_mask``."""
        from drawthings_mcp.studio.transform import keep_painted_mask

        (picture,) = (await self.find([reference])).pictures
        work = partial(keep_painted_mask, picture, painted, await self.open_catalog(), self._settings.state_dir)
        made = await anyio.to_thread.run_sync(work)
        self.note_own(made.id)
        return made

    async def export(self, params: ExportParams) -> tuple[tuple[ExportedPicture, ...], tuple[str, ...]]:
        """Writes copies for others into the folders for exports; and notes about what the caller might not expect."""
        from drawthings_mcp.studio.export import export_pictures

        found = await self.find(params.images)
        work = partial(export_pictures, params, found.pictures, self._settings.export_folders)
        return await anyio.to_thread.run_sync(work), found.notes

    async def draw_masks(
        self, pictures: Sequence[ImageRecord], canvas: Mapping[str, ImageRecord] | None = None
    ) -> tuple[ImageRecord | ShownPicture, ...]:
        """Pictures to be shown, masks among them in red on what they are masks of.

        Parameters
        ----------
        canvas
            What that is, by the id of the mask; by default what masks of ours were made from.
        """
        from drawthings_mcp.attachments.masks import draw_mask_on
        from drawthings_mcp.studio.transform import find_masked

        catalog = await self.open_catalog()

        def draw(picture: ImageRecord) -> ImageRecord | ShownPicture:
            try:
                below = find_masked(picture, catalog) if canvas is None else canvas.get(picture.id)
                drawn = draw_mask_on(below.source, picture.source, _OVERLAY_EDGE) if below is not None else None
            except (InvalidImageError, StorageError):  # what became of the file is said where it is used
                return picture
            if below is None or drawn is None:
                return picture
            text = Text("{mask} is shown in red on {picture}", mask=picture.id, picture=below.id)
            return ShownPicture(picture.id, drawn, text)

        return await anyio.to_thread.run_sync(lambda: tuple(map(draw, pictures)))

    async def find_masked(self, picture: ImageRecord) -> ImageRecord | None:
        """The picture that a mask of ours is for; None for what is no such mask."""
        from drawthings_mcp.studio.transform import find_masked

        return await anyio.to_thread.run_sync(find_masked, picture, await self.open_catalog())

    async def cut_parts(
        self, pictures: Sequence[ImageRecord], box: Sequence[float], edge: int
    ) -> tuple[ShownPicture, ...]:
        """The part of each picture inside a box, enlarged to a longer side of ``edge``."""
        from drawthings_mcp.studio.transform import zoom

        def cut(picture: ImageRecord) -> ShownPicture:
            part, (left, top, right, bottom) = zoom(picture.source, box, edge)
            factor = part.shape[1] / (right - left)
            text = Text(
                "{id} is shown from {left},{top} to {right},{bottom}{enlarged}",
                **{"id": picture.id, "left": left, "top": top, "right": right, "bottom": bottom},
                enlarged=say(f", enlarged {factor:.3g} times" if factor > 1 else ""),
            )
            return ShownPicture(picture.id, part, text)

        return await anyio.to_thread.run_sync(lambda: tuple(map(cut, pictures)))

    def remember_previews(self, previews: Sequence[tuple[str, bytes]]) -> None:
        """Has recorded what previews show, to recognise them when a client gives them back as files of its own.

        Returns at once; it is done before a reference is looked up, and before the studio is closed.
        """
        if previews:
            self._tasks.start_soon(self._remember_previews, previews)

    async def _remember_previews(self, previews: Sequence[tuple[str, bytes]]) -> None:
        from drawthings_mcp.library.originals import hash_pixels
        from drawthings_mcp.library.records import parse_id
        from drawthings_mcp.tensors.pixels import ensure_pixels

        def remember(catalog: ImageCatalog) -> None:
            for image_id, data in previews:
                if parse_id(image_id) is not None:  # saved, but not in the catalog otherwise
                    catalog.record_preview(hash_pixels(ensure_pixels(data)), image_id)

        # When that fails, the picture was shown all the same.
        with anyio.CancelScope(shield=True), contextlib.suppress(DrawThingsError):
            async with self._remembering:
                catalog = (await self.open()).catalog
                await anyio.to_thread.run_sync(remember, catalog)
                self._opened.checked = catalog.describe_file()

    async def find_vision(self, client: str) -> bool | None:
        """Whether the model behind a client proved that it sees pictures; None when it was never asked."""
        try:
            return await anyio.to_thread.run_sync((await self.open_catalog()).find_vision, client)
        except StorageError:
            return None

    async def record_vision(self, client: str, seen: bool) -> None:
        """Records whether it did."""
        await anyio.to_thread.run_sync((await self.open_catalog()).record_vision, client, seen)
