"""The files that the simulator claims to have, and their specifications (protocol §8.1, §8.3).

Specifications stay what they are on the wire, JSON objects with snake_case keys; here is what may be left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.versions import find_version

Specification = Mapping[str, Any]

KINDS = ("models", "loras", "controlNets", "textualInversions", "upscalers")
"""The lists of a metadata override, under their names on the wire."""

_REQUIRED: Mapping[str, frozenset[str]] = {
    "models": frozenset({"name", "file", "prefix", "version", "upcast_attention", "default_scale"}),
    "loras": frozenset({"name", "file", "prefix", "version"}),
    "controlNets": frozenset({"name", "file", "version", "type", "global_average_pooling"}),
    "textualInversions": frozenset({"name", "file", "keyword", "length", "version"}),
    "upscalers": frozenset({"name", "file", "scale_factor", "blocks"}),
}
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


@cache
def _load() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("catalog.json").read_text("utf-8"))
    return loaded


def list_specifications(kind: str) -> tuple[Specification, ...]:
    """The built-in specifications of one kind, present or not."""
    return tuple(_load()[kind])


def default_model() -> Specification:
    """The first built-in model: what runs when the model that was asked for is not there (protocol §6.3)."""
    return list_specifications("models")[0]


@dataclass(frozen=True)
class Shelf:
    """What is there: the built-in files less the missing ones, and what was uploaded.

    Attributes
    ----------
    missing
        Built-in files that are not there.
    uploads
        SHA-256 of each uploaded file by name. The mapping may grow while the shelf is in use.
    """

    missing: Collection[str]
    uploads: Mapping[str, bytes]

    def list_files(self) -> list[str]:
        """Every file that is there, encoders and VAEs included."""
        present = [file for file in _list_built_in_files() if file not in self.missing]
        return present + [file for file in self.uploads if file not in present]

    def has(self, file: str) -> bool:
        """Whether a file is there."""
        return file in self.uploads or (file in _list_built_in_files() and file not in self.missing)

    def hash_file(self, file: str) -> bytes:
        """The SHA-256 of a file that is there; built-in files have no content, so theirs stands for the name."""
        return self.uploads.get(file) or hashlib.sha256(f"simulated {file}".encode()).digest()

    def build_override(self) -> pb.MetadataOverride:
        """The specifications of everything that is there with all it depends on."""
        return pb.MetadataOverride(**{kind: _encode(self._list_usable(kind)) for kind in KINDS})

    def _list_usable(self, kind: str) -> list[Specification]:
        return [spec for spec in list_specifications(kind) if all(map(self.has, _list_files_of(spec)))]


def parse_override(kind: str, data: bytes) -> tuple[list[Specification], int]:
    """The usable specifications of one list of a request, and how many entries had to be dropped (protocol §6.3)."""
    if not data:
        return [], 0
    try:
        entries = json.loads(data)
    except ValueError:
        return [], 1
    if not isinstance(entries, list):
        return [], 1
    found: dict[str, Specification] = {}
    for entry in entries:
        if _is_complete(kind, entry):
            found.setdefault(entry["file"], entry)
    dropped = sum(not _is_complete(kind, entry) for entry in entries)
    return list(found.values()), dropped


def _is_complete(kind: str, entry: object) -> bool:
    if not isinstance(entry, dict) or not _REQUIRED[kind] <= entry.keys() or not isinstance(entry["file"], str):
        return False
    return "version" not in entry or find_version(entry["version"]) is not None


def _encode(specifications: Iterable[Specification]) -> bytes:
    return json.dumps(list(specifications), ensure_ascii=False).encode()


@cache
def _list_built_in_files() -> Mapping[str, None]:
    specifications = (spec for kind in KINDS for spec in list_specifications(kind))
    files = [file for spec in specifications for file in _list_files_of(spec)]
    return dict.fromkeys([*files, *_load()["otherFiles"]])


def _list_files_of(specification: Specification) -> Iterator[str]:
    """The file of a specification and those it depends on."""
    yield specification["file"]
    yield from (specification[key] for key in _DEPENDENCIES if specification.get(key))
    for key in _DEPENDENCY_LISTS:
        yield from specification.get(key, ())
