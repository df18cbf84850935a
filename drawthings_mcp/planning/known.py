"""What is known of the files that Draw Things can have, from ``configs/known_models.json``.

Owns the facts, and which of them make a whole specification. Knows no server and no request.

An override goes before what a server knows itself, so half a specification would harm: only whole ones are ever sent.
Those are the entries with a ``profile``, the keys that models of a kind share, as the community's list publishes them
(formats §6.1). Models without one are built into the app, which every server knows, or their keys are not known. LoRAs
and controls need no more keys than they have here, unless they are ``built_in``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from drawthings_mcp.catalog import Control, LoRA, Model
from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.wire.catalog import parse_control, parse_lora, parse_model

KNOWN_FILE = "known_models.json"

DEPTH_ESTIMATOR = "depth_anything_v2.0_f16.ckpt"
"""What a server needs to make a depth map of a picture (protocol §5.3)."""
EDGE_DETECTOR = "hed_f16.ckpt"
"""What a server needs to make a scribble or soft edges of a picture (protocol §5.3)."""

_OWN_FILE = "{file}"
"""Stands in a profile for the model's own file, which holds an encoder as well."""
_UNCURATED_KEYS = ("file", "name", "version", "default_scale", "modifier")


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What all models of a version have in common (protocol §2.2, §2.4, §2.5, §3.6).

    Attributes
    ----------
    name
        For people.
    is_flow
        Trained on flow matching: wants a Trailing or AYS sampler.
    shifts_by_resolution
        ``resolution_dependent_shift`` applies.
    has_tea_cache
        Has coefficients for ``tea_cache`` built in.
    frame_group
        Frames per latent frame of a video; 0 for pictures.
    """

    name: str
    is_flow: bool = False
    shifts_by_resolution: bool = False
    has_tea_cache: bool = False
    frame_group: int = 0

    @property
    def makes_video(self) -> bool:
        """Whether a run returns frames."""
        return self.frame_group > 0

    def count_frames(self, wanted: int) -> int:
        """How many frames a video has for ``num_frames`` (protocol §3.6)."""
        return wanted if self.frame_group == 1 else (wanted - 1) // self.frame_group * self.frame_group + 1


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Facts by file.

    Attributes
    ----------
    versions
        Facts of each version.
    modifier_versions
        Versions whose models can have a modifier; modifiers that are not here fit any, or do nothing (protocol §5.5).
    complete
        Files whose ``specification`` can be sent as it is; that of all others lacks keys.
    """

    versions: Mapping[str, VersionFacts]
    modifier_versions: Mapping[str, frozenset[str]]
    models: Mapping[str, Model]
    loras: Mapping[str, LoRA]
    controls: Mapping[str, Control]
    complete: frozenset[str]


@cache
def load_known() -> KnownFiles:
    """The facts that ship with this package; read once, when they are first needed."""
    data = read_packaged(KNOWN_FILE)
    uncurated = (dict(zip(_UNCURATED_KEYS, row, strict=False)) for row in data["uncurated_models"])
    models = [parse_model(_build_model(entry, data["profiles"])) for entry in (*data["models"], *uncurated)]
    loras = [parse_lora({"prefix": "", **_drop(entry, "built_in")}) for entry in data["loras"]]
    controls = [parse_control(_drop(entry, "built_in")) for entry in data["controls"]]
    return KnownFiles(
        versions={version: VersionFacts(**facts) for version, facts in data["versions"].items()},
        modifier_versions={name: frozenset(versions) for name, versions in data["modifier_versions"].items()},
        models={model.file: model for model in models},
        loras={lora.file: lora for lora in loras},
        controls={control.file: control for control in controls},
        complete=frozenset(_list_complete(data)),
    )


def _build_model(entry: Mapping[str, Any], profiles: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    facts = _drop(entry, "profile")
    if "profile" not in entry:
        return facts
    shared = {
        key: entry["file"] if value == _OWN_FILE else value for key, value in profiles[entry["profile"]].items()
    }  # fmt: skip
    # Published specifications always have a prefix; the file leaves out the empty ones.
    return {"prefix": "", **shared, **facts}


def _list_complete(data: Mapping[str, Any]) -> Iterable[str]:
    yield from (entry["file"] for entry in data["models"] if "profile" in entry)
    for kind in ("loras", "controls"):
        yield from (entry["file"] for entry in data[kind] if "built_in" not in entry)


def _drop(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}
