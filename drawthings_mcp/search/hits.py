"""What a search found: pictures with their ids, where they are, and pages of them as text and JSON.

A picture's id is its own when it is one of ours, otherwise a ``p``, the same in every search.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawthings_mcp.errors import DrawThingsError, InvalidImageError
from drawthings_mcp.search.source import FileStamp, open_listed, stamp_of

if TYPE_CHECKING:
    import sqlite3

    from drawthings_mcp.faces import Face
    from drawthings_mcp.library.catalog import ImageCatalog
    from drawthings_mcp.library.records import ImageRecord
    from drawthings_mcp.metadata.dialect import ImageMetadata
    from drawthings_mcp.search.matching import MatchedPicture
    from drawthings_mcp.search.providers import WebImage
    from drawthings_mcp.search.query import Match
    from drawthings_mcp.search.source import PictureSource
    from drawthings_mcp.tensors.pixels import ImageLike

_OWN = frozenset("vai")
_REMEMBERED_HASHES = 4096
_ORDER = ("generated", "library", "projects", "comfyui", "lm-studio", "folders", "imported")
"""Which place of a picture is shown when it has several: the one that tells most."""
_ENDING = ".ckpt"
_MAX_LORAS = 5
"""LoRAs that a row names."""
_MAX_PAGE = 300
"""Characters of a web page's address, which is of no use when it is cut."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A picture that a search found.

    ``metadata`` is what its file tells, as it stands in the index; of a picture on the web, only the size. ``kind``
    says where it was found: ``generated``, ``folders``, ``comfyui``, ``lm-studio``, ``projects``, or the provider of a
    web search; ``place`` is its path, ``project://<file>#<key>``, or the URL. ``source`` shows it: its file, or a small
    picture of one that has no file of its own; empty when it cannot be shown.
    """

    record: ImageRecord
    metadata: ImageMetadata
    match: Match
    kind: str
    place: str
    source: ImageLike = field(repr=False)
    web: WebImage | None = None

    @property
    def id(self) -> str:
        """``v3`` for pictures of our own, ``p2`` for others; the same picture has the same id in every search."""
        return self.record.id

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright; 0 where nobody told."""
        return self.metadata.width, self.metadata.height

    @property
    def text(self) -> str:
        """Its prompt; the title of a picture on the web."""
        return self.metadata.prompt if self.web is None else self.web.title

    @property
    def loras(self) -> list[str]:
        """Names, with weights where they are known: ``style@0.8``."""
        return [name if weight is None else f"{name}@{weight:g}" for name, weight in self.metadata.loras]

    @property
    def is_shown(self) -> bool:
        """Whether there is anything to show."""
        return not isinstance(self.source, bytes) or bool(self.source)

    def to_json(self) -> dict[str, object]:
        """As JSON-serialisable dict."""
        metadata, web = self.metadata, self.web
        return {
            "id": self.id,
            "text": self.text,
            "width": metadata.width,
            "height": metadata.height,
            "model": metadata.model,
            "loras": self.loras,
            "seed": metadata.seed,
            "match": self.match,
            "source": self.kind,
            "created": metadata.created.isoformat() if metadata.created else None,
            "place": self.place,
            "page": web.page if web else "",
            "licence": web.licence if web else "",
            "attribution": web.attribution if web else "",
        }

    def describe(self, face: Face) -> str:
        """``p1 • a red fox • 1024×1024 • z_image • style@0.8 • words • folders • 2026-11-20``."""
        model = self.metadata.model.strip().removesuffix(_ENDING)
        parts = (
            self.id,
            face.quote(self.text) if self.text.strip() else "(no prompt)",
            f"{self.size[0]}×{self.size[1]}" if all(self.size) else "",
            face.label(model) if model else "",
            self._describe_loras(face),
            self.match,
            self.kind,
            f"{self.metadata.created:%Y-%m-%d}" if self.metadata.created else "",
            *self._describe_web(face),
        )
        return " • ".join(filter(None, parts))

    def _describe_loras(self, face: Face) -> str:
        named = self.metadata.loras[:_MAX_LORAS]
        labels = [(face.label(name.removesuffix(_ENDING)), weight) for name, weight in named]
        more = len(self.metadata.loras) - len(named)
        shown = ", ".join(name if weight is None else f"{name}@{weight:g}" for name, weight in labels)
        return f"{shown} and {more} more" if more else shown

    def _describe_web(self, face: Face) -> Iterator[str]:
        if self.web is not None:
            rights = (self.web.licence or self.web.attribution).strip()
            yield face.quote(rights) if rights else ""
            yield face.label(self.web.page) if len(self.web.page) <= _MAX_PAGE else ""


@dataclass(frozen=True, slots=True)
class HitPage:
    """One page of what was found.

    ``total`` counts the hits on all pages; there are at least so many when ``is_exact`` is False. ``pending`` files are
    not in the index yet and may be hits as well. ``notes`` are what the reader should know, one sentence each;
    ``explanation`` says where nothing was found and what would be. Unless ``is_current``, it is still being looked for
    what is new.
    """

    hits: tuple[Hit, ...]
    total: int
    is_exact: bool
    offset: int
    pending: int = 0
    notes: tuple[str, ...] = ()
    explanation: tuple[str, ...] = ()
    is_current: bool = True

    def to_json(self, face: Face) -> dict[str, object]:
        """As JSON-serialisable dict, the notes in the words of a face."""
        return {
            "total": self.total,
            "is_exact": self.is_exact,
            "offset": self.offset,
            "pending": self.pending,
            "hits": [hit.to_json() for hit in self.hits],
            "notes": [face.word(note) for note in self.notes],
            "explanation": [face.word(sentence) for sentence in self.explanation],
        }

    def describe_rest(self, face: Face) -> Iterator[str]:
        """How to get the rest, how much is not indexed yet, and what else there is to say."""
        offset = face.name("offset")
        shown = self.offset + len(self.hits)
        at_least = "" if self.is_exact else "at least "
        if not self.hits and self.total:
            yield f"There are {at_least}{self.total} hits; {offset}={self.offset} is past the last."
        elif not self.hits:
            advice = ("Use fewer or other words, leave filters out, or search another source.",)
            yield " ".join(("Nothing was found.", *map(face.word, self.explanation or advice)))
        elif shown < self.total:
            yield f"{shown} of {at_least}{self.total}; go on with {offset}={shown}"
        elif not self.is_exact:
            yield f"These are the best {shown}, perhaps there are more; go on with {offset}={shown}"
        if self.pending:
            yield f"{self.pending} files are not indexed yet; search again in a while."
        yield from (f"note: {face.word(note)}" for note in self.notes)


