"""Pictures of the index → rows of an answer.

Owns which of several places of a picture is shown. Blocks.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.search.arguments import SearchRow
from drawthings_mcp.search.entry import Source
from drawthings_mcp.search.identity import identify_file, identify_origin
from drawthings_mcp.search.looking import list_places, source_key
from drawthings_mcp.search.matching import Hit

_ORDER = ("generated", "projects", "comfyui", "lm-studio", "folders")
"""Which place of a picture is shown when it has several: the one that tells most."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture is right now.

    Attributes
    ----------
    reference
        Its path, or ``project://<file>#<key>``.
    """

    source: Source
    file: Path
    key: str
    reference: str


class Shelf:
    """What rows are made from: the index, the sources that are there, the catalog of ids."""

    def __init__(self, connection: sqlite3.Connection, sources: Mapping[str, Source], catalog: ImageCatalog) -> None:
        self._connection = connection
        self._sources = sources
        self._catalog = catalog

    def is_alive(self, picture: int) -> bool:
        """Whether a picture is still at one of its places."""
        return self.find_place(picture) is not None

    def find_place(self, picture: int) -> Place | None:
        """The best place of a picture; None when it is nowhere any more."""
        places = []
        for root, kind, path, key in list_places(self._connection, picture):
            source = self._sources.get(source_key(root, kind))
            reference = source.find_place(path, key) if source is not None else None
            if source is not None and reference is not None:
                places.append(Place(source, path, key, reference))
        return min(places, key=_rank_place, default=None)

    def build_row(self, hit: Hit) -> SearchRow | None:
        """A row; None when the picture is gone."""
        place = self.find_place(hit.picture)
        row = self._connection.execute(
            "SELECT created, prompt, model, loras, width, height, seed FROM pictures WHERE id = ?", (hit.picture,)
        ).fetchone()
        if place is None or row is None:
            return None
        created, prompt, model, loras, width, height, seed = row
        when = datetime.fromisoformat(created)
        try:
            image_id = self._identify(place, when, prompt, model, width, height)
        except OSError:
            return None
        return SearchRow(
            id=image_id,
            prompt=prompt,
            width=width,
            height=height,
            match=hit.match,
            source=place.source.kind,
            place=place.reference,
            model=model,
            loras=tuple((name, weight) for name, weight in json.loads(loras)),
            seed=int(seed) if seed else None,
            created=when,
            path=None if place.key else place.file,
        )

    def _identify(self, place: Place, created: datetime, prompt: str, model: str, width: int, height: int) -> str:
        if place.key:
            return identify_origin(
                self._catalog, place.reference, created, prompt=prompt, model=model, width=width, height=height
            ).id
        return identify_file(
            self._catalog, place.file, created=created, prompt=prompt, model=model, width=width, height=height
        ).id


def _rank_place(place: Place) -> tuple[int, int, str]:
    """Copies have longer names than what they were copied from."""
    return _ORDER.index(place.source.kind), len(place.reference), place.reference
