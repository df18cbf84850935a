"""The files that the simulator claims to have, their specifications, and facts about model versions (protocol §8).

Specifications stay what they are on the wire: JSON objects with snake_case keys. The built-in ones are in
``catalog.json``, the facts about versions in ``versions.json`` (protocol §2.5, §3.6, §7.4, §8.4).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from drawthings_mcp._generated import image_service_pb2 as pb

Specification = Mapping[str, Any]

OPTIONAL_FILES = frozenset({"seedvr2_3b_q8p.ckpt"})
"""Files that most servers lack."""

KINDS = ("models", "loras", "controlNets", "textualInversions", "upscalers")
"""The lists of a metadata override, under their names on the wire."""

UNKNOWN_FILE_VERSION = "v1"
"""The version that a model file without a specification is assumed to have."""

_REQUIRED: Mapping[str, frozenset[str]] = {
    "models": frozenset({"name", "file", "prefix", "version", "upcast_attention", "default_scale"}),
    "loras": frozenset({"name", "file", "prefix", "version"}),
    "controlNets": frozenset({"name", "file", "version", "type", "global_average_pooling"}),
    "textualInversions": frozenset({"name", "file", "keyword", "length", "version"}),
    "upscalers": frozenset({"name", "file", "scale_factor", "blocks"}),
}
_DEPENDENCIES = (
    "text_encoder", "autoencoder", "image_encoder", "clip_encoder", "t5_encoder", "diffusion_mapping", "preprocessor",
    "alternative_decoder",
)  # fmt: skip
_DEPENDENCY_LISTS = ("additional_clip_encoders", "stage_models")

_REFERENCE_MODIFIERS = frozenset({"kontext", "kontext_kv", "qwenimage_edit_plus", "qwenimage_edit_2511"})
_REFERENCE_VERSIONS = frozenset({"flux1", "qwen_image", "qwen_image_2.1", "flux2", "flux2_9b", "flux2_4b"})
_MOST_REFERENCES = {"fl2va": 1, "ref2va": 4}
"""How many pictures of a moodboard a video is made from, by modifier."""
_FIRST_FRAME_MODIFIERS = frozenset({"inpainting", "kontext", "fl2va"})
_H3_FIRST, _H3_FRAMES = 5, 17
"""Frames of two latent ones, and of each five that follow them (protocol §2.8)."""
_FRAME_GROUPS: Mapping[str | None, int] = {"wan": 4, "ltx": 8, "svd": 1, None: 1}


@cache
def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))
    return loaded


def list_specifications(kind: str) -> tuple[Specification, ...]:
    """The built-in specifications of one kind, present or not."""
    return tuple(_load("catalog.json")[kind])


def default_model() -> Specification:
    """The first built-in model, which replaces a model that is not there (protocol §6.3)."""
    return list_specifications("models")[0]


@dataclass(frozen=True)
class Inventory:
    """What is there: the built-in files without the missing ones, and what was uploaded.

    ``uploads`` has the SHA-256 of each uploaded file by name and grows with every upload.
    """

    missing: Collection[str] = ()
    uploads: dict[str, bytes] = field(default_factory=dict)

    def list_files(self) -> list[str]:
        """Every file that is there, including encoders and VAEs."""
        present = [file for file in _list_built_in_files() if file not in self.missing]
        return present + [file for file in self.uploads if file not in present]

    def has(self, file: str) -> bool:
        """Whether a file is there."""
        return file in self.uploads or (file in _list_built_in_files() and file not in self.missing)

    def hash_file(self, file: str) -> bytes:
        """The SHA-256 of a file that is there; for a built-in file, which has no content, one made from its name."""
        return self.uploads.get(file) or hashlib.sha256(f"simulated {file}".encode()).digest()

    def build_override(self) -> pb.MetadataOverride:
        """The specifications of everything that is there together with all it depends on."""
        return pb.MetadataOverride(**{kind: self._encode_usable(kind) for kind in KINDS})

    def _encode_usable(self, kind: str) -> bytes:
        usable = [spec for spec in list_specifications(kind) if all(map(self.has, _list_files_of(spec)))]
        return json.dumps(usable, ensure_ascii=False).encode()


@cache
def _list_built_in_files() -> Mapping[str, None]:
    specifications = (spec for kind in KINDS for spec in list_specifications(kind))
    files = [file for spec in specifications for file in _list_files_of(spec)]
    return dict.fromkeys([*files, *_load("catalog.json")["otherFiles"]])


def _list_files_of(specification: Specification) -> Iterator[str]:
    """The file of a specification and those it depends on."""
    yield specification["file"]
    yield from (specification[key] for key in _DEPENDENCIES if specification.get(key))
    for key in _DEPENDENCY_LISTS:
        yield from specification.get(key, ())


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
    complete = [entry for entry in entries if _is_complete(kind, entry)]
    found: dict[str, Specification] = {}
    for entry in complete:
        found.setdefault(entry["file"], entry)
    return list(found.values()), len(entries) - len(complete)


def _is_complete(kind: str, entry: object) -> bool:
    if not isinstance(entry, dict) or not _REQUIRED[kind] <= entry.keys() or not isinstance(entry["file"], str):
        return False
    return "version" not in entry or find_version(entry["version"]) is not None


@dataclass(frozen=True)
class VersionFacts:
    """What the wire shows of a model version.

    ``channels`` of a latent, of which one ``cell`` stands for so many pixels per side, become colours by the linear
    ``latent_map``, None where there is none. ``is_flow``: trained on rectified flow, so that ``shift`` bends its
    schedule; with ``auto_shift`` by resolution, its logarithm rising by ``shift_rise`` over ``shift_span`` tokens.
    ``video`` says how frames are counted: ``wan``, ``ltx``, ``svd``, ``h3``, or None for pictures. ``audio_hz`` is the
    sample rate of the sound, 0 for none; ``fps`` the frames per second of a video whose model does not say. With
    ``alpha`` pictures have an alpha channel, and so may references.
    """

    name: str
    channels: int
    cell: int
    latent_map: str | None
    is_flow: bool
    auto_shift: bool
    video: str | None = None
    audio_hz: int = 0
    fps: int = 30
    alpha: bool = False
    shift_rise: float = 0.65
    shift_span: int = 3840

    def count_frames(self, wanted: int) -> int:
        """How many frames are returned for ``num_frames`` (protocol §2.8, §3.6)."""
        if self.video == "h3":
            return 1 if wanted < _H3_FIRST else (wanted - _H3_FIRST) // _H3_FRAMES * _H3_FRAMES + _H3_FIRST
        group = _FRAME_GROUPS[self.video]
        return max(1, wanted) if group == 1 else group * ((max(1, wanted) - 1) // group) + 1

    def count_latent_frames(self, frames: int) -> int:
        """How many frames a latent of ``frames`` frames has."""
        if self.video == "h3":
            return 1 if frames == 1 else (frames - _H3_FIRST) // _H3_FRAMES * 5 + 2
        return (frames - 1) // _FRAME_GROUPS[self.video] + 1


@cache
def find_version(name: str) -> VersionFacts | None:
    """The facts of a version, or None when it is unknown."""
    facts = _load("versions.json")["versions"].get(name)
    return None if facts is None else VersionFacts(name=name, **facts)


def fits_modifier(version: str, modifier: str) -> bool:
    """Whether a model of this version can have this modifier; any other crashes the server."""
    versions: list[str] | None = _load("versions.json")["modifier_versions"].get(modifier)
    return versions is None or version in versions


def reads_references(version: str, modifier: str) -> bool:
    """Whether the model gets canvas and moodboard as pictures (protocol §2.8, §5.4)."""
    return count_references(modifier) > 0 or (modifier in _REFERENCE_MODIFIERS and version in _REFERENCE_VERSIONS)


def count_references(modifier: str) -> int:
    """How many pictures of a moodboard make a video at most; 0 for modifiers that make none from them."""
    return _MOST_REFERENCES.get(modifier, 0)


def starts_from_canvas(version: VersionFacts, modifier: str) -> bool:
    """Whether a video begins with the canvas, whatever the strength (protocol §5.5)."""
    return version.video == "svd" or modifier in _FIRST_FRAME_MODIFIERS
