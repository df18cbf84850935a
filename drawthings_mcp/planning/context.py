"""A request together with everything that is known of the files it names: what rules judge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from drawthings_mcp.catalog import CatalogEntry, Control, LoRA, Model, ServerInventory
from drawthings_mcp.generation import (
    ControlInputType,
    ControlNetConfig,
    GenerationRequest,
    HintType,
    ImageGenerationConfig,
    LoRAConfig,
)
from drawthings_mcp.planning.abilities import (
    CASCADE,
    FROM_REFERENCES,
    LAYERED,
    MODEL_HINTS,
    STARTING_VERSIONS,
    makes_video,
    reads_references,
)
from drawthings_mcp.planning.known import KnownFiles, VersionFacts, is_whole, load_known
from drawthings_mcp.wire.catalog import parse_control, parse_lora, parse_model

SettingT = TypeVar("SettingT")
FoundT = TypeVar("FoundT", bound=CatalogEntry)


Source: TypeAlias = HintType | Literal["image"]
"""A hint, or the canvas."""

IMAGE: Literal["image"] = "image"

SOURCES: Mapping[str, tuple[Source, ...]] = {
    "depth": (HintType.Depth, IMAGE),
    "scribble": (HintType.Scribble, IMAGE),
    "softedge": (IMAGE, HintType.Custom),
    "canny": (IMAGE, HintType.Custom),
    "mlsd": (IMAGE, HintType.Custom),
    "pose": (HintType.Pose, HintType.Custom),
    "normalbae": (HintType.Custom,),
    "seg": (HintType.Custom,),
    "lineart": (HintType.Custom,),
    "custom": (HintType.Custom,),
    "tile": (HintType.Custom, IMAGE),
    "blur": (HintType.Custom, IMAGE),
    "gray": (HintType.Custom, IMAGE),
    "lowquality": (HintType.Custom, IMAGE),
    "inpaint": (IMAGE,),
    "ip2p": (IMAGE,),
    "shuffle": (HintType.Shuffle, HintType.Custom),
    "color": (HintType.Color, IMAGE),
}
"""Sources of a control by kind; the first that is there counts."""

REFERENCE_TYPES = frozenset(
    {"ipadapterplus", "ipadapterfull", "ipadapterfaceidplus", "pulid", "redux", "llava", "inject_kv"}
)
"""Types of controls that look at pictures rather than maps."""

_COLOUR_TYPE = "t2iadapter"
"""The only type of control that reads colours."""


@dataclass(frozen=True, slots=True)
class NamedFile(Generic[SettingT, FoundT]):
    """What a configuration says of a file, and what is known of it: None when nothing is."""

    setting: SettingT
    entry: FoundT | None


@dataclass(frozen=True, slots=True)
class Context:
    """A request and its surroundings.

    Attributes
    ----------
    model, refiner
        None when nothing is known of the file, or no refiner is named.
    loras, controls
        As in the configuration, those without effect included.
    """

    request: GenerationRequest
    inventory: ServerInventory
    known: KnownFiles
    model: Model | None
    refiner: Model | None
    loras: tuple[NamedFile[LoRAConfig, LoRA], ...]
    controls: tuple[NamedFile[ControlNetConfig, Control], ...]

    def with_request(self, **changes: Any) -> Context:
        """The same with other pictures in the request; its configuration must stay."""
        return replace(self, request=replace(self.request, **changes))

    @property
    def configuration(self) -> ImageGenerationConfig:
        """That of the request."""
        return self.request.configuration

    @property
    def version(self) -> str:
        """The model's version; empty when it is not known."""
        return self.model.version if self.model else ""

    @property
    def facts(self) -> VersionFacts | None:
        """What is known of the model's version."""
        return self.known.versions.get(self.version)

    @property
    def makes_video(self) -> bool:
        """Whether a run is known to return frames."""
        return self.model is not None and makes_video(self.model)

    @property
    def modifier(self) -> str:
        """The model's modifier; that of the first LoRA that has one when the model has none (protocol §5.4)."""
        entries = (self.model, *(chosen.entry for chosen in self.loras))
        return next((entry.modifier for entry in entries if entry and entry.modifier not in {"", "none"}), "none")

    @property
    def reads_references(self) -> bool:
        """Whether the model reads the moodboard by itself."""
        return reads_references(self.version, self.modifier)

    @property
    def has_alpha_decoder(self) -> bool:
        """Whether results are transparent, which changes what a mask means (protocol §4.2)."""
        entries = [chosen.entry for chosen in self.loras if chosen.entry]
        versions = [entry.specification.get("alternative_decoder_version") for entry in entries]
        return self.makes_alpha or self.modifier == LAYERED or "transparent" in versions

    @property
    def makes_alpha(self) -> bool:
        """Whether the model itself makes an alpha channel and looks at that of references (protocol §2.8)."""
        return self.facts is not None and self.facts.makes_alpha

    @property
    def wants_canvas_among_references(self) -> bool:
        """Whether the canvas is best sent as the first reference: only there it keeps its alpha, or counts at all."""
        return self.makes_alpha or self.modifier == FROM_REFERENCES

    @property
    def starts_from_canvas(self) -> bool:
        """Whether the run begins with the canvas rather than with noise (protocol §6.2)."""
        return self.request.canvas is not None and (
            self.configuration.strength < 1 or self.request.mask is not None or self.version in STARTING_VERSIONS
        )

    @property
    def first_pass(self) -> tuple[int, int] | None:
        """Width and height of the first of two passes; None when hires fix has no effect (protocol §2.4)."""
        c = self.configuration
        width, height = c.hires_fix_width, c.hires_fix_height
        if not c.hires_fix or self.version == CASCADE or self.starts_from_canvas:
            return None
        return (width, height) if 0 < width < c.width and 0 < height < c.height else None

    @property
    def active_controls(self) -> list[NamedFile[ControlNetConfig, Control]]:
        """Controls that a server does not skip, as far as is known (protocol §2.3)."""
        return [
            chosen
            for chosen in self.controls
            if chosen.setting.weight > 0 and (chosen.entry is None or self.version in {"", chosen.entry.version})
        ]

    @property
    def has_unknown_control(self) -> bool:
        """Whether a control is in effect of which nothing is known: it could read anything."""
        return any(chosen.entry is None for chosen in self.active_controls)

    @property
    def has_unknown_reader(self) -> bool:
        """Whether such a control is in effect, or a LoRA that may bring a modifier along (protocol §5.4)."""
        brings_unknown = any(chosen.entry is None and chosen.setting.weight for chosen in self.loras)
        return self.has_unknown_control or (self.modifier == "none" and brings_unknown)

    @property
    def sources(self) -> frozenset[Source]:
        """The sources that are there."""
        hints: frozenset[Source] = frozenset(hint.type for hint in self.request.hints)
        return hints | {IMAGE} if self.request.canvas is not None else hints

    def list_fitting_controls(self) -> Sequence[Control]:
        """The controls on the server that the model takes; none where it does not list them."""
        catalog = self.inventory.catalog
        return catalog.compatible_controls(self.model) if catalog and self.model else ()

    def find_kind(self, chosen: NamedFile[ControlNetConfig, Control]) -> str:
        """What a control reads: its own modifier, or else what the configuration says (protocol §2.3)."""
        if chosen.entry is None:
            return ""
        if chosen.entry.type in REFERENCE_TYPES:
            return "shuffle"
        if chosen.entry.modifier not in {"", "none"}:
            return chosen.entry.modifier
        override = chosen.setting.input_override
        return "custom" if override is ControlInputType.Unspecified else override.name.lower()

    def list_sources(self, chosen: NamedFile[ControlNetConfig, Control]) -> tuple[Source, ...]:
        """What a control looks at, in order."""
        kind = self.find_kind(chosen)
        if chosen.entry is None or (kind == "color" and chosen.entry.type != _COLOUR_TYPE):
            return ()
        return SOURCES.get(kind, ())

    def find_source(self, chosen: NamedFile[ControlNetConfig, Control]) -> Source | None:
        """What a control will take its input from; None when there is nothing for it."""
        return next((source for source in self.list_sources(chosen) if source in self.sources), None)

    @property
    def sources_in_use(self) -> frozenset[Source]:
        """The sources that some control or the model itself takes its input from."""
        used = {self.find_source(chosen) for chosen in self.active_controls}
        if self.reads_references:
            used.add(HintType.Shuffle)
        # A canny model looks at the canvas first, a depth model at its hint (protocol §5.5).
        if self.modifier == "depth" or (self.modifier == "canny" and IMAGE not in self.sources):
            used.add(HintType(MODEL_HINTS[self.modifier]))
        return frozenset(source for source in used if source in self.sources)


