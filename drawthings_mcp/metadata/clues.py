"""Everything that a picture says, under the name it has in PNG, wherever the file's format made it stand.

Owns where programs put their texts (formats §4.1). Knows no dialect's inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drawthings_mcp.metadata.containers.carried import Carried
from drawthings_mcp.metadata.containers.jpeg_segments import COMMENT_KEYWORD
from drawthings_mcp.metadata.exif import MAKER_NOTE, SOFTWARE, USER_COMMENT, decode_user_comment
from drawthings_mcp.metadata.tiff import Tags, parse_tags
from drawthings_mcp.metadata.xmp import XMP_KEYWORD, Packet, parse_packet

FOOOCUS_SCHEME = "fooocus_scheme"
PARAMETERS = "parameters"

_GRAPHS = ("prompt", "workflow")
_GRAPH_TAGS = range(0x0110, 0x0100, -1)
"""ComfyUI counts down from Model in WebP; each text begins with its keyword and a colon."""


@dataclass(frozen=True, slots=True)
class Clues:
    """What a picture says.

    Attributes
    ----------
    texts
        By PNG keyword.
    packet
        The texts of XMP.
    tags
        Those of EXIF.
    user_comment
        EXIF's, as text.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    packet: Packet = field(default_factory=Packet)
    tags: Tags = field(default_factory=Tags)
    user_comment: str = ""

    @property
    def parameters(self) -> str:
        """The text that half of all programs call so in PNG, and put into a comment elsewhere."""
        return self.texts.get(PARAMETERS) or self.user_comment or self.texts.get(COMMENT_KEYWORD, "")


def gather_clues(carried: Carried) -> Clues:
    """The clues in what a file carries.

    Raises
    ------
    InvalidImageError
        Its XMP is hostile.
    """
    xmp = carried.texts.get(XMP_KEYWORD)
    packet = parse_packet(xmp) if xmp else Packet()
    if not carried.exif:
        return Clues(carried.texts, packet)
    tags = parse_tags(carried.exif)
    comment = tags.picture.get(USER_COMMENT)
    return Clues(
        {**_list_graphs(tags), **_list_scheme(tags), **carried.texts},
        packet,
        tags,
        decode_user_comment(comment) if comment else "",
    )


def _list_graphs(tags: Tags) -> dict[str, str]:
    texts = (tags.get_text(number) for number in _GRAPH_TAGS if number in tags.picture)
    parts = (text.partition(":") for text in texts)
    return {keyword: rest for keyword, _, rest in parts if keyword in _GRAPHS}


def _list_scheme(tags: Tags) -> dict[str, str]:
    """Fooocus writes its scheme where cameras write notes."""
    is_fooocus = tags.get_text(SOFTWARE).startswith("Fooocus")
    return {FOOOCUS_SCHEME: tags.get_text(MAKER_NOTE)} if is_fooocus else {}
