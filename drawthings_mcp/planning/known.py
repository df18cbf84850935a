"""What is known of the files that Draw Things can have, and what a request tells the server of it.

The facts are in ``configs/known_models.json``. A request carries specifications of files that the server may not know
(protocol §6.3, §8.3). They go before what a
server knows itself, so half a one would harm: only whole ones are sent. Those are the entries with a ``profile``, the
keys that models of a kind share, as the community's list publishes them (formats §6.1). Models without one are built
into the app, which every server knows, or their keys are not known. LoRAs and controls need no more keys than they have
here, unless they are ``built_in``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

from drawthings_mcp.catalog import CatalogEntry, Control, LoRA, Model, ServerInventory, Upscaler
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.wire.catalog import parse_control, parse_lora, parse_model

KNOWN_FILE = "known_models.json"

DEPTH_ESTIMATOR = "depth_anything_v2.0_f16.ckpt"
"""What a server needs to make a depth map of a picture (protocol §5.3)."""
EDGE_DETECTOR = "hed_f16.ckpt"
"""What a server needs to make a scribble or soft edges of a picture (protocol §5.3)."""

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
_OWN_FILE = "{file}"
"""Stands in a profile for the model's own file, which holds an encoder as well."""
_UNCURATED_KEYS = ("file", "name", "version", "default_scale", "modifier")


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What all models of a version have in common (protocol §2.2, §2.4, §2.5, §2.8, §3.6).

    Attributes
    ----------
    name
        For people.
    is_flow
        Trained on flow matching: wants a Trailing or AYS sampler.
    shifts_by_resolution
        ``resolution_dependent_shift`` applies.
    shift_rise, shift_span
        The logarithm of that shift rises by ``shift_rise`` over ``shift_span`` tokens.
    has_tea_cache
        Has coefficients for ``tea_cache`` built in.
    frame_group
        Frames per latent frame of a video, or per the fewest latent frames that can be added; 0 for pictures.
    first_group
        Frames of the shortest video; a single frame is always possible.
    makes_alpha
        Results have an alpha channel, and references keep theirs.
    reference_multiple
        Sides of references are multiples of this; 0 where a server sees to that itself.
    """

    name: str
    is_flow: bool = False
    shifts_by_resolution: bool = False
    shift_rise: float = 0.65
    shift_span: int = 3840
    has_tea_cache: bool = False
    frame_group: int = 0
    first_group: int = 1
    makes_alpha: bool = False
    reference_multiple: int = 0

    @property
    def makes_video(self) -> bool:
        """Whether a run returns frames."""
        return self.frame_group > 0

    def count_frames(self, wanted: int) -> int:
        """The length of a video that is nearest to ``num_frames`` and not above it (protocol §2.8, §3.6)."""
        if self.frame_group == 1 or wanted < self.first_group:
            return wanted if self.frame_group == 1 else 1
        return (wanted - self.first_group) // self.frame_group * self.frame_group + self.first_group

    def find_shift(self, tokens: int) -> float:
        """The shift that follows from the size of a picture, of which a token is 16 × 16 pixels (protocol §2.5)."""
        return math.exp(0.5 + (tokens - 256) * self.shift_rise / self.shift_span)


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Facts by version and by file.

    Attributes
    ----------
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
    upscalers: Mapping[str, Upscaler]
    complete: frozenset[str]


@cache
def load_known() -> KnownFiles:
    """The facts that ship with this package; read once, when they are first needed."""
    data = read_packaged(KNOWN_FILE)
    uncurated = (dict(zip(_UNCURATED_KEYS, row, strict=False)) for row in data["uncurated_models"])
    models = [parse_model(_build_model(entry, data["profiles"])) for entry in (*data["models"], *uncurated)]
    loras = [parse_lora({"prefix": "", **_drop(entry, "built_in")}) for entry in data["loras"]]
    controls = [parse_control(_drop(entry, "built_in")) for entry in data["controls"]]
    complete = {entry["file"] for entry in data["models"] if "profile" in entry}
    complete |= {entry["file"] for entry in (*data["loras"], *data["controls"]) if "built_in" not in entry}
    return KnownFiles(
        versions={version: VersionFacts(**facts) for version, facts in data["versions"].items()},
        modifier_versions={name: frozenset(versions) for name, versions in data["modifier_versions"].items()},
        models={model.file: model for model in models},
        loras={lora.file: lora for lora in loras},
        controls={control.file: control for control in controls},
        upscalers={entry["file"]: Upscaler(**entry) for entry in data["upscalers"]},
        complete=frozenset(complete),
    )


def _build_model(entry: Mapping[str, Any], profiles: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if "profile" not in entry:
        return dict(entry)
    profile = profiles[entry["profile"]]
    shared = {key: entry["file"] if value == _OWN_FILE else value for key, value in profile.items()}
    # Published specifications always have a prefix; the file leaves out the empty ones.
    return {"prefix": "", **shared, **_drop(entry, "profile")}


def _drop(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}


def build_override(configuration: ImageGenerationConfig, inventory: ServerInventory) -> dict[str, list[dict[str, Any]]]:
    """Whole specifications of what a configuration names and the server does not list, by kind; kinds may be absent.

    Upscalers are built into every server and not among the known files.
    """
    known = load_known()
    model = known.models.get(configuration.model)
    stages = model.specification.get("stage_models", ()) if model else ()
    models = (configuration.model, *stages, configuration.refiner_model)

    def choose(
        files: Iterable[str], listed: Sequence[CatalogEntry], facts: Mapping[str, CatalogEntry]
    ) -> list[dict[str, Any]]:
        there = {entry.file for entry in listed}
        wanted = dict.fromkeys(file for file in files if file in known.complete and file in facts and file not in there)
        return [deepcopy(dict(facts[file].specification)) for file in wanted]

    chosen = {
        "models": choose(models, inventory.models, known.models),
        "loras": choose((lora.file for lora in configuration.loras), inventory.loras, known.loras),
        "controlNets": choose((one.file for one in configuration.controls), inventory.controls, known.controls),
    }
    return {kind: entries for kind, entries in chosen.items() if entries}


def list_dependencies(specification: Mapping[str, Any]) -> Iterator[str]:
    """The files that a specification needs besides its own."""
    own = specification.get("file")
    singles = (specification.get(key) for key in _DEPENDENCIES)
    several = (file for key in _DEPENDENCY_LISTS for file in specification.get(key) or ())
    yield from dict.fromkeys(str(file) for file in (*singles, *several) if file and file != own)


def is_whole(kind: str, specification: Mapping[str, Any]) -> bool:
    """Whether a specification has the keys that its kind requires."""
    return REQUIRED_KEYS[kind] <= specification.keys()
