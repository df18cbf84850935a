"""Folders that the user allowed → the sources in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from drawthings_mcp.search.entry import Source
from drawthings_mcp.search.sources import lm_studio
from drawthings_mcp.search.sources.folder import GENERATED, FolderSource, ReadFacts
from drawthings_mcp.search.sources.project import ProjectSource

COMFYUI = "comfyui"
FOLDERS = "folders"
_COMFYUI_PARTS = ("output", "custom_nodes", "models")


def choose_sources(output_dir: Path, folders: Sequence[Path], read_facts: ReadFacts) -> tuple[Source, ...]:
    """The sources in some folders, and our own library; no file belongs to two.

    Parameters
    ----------
    output_dir
        Our own library.
    folders
        What is to be searched besides; a ComfyUI installation or LM Studio's home stand for what people keep there.
        Each may have project files as well as pictures.
    """
    roots = {_resolve(output_dir): GENERATED}
    for folder in folders:
        for root, kind in _recognise(_resolve(folder)):
            roots.setdefault(root, kind)
    sources: list[Source] = []
    for root, kind in roots.items():
        others = frozenset(roots) - {root}
        if kind == lm_studio.KIND:
            sources.append(lm_studio.LMStudioSource(root, read_facts))
        else:
            sources.append(FolderSource(kind, root, read_facts, others))
        if kind == FOLDERS:
            sources.append(ProjectSource(root, others))
    return tuple(sources)


def _recognise(folder: Path) -> Iterator[tuple[Path, str]]:
    if lm_studio.is_lm_studio(folder):
        yield folder / lm_studio.ATTACHMENTS, lm_studio.KIND
        yield folder / lm_studio.WORKING_FOLDERS, lm_studio.KIND
    elif _is_comfyui(folder):
        yield folder / "output", COMFYUI
    else:
        yield folder, COMFYUI if folder.name == "output" and _is_comfyui(folder.parent) else FOLDERS


def _is_comfyui(folder: Path) -> bool:
    return all((folder / part).is_dir() for part in _COMFYUI_PARTS)


def _resolve(folder: Path) -> Path:
    """Where a folder really is: two spellings of one folder would index it twice."""
    try:
        return folder.expanduser().resolve()
    except (OSError, RuntimeError):
        return folder.absolute()
