"""The specifications that a request carries for files that the server may not know (protocol §6.3, §8.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from drawthings_mcp.catalog import CatalogEntry, ServerInventory
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.planning.known import KnownFiles, load_known

REQUIRED_KEYS: Mapping[str, frozenset[str]] = {
    "models": frozenset({"name", "file", "prefix", "version", "upcast_attention", "default_scale"}),
    "loras": frozenset({"name", "file", "prefix", "version"}),
    "controlNets": frozenset({"name", "file", "version", "type", "global_average_pooling"}),
    "textualInversions": frozenset({"name", "file", "keyword", "length", "version"}),
    "upscalers": frozenset({"name", "file", "scale_factor", "blocks"}),
}
"""Keys without which a server drops a specification silently, by kind (protocol §8.3)."""

_DEPENDENCIES = (
    "text_encoder",
    "autoencoder",
    "image_encoder",
    "clip_encoder",
    "t5_encoder",
    "diffusion_mapping",
    "preprocessor",
    "alternative_decoder",
)
_DEPENDENCY_LISTS = ("additional_clip_encoders", "stage_models")


def build_override(configuration: ImageGenerationConfig, inventory: ServerInventory) -> dict[str, list[dict[str, Any]]]:
    """Specifications of what a configuration names, as far as they are known and the server does not list them.

    An override goes before what the server knows itself; hence nothing is sent for what it lists, nor anything that is
    not whole; to a server that lists nothing, everything known is sent. Upscalers are built into every server and not
    among the known files.

    Returns
    -------
    dict[str, list[dict[str, Any]]]
        For ``GenerationRequest.override``; kinds without entries are absent.
    """
    known = load_known()
    models = (configuration.model, *_list_stages(configuration.model, known), configuration.refiner_model)
    loras = (lora.file for lora in configuration.loras)
    controls = (control.file for control in configuration.controls)
    chosen = {
        "models": _choose(models, inventory.models, known.models, known),
        "loras": _choose(loras, inventory.loras, known.loras, known),
        "controlNets": _choose(controls, inventory.controls, known.controls, known),
    }
    return {kind: entries for kind, entries in chosen.items() if entries}


def list_dependencies(specification: Mapping[str, Any]) -> Iterator[str]:
    """The files that a specification needs beside its own."""
    own = specification.get("file")
    singles = (specification.get(key) for key in _DEPENDENCIES)
    several = (file for key in _DEPENDENCY_LISTS for file in specification.get(key) or ())
    yield from dict.fromkeys(str(file) for file in (*singles, *several) if file and file != own)


def is_whole(kind: str, specification: Mapping[str, Any]) -> bool:
    """Whether a specification has the keys that its kind requires."""
    return REQUIRED_KEYS[kind] <= specification.keys()


def _list_stages(model: str, known: KnownFiles) -> Sequence[str]:
    entry = known.models.get(model)
    return entry.specification.get("stage_models", ()) if entry else ()


def _choose(
    files: Iterable[str], listed: Sequence[CatalogEntry], facts: Mapping[str, CatalogEntry], known: KnownFiles
) -> list[dict[str, Any]]:
    there = {entry.file for entry in listed}
    wanted = dict.fromkeys(file for file in files if file in known.complete and file in facts and file not in there)
    return [deepcopy(dict(facts[file].specification)) for file in wanted]