def look_up(request: GenerationRequest, inventory: ServerInventory) -> Context:
    """Looks up every file that a request names: in its override, then in the catalog, then among the known files."""
    known, configuration = load_known(), request.configuration
    models = {**known.models, **_index(inventory.models), **_parse(request, "models", parse_model)}
    loras = {**known.loras, **_index(inventory.loras), **_parse(request, "loras", parse_lora)}
    controls = {**known.controls, **_index(inventory.controls), **_parse(request, "controlNets", parse_control)}
    return Context(
        request=request,
        inventory=inventory,
        known=known,
        model=models.get(configuration.model),
        refiner=models.get(configuration.refiner_model),
        loras=tuple(NamedFile(lora, loras.get(lora.file)) for lora in configuration.loras),
        controls=tuple(NamedFile(control, controls.get(control.file)) for control in configuration.controls),
    )


def _index(entries: Iterable[FoundT]) -> dict[str, FoundT]:
    return {entry.file: entry for entry in entries}


def _parse(request: GenerationRequest, kind: str, parse: Callable[[Mapping[str, Any]], FoundT]) -> dict[str, FoundT]:
    # Of two entries for one file the first counts (protocol §6.3).
    return _index(parse(spec) for spec in reversed(request.override.get(kind, ())) if is_whole(kind, spec))
