"""A picture of one of the app's projects → the bytes of a picture file, for a hit that becomes an input."""

from __future__ import annotations

from typing import NamedTuple

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata import build_made_metadata, encode_png
from drawthings_mcp.search.projects import ProjectFile, parse_reference

SCHEME = "project://"


class ProjectPicture(NamedTuple):
    """A picture as a file.

    Attributes
    ----------
    note
        What the caller might not expect; empty when there is nothing.
    """

    data: bytes
    note: str = ""


def read_project_picture(origin: str) -> ProjectPicture:
    """The picture at ``project://<file>#<id>``, or the app's own preview when the project has lost the picture. Blocks.

    Raises
    ------
    InvalidImageError
        Neither is there any more.
    """
    path, entry_id = parse_reference(origin)
    with ProjectFile(path) as project:
        try:
            pixels = project.read_image(entry_id)
        except InvalidImageError:
            thumbnail = project.read_thumbnail(entry_id, full=True)
            if thumbnail is None:
                raise
            return ProjectPicture(thumbnail, "is the app's preview: the project does not keep the picture any more")
    height, width = pixels.shape[:2]
    return ProjectPicture(encode_png(pixels, build_made_metadata((width, height))))
