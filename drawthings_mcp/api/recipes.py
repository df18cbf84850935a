"""Pictures of the library by id, and how a picture was made."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from drawthings_mcp.errors import MissingFileError
from drawthings_mcp.generation.recipe import PictureRecipe
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import open_unchanged, read_record_metadata
from drawthings_mcp.library.records import ImageRecord, parse_id
from drawthings_mcp.metadata.reading import read_image_metadata, read_metadata
from drawthings_mcp.metadata.recipe import build_recipe
from drawthings_mcp.settings import load_settings


def get_record(image_id: str, state_dir: str | Path | None = None) -> ImageRecord:
    """What the library knows of a picture: file, prompts, model, seed, configuration, parents.

    Parameters
    ----------
    image_id
        Such as ``v2``, as tools and commands name pictures.
    state_dir
        The library's folder; by default that of the settings.

    Raises
    ------
    UnknownNameError
        There is no such picture; carries the nearest ids.
    StorageError
        The library cannot be read.
    """
    folder = Path(state_dir).expanduser() if state_dir is not None else load_settings().state_dir
    return ImageCatalog(folder).get(image_id)


def read_recipe(picture: str | Path) -> PictureRecipe:
    """How the picture of an id or a file of any dialect was made; see ``PictureRecipe``.

    Raises
    ------
    DrawThingsError
        As ``get_record`` and ``read_image_metadata``.
    """
    if parse_id(str(picture)) is None:
        return _read_file(Path(picture).expanduser(), str(picture))
    record = get_record(str(picture))
    if record.path is not None:
        with suppress(MissingFileError):
            open_unchanged(record).close()
            return _read_file(record.path, record.id)
    return build_recipe(record.id, read_record_metadata(record), {})


def _read_file(path: Path, name: str) -> PictureRecipe:
    own = read_metadata(path)
    return build_recipe(name, read_image_metadata(path), own.record if own is not None else {})
