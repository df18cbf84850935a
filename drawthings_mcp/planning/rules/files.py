"""Rules about files: is it there, does the server know what it is, do they go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drawthings_mcp.catalog import CatalogEntry, accepts_lora, find_entry, get_entry
from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.generation import ControlNetConfig, LoRAConfig, LoRAMode
from drawthings_mcp.planning.context import Case
from drawthings_mcp.planning.overrides import REQUIRED_KEYS, list_dependencies
from drawthings_mcp.planning.rules.rule import Rule, refuse, warn
from drawthings_mcp.validation import find_nearest

_SHOWN = 3
"""Names that a text suggests at most."""
_NATIVE_FACTORS = (0, 2, 4)
"""Factors of an upscaler that are not replaced by its own (protocol §2.4)."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A file that a configuration names.

    Attributes
    ----------
    what
        For people: ``model``, ``LoRA`` …
    listed, known
        What the server lists, and what is known, of this kind.
    """

    what: str
    file: str
    listed: Sequence[CatalogEntry]
    known: Mapping[str, CatalogEntry]


def _list_named(case: Case) -> Iterator[_Named]:
    c, catalog, known = case.configuration, case.installed.catalog, case.known
    models, upscalers = (catalog.models, catalog.upscalers) if catalog else ((), ())
    loras, controls = (catalog.loras, catalog.controls) if catalog else ((), ())
    yield _Named("model", c.model, models, known.models)
    yield _Named("refiner", c.refiner_model, models, known.models)
    yield from (_Named("LoRA", lora.file, loras, known.loras) for lora in c.loras)
    yield from (_Named("control", control.file, controls, known.controls) for control in c.controls)
    yield _Named("upscaler", c.upscaler, upscalers, {})


def names_no_model(case: Case) -> str | None:
    """Without a model a server takes any."""
    if case.configuration.model:
        return None
    return "model: name a checkpoint file; without one a server takes any model it has."


def names_missing_file(case: Case) -> str | None:
    """A missing model is replaced by the server's first one, anything else is left out."""
    for named in _list_named(case):
        there = case.installed.has(named.file)
        if named.file and there is False:
            return _explain_missing(case, named)
        meant = find_entry(tuple(named.known.values()), named.file) if there is None else None
        if meant is not None and meant.file != named.file:
            # A server that does not tell what it has would look for a file of that name.
            return _explain_display_name(named, meant)
    return None


def _explain_missing(case: Case, named: _Named) -> str:
    meant = find_entry(named.listed, named.file)
    if meant is not None:
        return _explain_display_name(named, meant)
    if named.listed:
        get_entry(named.listed, named.file, named.what)
    others = [file for file in named.known if file != named.file]
    there = [file for file in others if case.installed.has(file)]
    nearest = find_nearest(named.file, there or others, _SHOWN)
    where = "on the server" if there else "known"
    download = "Download it in Draw Things" if named.file in named.known else "Check the name"
    hint = f"{download}, or name one of the nearest {where}: {', '.join(nearest)}." if nearest else f"{download}."
    raise UnknownNameError(
        f"There is no {named.what} {named.file!r} on the server. {hint}", name=named.file, nearest=nearest
    )


def _explain_display_name(named: _Named, meant: CatalogEntry) -> str:
    return f"{named.what}: a server goes by file names; write {meant.file!r} instead of {named.file!r}."


def mistakes_kind(case: Case) -> str | None:
    """A file of another kind is taken for a model of the first version, or left out."""
    known = case.known
    kinds: Mapping[str, Mapping[str, CatalogEntry]] = {
        "model": known.models,
        "LoRA": known.loras,
        "control": known.controls,
    }
    for named in _list_named(case):
        wanted = "model" if named.what == "refiner" else named.what
        if wanted in kinds and named.file not in kinds[wanted]:
            found = next((kind for kind, entries in kinds.items() if named.file in entries), None)
            if found:
                return f"{named.file} is a {found}, not a {wanted}. Name it as that."
    return None


def names_remote_model(case: Case) -> str | None:
    """Models that run in the vendor's cloud need an account, which this package does not handle."""
    for model in (case.model, case.refiner):
        if model and model.remote:
            return f"model: {model.file} runs in the vendor's cloud, not on the server. Name a model with a file."
    return None


def names_unusable_file(case: Case) -> str | None:
    """A server that lists what it can use has the file, but no specification, or not all that belongs to it."""
    for named in _list_named(case):
        # Some servers name their files only, or leave out a kind (protocol §8.1, §11).
        usable = {entry.file for entry in named.listed} | case.overridden_files
        if named.file and named.listed and named.file not in usable:
            return _explain_unusable(named)
    return None


def _explain_unusable(named: _Named) -> str:
    what = f"{named.what} {named.file}"
    if named.file in named.known:
        return (
            f"The server has {what}, but not all that belongs to it. Download it again in Draw Things, or name another."
        )
    taken = "would take it for a Stable Diffusion v1 model" if named.what == "model" else "would leave it out"
    return (
        f"The server has {what}, but does not know it as {named.what} and {taken}. "
        "Import it in Draw Things, or name another."
    )


def lacks_dependency(case: Case) -> str | None:
    """What a specification of the override builds on is not on the server."""
    for specifications in case.request.override.values():
        for specification in specifications:
            missing = [file for file in list_dependencies(specification) if case.installed.has(file) is False]
            if missing:
                return f"{specification.get('file')} also needs {', '.join(missing)} on the server. Download it again."
    return None