@dataclass(frozen=True, slots=True)
class PictureLocation:
    """Where a picture is right now; ``reference`` is its path, or ``project://<file>#<key>``."""

    source: PictureSource
    file: Path
    key: str
    reference: str


@dataclass(frozen=True, slots=True)
class HitBuilder:
    """Pictures of the index → hits. Blocks. ``sources`` are those that are there, by ``source_key``."""

    connection: sqlite3.Connection
    sources: Mapping[str, PictureSource]
    catalog: ImageCatalog

    def is_alive(self, picture: int) -> bool:
        """Whether a picture is still at one of its places."""
        return self._find_location(picture) is not None

    def build(self, matched: MatchedPicture) -> Hit | None:
        """A hit; None when the picture is gone."""
        location = self._find_location(matched.picture)
        metadata = self._read_metadata(matched.picture)
        if location is None or metadata is None:
            return None
        try:
            record = self._identify(location, metadata)
        except (OSError, InvalidImageError):
            return None
        kind = location.source.kind
        return Hit(record, metadata, matched.match, kind, location.reference, _read_preview(location))

    def _find_location(self, picture: int) -> PictureLocation | None:
        """The best place of a picture; None when it is nowhere any more."""
        locations = []
        for key, path, entry in list_places(self.connection, picture):
            source = self.sources.get(key)
            reference = source.find_place(path, entry) if source is not None else None
            if source is not None and reference is not None:
                locations.append(PictureLocation(source, path, entry, reference))
        return min(locations, key=_rank_location, default=None)

    def _read_metadata(self, picture: int) -> ImageMetadata | None:
        from drawthings_mcp.metadata.dialect import ImageMetadata

        row = self.connection.execute(
            "SELECT dialect, width, height, prompt, model, loras, seed, created FROM pictures WHERE id = ?", (picture,)
        ).fetchone()
        if row is None:
            return None
        dialect, width, height, prompt, model, loras, seed, created = row
        return ImageMetadata(
            dialect,
            width,
            height,
            prompt,
            model=model,
            loras=tuple((name, weight) for name, weight in json.loads(loras)),
            seed=int(seed) if seed else None,
            created=datetime.fromisoformat(created),
        )

    def _identify(self, location: PictureLocation, metadata: ImageMetadata) -> ImageRecord:
        assert metadata.created is not None
        told: dict[str, Any] = {
            name: getattr(metadata, name) for name in ("created", "prompt", "model", "width", "height")
        }
        if location.key:
            return identify_origin(self.catalog, location.reference, **told)
        sha256 = _hash(location.file, stamp_of(location.file.stat()))
        return _find_own(self.catalog, location.file, sha256) or self.catalog.register_file(
            "p", location.file, sha256=sha256, **told
        )


def identify_origin(catalog: ImageCatalog, origin: str, **told: Any) -> ImageRecord:
    """The record of something that was found and is no file, with what is told about it when it is new."""
    return catalog.find_by_origin(origin) or catalog.register_found(origin, **told)


def list_places(connection: sqlite3.Connection, picture: int) -> list[tuple[str, Path, str]]:
    """The source's key, the file and the key within it of every place of a picture."""
    rows = connection.execute(
        "SELECT roots.path, source, folders.path, files.name, entry FROM places JOIN files ON files.id = places.file "
        "JOIN folders ON folders.id = files.folder JOIN roots ON roots.id = folders.root WHERE picture = ?",
        (picture,),
    )
    return [(source_key(root, kind), Path(folder, name), key) for root, kind, folder, name, key in rows]


def source_key(root: str | Path, kind: str) -> str:
    """What tells a source from others."""
    return f"{root}\n{kind}"


def _find_own(catalog: ImageCatalog, path: Path, sha256: str) -> ImageRecord | None:
    """The record of one of our own pictures: generated, brought in, or made from others."""
    record = catalog.find_by_hash(sha256) or catalog.find_by_path(path)
    return record if record is not None and record.id[0] in _OWN and record.sha256 in ("", sha256) else None


@lru_cache(_REMEMBERED_HASHES)
def _hash(path: Path, _stamp: FileStamp) -> str:
    """SHA-256 of a file, in hexadecimal; remembered as long as the file does not change."""
    from drawthings_mcp.tensors.picture_files import hash_file

    with open_listed(path) as file:
        return hash_file(file)


def _read_preview(location: PictureLocation) -> ImageLike:
    from drawthings_mcp.tensors.picture_files import PictureFile

    if not location.key:
        return PictureFile(location.file, follows_links=False)
    try:
        return location.source.read_preview(location.file, location.key)
    except DrawThingsError:
        return b""  # it is listed all the same, as one that cannot be shown


def _rank_location(location: PictureLocation) -> tuple[int, int, str]:
    """Copies have longer names than what they were copied from."""
    return _ORDER.index(location.source.kind), len(location.reference), location.reference
