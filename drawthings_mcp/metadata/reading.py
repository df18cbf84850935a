"""One entry for every picture file: which dialect it speaks, and what it tells (formats §3.5, §4.1).

Owns the order in which dialects are tried. Each file is opened once; only what carries text is read of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.a1111 import parse_a1111
from drawthings_mcp.metadata.clues import Clues, gather_clues
from drawthings_mcp.metadata.comfyui import parse_comfyui
from drawthings_mcp.metadata.containers import read_carried, read_carried_from
from drawthings_mcp.metadata.containers.carried import Carried
from drawthings_mcp.metadata.draw_things_facts import parse_description, parse_exif_comment, parse_xmp_comment
from drawthings_mcp.metadata.exif import find_time, is_turned, parse_photo
from drawthings_mcp.metadata.facts import ImageFacts
from drawthings_mcp.metadata.fooocus import parse_fooocus
from drawthings_mcp.metadata.invokeai import parse_invokeai
from drawthings_mcp.metadata.json_values import clean_text
from drawthings_mcp.metadata.swarmui import parse_swarmui

MAX_FACTS_TEXT = 2 * 1024 * 1024
"""Bytes of text, after inflating, that one file may carry: graphs of five hundred nodes take one. In memory a hostile
text takes ten times as much (``benchmarks/metadata.py``)."""

_Dialect: TypeAlias = Callable[[Clues], ImageFacts | None]

_DIALECTS: tuple[_Dialect, ...] = (
    parse_xmp_comment,
    parse_comfyui,
    parse_invokeai,
    parse_swarmui,
    parse_fooocus,
    parse_a1111,
    parse_exif_comment,
    parse_description,
)


def read_facts(path: Path, *, with_position: bool = False) -> ImageFacts:
    """What a picture file tells of itself.

    Reads what carries text, never pixels; nothing of a file's name, date or size on disk is looked at.

    Parameters
    ----------
    with_position
        Whether to tell where a photo was taken.

    Raises
    ------
    InvalidImageError
        The file is not a picture, is damaged, or carries more than ``MAX_FACTS_TEXT`` or ``json_values.MAX_VALUES``.
    StorageError
        The file cannot be read.
    """
    carried = read_carried(path, MAX_FACTS_TEXT)
    return _find_facts(carried, str(path), with_position)


def read_facts_from(stream: BinaryIO, *, name: str = "The picture", with_position: bool = False) -> ImageFacts:
    """The same of a file that is open.

    Parameters
    ----------
    stream
        Seekable; read from its beginning, left open.
    name
        What errors call it.
    """
    carried = read_carried_from(stream, name=name, max_text=MAX_FACTS_TEXT)
    return _find_facts(carried, name, with_position)


def _find_facts(carried: Carried, name: str, with_position: bool) -> ImageFacts:
    try:
        clues = gather_clues(carried)
        told = (parse(clues) for parse in _DIALECTS)
        facts = next((found for found in told if found is not None), None)
    except InvalidImageError as error:
        raise InvalidImageError(f"{name}: {error}") from error
    if facts is None:
        facts = parse_photo(clues.tags, with_position=with_position) or ImageFacts("plain", 0, 0)
    return _complete(facts, carried, clues)


def _complete(facts: ImageFacts, carried: Carried, clues: Clues) -> ImageFacts:
    width, height = carried.width, carried.height
    if not carried.is_upright and is_turned(clues.tags):
        width, height = height, width
    return replace(
        facts,
        width=width,
        height=height,
        created=facts.created or find_time(clues.tags),
        loras=tuple((clean_text(lora), weight) for lora, weight in facts.loras),
        prompt=clean_text(facts.prompt),
        negative_prompt=clean_text(facts.negative_prompt),
        model=clean_text(facts.model),
        sampler=clean_text(facts.sampler),
        camera=clean_text(facts.camera),
        software=clean_text(facts.software),
    )