def names_unknown_model(case: Case) -> str | None:
    """Without a catalog and without facts nothing about the model can be judged."""
    if case.model is not None or not case.configuration.model:
        return None
    return (
        f"Nothing is known of {case.configuration.model}, so whether it suits the request could not be checked. "
        "Switch model browsing on in Draw Things to have that done."
    )


def names_foreign_lora(case: Case) -> str | None:
    """LoRAs of another version are skipped silently."""
    hosts = [model.version for model in (case.model, case.refiner) if model]
    for chosen in case.loras if case.model else ():
        entry = chosen.entry
        if entry and not any(accepts_lora(host, entry.version) for host in hosts):
            return f"loras: {entry.file} is for {entry.version}, the model is {case.version}. {_suggest_loras(case)}"
    return None


def _suggest_loras(case: Case) -> str:
    catalog = case.installed.catalog
    fitting = [lora.file for lora in catalog.compatible_loras(case.model)] if catalog and case.model else []
    return f"LoRAs that fit: {', '.join(fitting[:_SHOWN])}." if fitting else "Leave it out."


def names_foreign_control(case: Case) -> str | None:
    """Controls of another version are skipped silently."""
    for chosen in case.controls if case.model else ():
        if chosen.entry and chosen.entry.version != case.version:
            return (
                f"controls: {chosen.entry.file} is for {chosen.entry.version}, the model is {case.version}. "
                f"{_suggest_controls(case)}"
            )
    return None


def _suggest_controls(case: Case) -> str:
    catalog = case.installed.catalog
    fitting = [entry.file for entry in catalog.compatible_controls(case.model)] if catalog and case.model else []
    return f"Controls that fit: {', '.join(fitting[:_SHOWN])}." if fitting else "Leave it out."


def misfits_modifier(case: Case) -> str | None:
    """A modifier without layers for it in the version's models takes the server down."""
    for specification in case.request.override.get("models", ()):
        modifier, version = specification.get("modifier", "none"), specification.get("version")
        fitting = case.known.modifier_versions.get(modifier)
        if fitting is not None and version not in fitting:
            return (
                f"override: no {version} model has the modifier {modifier!r}, a server crashes on that. It fits "
                f"{', '.join(sorted(fitting))}."
            )
    return None


def has_partial_override(case: Case) -> str | None:
    """Specifications that lack required keys are dropped silently."""
    for kind, specifications in case.request.override.items():
        for specification in specifications:
            missing = sorted(REQUIRED_KEYS.get(kind, frozenset()) - specification.keys())
            if missing:
                name = specification.get("file", "an entry")
                return f"override: {name} lacks {', '.join(missing)}, so a server drops it. Add what is missing."
    return None


def has_idle_weight(case: Case) -> str | None:
    """LoRAs and controls of weight 0 do nothing."""
    c = case.configuration
    settings: list[LoRAConfig | ControlNetConfig] = [*c.loras, *c.controls]
    idle = [setting.file for setting in settings if setting.weight == 0]
    return f"{', '.join(idle)} has weight 0 and no effect. Leave it out, or give it a weight." if idle else None


def assigns_lora_without_refiner(case: Case) -> str | None:
    """Without a refiner every LoRA is applied to the model."""
    assigned = [lora.file for lora in case.configuration.loras if lora.mode is not LoRAMode.All]
    if not assigned or case.configuration.refiner_model:
        return None
    return (
        f"There is no refiner, so {', '.join(assigned)} is applied to the model. Name a refiner_model, or use mode All."
    )


def restores_faces(case: Case) -> str | None:
    """Only the app restores faces."""
    if not case.configuration.face_restoration:
        return None
    return "face_restoration has no effect on servers that run on Linux. There, leave it out."


def names_missing_face_restoration(case: Case) -> str | None:
    """A missing file is skipped silently."""
    file = case.configuration.face_restoration
    if not file or case.installed.has(file) is not False:
        return None
    return f"face_restoration: {file} is not on the server. Download it in Draw Things, or leave it out."


def scales_oddly(case: Case) -> str | None:
    """Upscalers know their own factor, 2 and 4."""
    c = case.configuration
    if not c.upscaler and c.upscaler_scale_factor:
        return "upscaler_scale_factor has no effect without an upscaler. Name one, or leave the factor out."
    if c.upscaler_scale_factor in _NATIVE_FACTORS:
        return None
    return f"upscaler_scale_factor {c.upscaler_scale_factor} is replaced by the upscaler's own. Use 2 or 4."


FILE_RULES: tuple[Rule, ...] = (
    refuse("§6.3", names_no_model),
    refuse("§6.3", has_partial_override),
    refuse("§6.5", misfits_modifier),
    refuse("§6.3, §2.3", names_missing_file),
    refuse("§6.3, §2.3", mistakes_kind),
    refuse("§8.1", names_remote_model),
    refuse("§6.3, §8.1", names_unusable_file),
    refuse("§8.1", lacks_dependency),
    refuse("§2.3", names_foreign_lora),
    refuse("§2.3", names_foreign_control),
    refuse("§2.1", names_missing_face_restoration),
    warn("§6.3", names_unknown_model),
    warn("§2.3", has_idle_weight),
    warn("§2.3", assigns_lora_without_refiner),
    warn("§2.1", restores_faces),
    warn("§2.4", scales_oddly),
)
