"""Which model, LoRAs, controls and upscaler a run really uses; what is missing or does not fit is silently skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.catalog import (
    KINDS,
    UNKNOWN_FILE_VERSION,
    Inventory,
    Specification,
    VersionFacts,
    default_model,
    find_version,
    list_specifications,
    parse_override,
)
from drawthings_mcp.simulator.parsing import Journal

LAYERED = "qwenimage_layered"

_FORCED_FACTORS = (2, 4)
_LORA_HOSTS = {"v1": "kandinsky2.1"}
"""LoRAs of the first version also work with models of the second."""


@dataclass(frozen=True)
class Selection:
    """What a run works with.

    ``model`` is None when not even the default model is there; ``replaced`` is the requested file when another model is
    used in its place. LoRAs in effect come with their weights, controls with their configurations, with or without an
    input. ``upscale`` is the factor of the upscaler, 1 for none.
    """

    model: Specification | None
    version: VersionFacts
    replaced: str | None
    loras: tuple[tuple[Specification, float], ...]
    controls: tuple[tuple[Specification, fbs.ControlT], ...]
    upscale: int

    @property
    def modifier(self) -> str:
        """The model's modifier, or that of the first LoRA that has one."""
        candidates = [self.model or {}, *(spec for spec, _ in self.loras)]
        return next((m for spec in candidates if (m := spec.get("modifier", "none")) != "none"), "none")

    @property
    def is_consistency(self) -> bool:
        """Whether the model needs no guidance; its schedule is never shifted by resolution."""
        return bool((self.model or {}).get("is_consistency_model"))

    @property
    def has_transparent_decoder(self) -> bool:
        """Whether a LoRA has a decoder that also makes alpha."""
        return any(spec.get("alternative_decoder_version") == "transparent" for spec, _ in self.loras)

    @property
    def has_alpha_decoder(self) -> bool:
        """Whether the result has an alpha channel, which also changes what a mask means (protocol §4.2)."""
        return self.version.alpha or self.has_transparent_decoder or self.modifier == LAYERED


class Selector:
    """Looks files up for one request: in its override first, then among the built-in ones."""

    def __init__(self, override: pb.MetadataOverride, inventory: Inventory, journal: Journal) -> None:
        self._inventory = inventory
        self._journal = journal
        self._known = {kind: self._merge(kind, getattr(override, kind)) for kind in KINDS}

    def select(self, configuration: fbs.GenerationConfigurationT) -> Selection:
        """Select what the run of a configuration works with."""
        model, replaced = self._select_model(configuration.model)
        version = _facts_of(model or default_model())
        refiner = self._find("models", "refiner", configuration.refinerModel) if configuration.refinerModel else None
        versions = {version.name, *([refiner["version"]] if refiner else [])}
        return Selection(
            model=model,
            version=version,
            replaced=replaced,
            loras=tuple(self._list_loras(configuration, versions)),
            controls=tuple(self._list_controls(configuration, version.name)),
            upscale=self._find_upscale(configuration),
        )

    def _merge(self, kind: str, data: bytes) -> Mapping[str, Specification]:
        overriding, dropped = parse_override(kind, data)
        if dropped:
            self._journal.degrade(f"{dropped} entries of the override's {kind} lack required keys: dropped")
        merged = {spec["file"]: spec for spec in list_specifications(kind)}
        return {**merged, **{spec["file"]: spec for spec in overriding}}

    def _select_model(self, file: str | None) -> tuple[Specification | None, str | None]:
        if file and self._inventory.has(file):
            return self._known["models"].get(file) or self._guess(file), None
        default = default_model()
        self._journal.degrade(f"model {file!r} is not there: {default['file']} is used instead")
        return (default if self._inventory.has(default["file"]) else None), file or "(none)"

    def _guess(self, file: str) -> Specification:
        self._journal.degrade(f"model {file!r} has no specification: treated as version {UNKNOWN_FILE_VERSION}")
        return {"name": file, "file": file, "prefix": "", "version": UNKNOWN_FILE_VERSION, "default_scale": 8}

    def _list_loras(
        self, configuration: fbs.GenerationConfigurationT, versions: set[str]
    ) -> Iterator[tuple[Specification, float]]:
        for lora in configuration.loras or ():
            spec = self._find("loras", "LoRA", lora.file)
            if spec is None:
                continue
            if spec["version"] in versions or _LORA_HOSTS.get(spec["version"]) in versions:
                yield spec, float(lora.weight)
            else:
                wanted = ", ".join(sorted(versions))
                self._journal.degrade(f"LoRA {lora.file!r} is for {spec['version']}, the model is {wanted}: skipped")

    def _list_controls(
        self, configuration: fbs.GenerationConfigurationT, version: str
    ) -> Iterator[tuple[Specification, fbs.ControlT]]:
        for control in configuration.controls or ():
            spec = self._find("controlNets", "control", control.file)
            if spec is None:
                continue
            if control.weight <= 0:
                self._journal.degrade(f"control {control.file!r} has the weight {control.weight:g}: skipped")
            elif spec["version"] != version:
                self._journal.degrade(f"control {control.file!r} is for {spec['version']}, not {version}: skipped")
            else:
                yield spec, control

    def _find_upscale(self, configuration: fbs.GenerationConfigurationT) -> int:
        if not configuration.upscaler:
            return 1
        spec = self._find("upscalers", "upscaler", configuration.upscaler)
        if spec is None:
            return 1
        forced = configuration.upscalerScaleFactor
        return int(forced if forced in _FORCED_FACTORS else spec["scale_factor"])

    def _find(self, kind: str, what: str, file: str | None) -> Specification | None:
        if file and self._inventory.has(file) and file in self._known[kind]:
            return self._known[kind][file]
        self._journal.degrade(f"{what} {file!r} is not there: skipped")
        return None


def _facts_of(model: Mapping[str, Any]) -> VersionFacts:
    facts = find_version(model["version"])
    assert facts is not None, "specifications of unknown versions are dropped when they are read"
    return facts
