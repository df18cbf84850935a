"""The frames of a video run → numbered PNG files that belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from drawthings_mcp.generation import ResultImage
from drawthings_mcp.library.new_files import number_stems, write_new_file
from drawthings_mcp.metadata.draw_things import build_metadata
from drawthings_mcp.metadata.draw_things_keys import ModelKind
from drawthings_mcp.tensors.png import encode_png

_NUMBER = "-{:04d}"


class FrameMetadata(TypedDict, total=False):
    """What ``build_metadata`` takes for all frames."""

    server: str
    requested_size: tuple[int, int] | None
    kind: ModelKind | None
    extra: Mapping[str, Any] | None


class FrameSet:
    """The frames of one video on disk: ``<stem>-0001.png``, ``<stem>-0002.png`` and so on.

    The first frame takes the first stem of which there are no frames yet, ``<stem>-2`` and so on, for the whole set. A
    set is used by one thread at a time; several processes may save at once.

    Parameters
    ----------
    folder
        Created when missing.
    stem
        From ``file_stem``.
    metadata
        As for ``save_image``; each frame's record tells its number as well.

    Attributes
    ----------
    paths
        Absolute, in order.
    """

    def __init__(self, folder: Path, stem: str, **metadata: Unpack[FrameMetadata]) -> None:
        self._folder = folder.absolute()
        self._stem = stem
        self._metadata = metadata
        self.paths: list[Path] = []

    @property
    def stem(self) -> str:
        """The stem of the whole set; before the first frame the one that was asked for."""
        return self.paths[0].stem.removesuffix(_NUMBER.format(1)) if self.paths else self._stem

    def add(self, frame: ResultImage) -> Path:
        """Save the next frame; a file that was put in its place meanwhile is left alone, as by ``save_image``.

        Raises
        ------
        StorageError
            The folder cannot be made or written, or the disk is full. The frames before it stay.
        InvalidInputError
            The image's seed is not the one that was used.
        """
        number = len(self.paths) + 1
        metadata = self._metadata.copy()
        metadata["extra"] = {**(metadata.get("extra") or {}), "frame": number}
        data = encode_png(frame.pixels, build_metadata(frame, **metadata))
        names = self._list_names(number)
        self.paths.append(write_new_file(self._folder, names, lambda path: path.write_bytes(data), what="frame"))
        return self.paths[-1]

    def _list_names(self, number: int) -> Iterator[str]:
        if number > 1:
            return (f"{name}.png" for name in number_stems(self.stem + _NUMBER.format(number)))
        return (f"{stem}{_NUMBER.format(1)}.png" for stem in number_stems(self._stem) if self._is_free(stem))

    def _is_free(self, stem: str) -> bool:
        taken = re.compile(re.escape(stem) + r"-\d{4,}\.png", re.IGNORECASE)
        return not any(taken.fullmatch(path.name) for path in self._folder.iterdir())
