"""Rules about files: is it there, does the server know what it is, do they go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drawthings_mcp.catalog import CatalogEntry, accepts_lora, find_entry, get_entry
from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.generation import ControlNetConfig, LoRAConfig, LoRAMode
from drawthings_mcp.planning.abilities import describe_new_version, is_new
from drawthings_mcp.planning.context import Context
from drawthings_mcp.planning.known import REQUIRED_KEYS, is_whole, list_dependencies
from drawthings_mcp.planning.rules import Rule, refuse, warn
from drawthings_mcp.validation import find_nearest

_SHOWN = 3
"""Names that a text suggests at most."""
_SDXL = frozenset({"sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b"})
"""Versions that share a latent space."""
_NATIVE_FACTORS = (0, 2, 4)
"""Factors of an upscaler that are not replaced by its own (protocol §2.4)."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A file that a configuration names; what kind it is, and all of that kind that are listed and known."""

    what: str
    file: str
    listed: Sequence[CatalogEntry]
    known: Mapping[str, CatalogEntry]


def _list_named(context: Context) -> Iterator[_Named]:
    c, inventory, known = context.configuration, context.inventory, context.known
    models, loras, controls = inventory.models, inventory.loras, inventory.controls
    yield _Named("model", c.model, models, known.models)
    yield _Named("refiner", c.refiner_model, models, known.models)
    yield from (_Named("LoRA", lora.file, loras, known.loras) for lora in c.loras)
    yield from (_Named("control", control.file, controls, known.controls) for control in c.controls)
    yield _Named("upscaler", c.upscaler, inventory.upscalers, known.upscalers)


def names_no_model(context: Context) -> str | None:
    """Without a model a server takes any."""
    text = "name a checkpoint file; without one a server takes any model it has."
    return None if context.configuration.model else text


def names_missing_file(context: Context) -> str | None:
    """A missing model is replaced by the server's first one, anything else is left out."""
    for named in _list_named(context):
        there = context.inventory.has(named.file)
        if named.file and there is False:
            return _explain_missing(context, named)
        meant = find_entry(tuple(named.known.values()), named.file) if there is None else None
        if meant is not None and meant.file != named.file:
            # A server that does not tell what it has would look for a file of that name.
            return _explain_display_name(named, meant)
    return None


def _explain_missing(context: Context, named: _Named) -> str:
    meant = find_entry(named.listed, named.file)
    if meant is not None:
        return _explain_display_name(named, meant)
    if named.listed:
        get_entry(named.listed, named.file, named.what)
    others = [file for file in named.known if file != named.file]
    there = [file for file in others if context.inventory.has(file)]
    nearest = find_nearest(named.file, there or others, _SHOWN)
    where = Phrase("on the server" if there else "known")
    raise UnknownNameError(
        Text(
            "There is no {what} {file!r} on the server. {remedy:C}{others}.",
            what=named.what,
            file=named.file,
            remedy=Step("download") if named.file in named.known else Phrase("Check the name"),
            others=Text(", or name one of the nearest {where}: {nearest}", where=where, nearest=tuple(nearest))
            if nearest
            else Text(""),
        ),
        name=named.file,
        nearest=nearest,
    )


def _explain_display_name(named: _Named, meant: CatalogEntry) -> str:
    text = "{what}: a server goes by file names; write {meant!r} instead of {file!r}."
    return Text(text, what=named.what, meant=meant.file, file=named.file)


def mistakes_kind(context: Context) -> str | None:
    """A file of another kind is taken for a model of the first version, or left out."""
    known = context.known
    kinds = {"model": known.models, "LoRA": known.loras, "control": known.controls}
    for named in _list_named(context):
        wanted = "model" if named.what == "refiner" else named.what
        if wanted in kinds and named.file not in kinds[wanted]:
            found = next((kind for kind, entries in kinds.items() if named.file in entries), None)
            if found:
                text = "{file} is a {found}, not a {wanted}. Name it as that."
                return Text(text, file=named.file, found=found, wanted=wanted)
    return None


def names_remote_model(context: Context) -> str | None:
    """Models that run in the vendor's cloud need an account, which this package does not handle."""
    for model in (context.model, context.refiner):
        if model and model.remote:
            text = "{file} runs in the vendor's cloud, not on the server. Name a model with a file."
            return Text(text, file=model.file)
    return None


def names_unusable_file(context: Context) -> str | None:
    """A server that lists what it can use has the file, but no specification, or not all that belongs to it."""
    override = context.request.override
    sent = {spec["file"] for kind in REQUIRED_KEYS for spec in override.get(kind, ()) if is_whole(kind, spec)}
    for named in _list_named(context):
        # Some servers name their files only, or leave out a kind (protocol §8.1, §11).
        usable = {entry.file for entry in named.listed} | sent
        if named.file and named.listed and named.file not in usable:
            return _explain_unusable(named)
    return None


def _explain_unusable(named: _Named) -> str:
    if named.file in named.known:
        return Text(
            "The server has {what} {file}, but not all that belongs to it. {download:C}, or name another.",
            what=named.what,
            file=named.file,
            download=Step("download", what="it again"),
        )
    taken = "would take it for a Stable Diffusion v1 model" if named.what == "model" else "would leave it out"
    return Text(
        "The server has {what} {file}, but does not know it as {what} and {taken}. Import it in Draw Things, or name "
        "another.",
        what=named.what,
        file=named.file,
        taken=Phrase(taken),
    )


def lacks_dependency(context: Context) -> str | None:
    """What a specification of the override builds on is not on the server."""
    for specifications in context.request.override.values():
        for specification in specifications:
            missing = [file for file in list_dependencies(specification) if context.inventory.has(file) is False]
            if missing:
                return Text(
                    "{file} also needs {missing} on the server. {download:C}.",
                    file=specification.get("file"),
                    missing=tuple(missing),
                    download=Step("download", what="it again"),
                )
    return None


def names_unknown_model(context: Context) -> str | None:
    """Without a catalog and without facts nothing about the model can be judged."""
    if context.model is not None or not context.configuration.model:
        return None
    return Text(
        "Nothing is known of {file}, so whether it suits the request could not be checked. To have that done, "
        "{browsing}.",
        file=context.configuration.model,
        browsing=Step("switch_on_browsing"),
    )


def names_new_version(context: Context) -> str | None:
    """Nothing is known of what a server does with a version that is newer than this program."""
    return describe_new_version(context.model) if context.model else None


def names_foreign_lora(context: Context) -> str | None:
    """LoRAs of another version are skipped silently."""
    if context.model is None:
        return None
    hosts = [model.version for model in (context.model, context.refiner) if model]
    for chosen in context.loras:
        entry = chosen.entry
        if entry and not any(accepts_lora(host, entry.version) for host in hosts):
            catalog = context.inventory.catalog
            fitting = catalog.compatible_loras(context.model) if catalog else ()
            return _explain_misfit(entry, context, "LoRAs", fitting)
    return None


def names_foreign_control(context: Context) -> str | None:
    """Controls of another version are skipped silently."""
    for chosen in context.controls if context.model else ():
        if chosen.entry and chosen.entry.version != context.version:
            return _explain_misfit(chosen.entry, context, "Controls", context.list_fitting_controls())
    return None


def _explain_misfit(entry: CatalogEntry, context: Context, what: str, fitting: Sequence[CatalogEntry]) -> str:
    files = tuple(other.file for other in fitting[:_SHOWN])
    return Text(
        "{file} is for {own}, the model is {version}. {advice}",
        file=entry.file,
        own=entry.version,
        version=context.version,
        advice=Text("{what} that fit: {files}.", what=what, files=files) if files else Phrase("Leave it out."),
    )


def misfits_modifier(context: Context) -> str | None:
    """A modifier without layers for it in the version's models takes the server down."""
    for specification in context.request.override.get("models", ()):
        modifier, version = specification.get("modifier", "none"), specification.get("version")
        fitting = context.known.modifier_versions.get(modifier)
        if fitting is not None and version not in fitting and not is_new(str(version)):
            return Text(
                "no {version} model has the modifier {modifier!r}, a server crashes on that. It fits {fitting}.",
                version=str(version),
                modifier=str(modifier),
                fitting=tuple(sorted(fitting)),
            )
    return None


def has_partial_override(context: Context) -> str | None:
    """Specifications that lack required keys are dropped silently."""
    for kind, specifications in context.request.override.items():
        for specification in specifications:
            missing = sorted(REQUIRED_KEYS.get(kind, frozenset()) - specification.keys())
            if missing:
                name = specification.get("file", Phrase("an entry"))
                text = "{name} lacks {missing}, so a server drops it. Add what is missing."
                return Text(text, name=name, missing=tuple(missing))
    return None


def has_idle_weight(context: Context) -> str | None:
    """LoRAs and controls of weight 0 do nothing."""
    c = context.configuration
    settings: list[LoRAConfig | ControlNetConfig] = [*c.loras, *c.controls]
    idle = [setting.file for setting in settings if setting.weight == 0]
    text = "{files} has weight 0 and no effect. Leave it out, or give it a weight."
    return Text(text, files=tuple(idle)) if idle else None


def assigns_lora_without_refiner(context: Context) -> str | None:
    """Without a refiner every LoRA is applied to the model."""
    assigned = [lora.file for lora in context.configuration.loras if lora.mode is not LoRAMode.All]
    if not assigned or context.configuration.refiner_model:
        return None
    return Text(
        "There is no refiner, so {files} is applied to the model. Name a {refiner_model}, or use mode All.",
        files=tuple(assigned),
    )


def mixes_refiner(context: Context) -> str | None:
    """A refiner goes on with the latent of the model, which only models of its own kind understand."""
    model, refiner = context.model, context.refiner
    if model is None or refiner is None or model.version == refiner.version:
        return None
    if {model.version, refiner.version} <= _SDXL:
        return None
    return Text(
        "{refiner_model}: {file} is for {own}, the model is {version}; the picture falls apart. Leave it out.",
        file=refiner.file,
        own=refiner.version,
        version=model.version,
    )


def restores_faces(context: Context) -> str | None:
    """Only the app restores faces."""
    text = Text("{face_restoration} has no effect on servers that run on Linux. There, leave it out.")
    return text if context.configuration.face_restoration else None


def names_missing_face_restoration(context: Context) -> str | None:
    """A missing file is skipped silently."""
    file = context.configuration.face_restoration
    if not file or context.inventory.has(file) is not False:
        return None
    return Text("{file} is not on the server. {download:C}, or leave it out.", file=file, download=Step("download"))


def scales_oddly(context: Context) -> str | None:
    """Upscalers know their own factor, 2 and 4."""
    c = context.configuration
    if not c.upscaler and c.upscaler_scale_factor:
        return Text("{upscaler_scale_factor} has no effect without an upscaler. Name one, or leave the factor out.")
    if c.upscaler_scale_factor in _NATIVE_FACTORS:
        return None
    text = "{upscaler_scale_factor} {factor} is replaced by the upscaler's own. Use 2 or 4."
    return Text(text, factor=c.upscaler_scale_factor)


FILE_RULES: tuple[Rule, ...] = (
    refuse("§6.3", names_no_model, "model"),
    refuse("§6.3", has_partial_override, "override"),
    refuse("§6.5", misfits_modifier, "override"),
    refuse("§6.3, §2.3", names_missing_file),
    refuse("§6.3, §2.3", mistakes_kind),
    refuse("§8.1", names_remote_model, "model"),
    refuse("§6.3, §8.1", names_unusable_file),
    refuse("§8.1", lacks_dependency),
    refuse("§2.3", names_foreign_lora, "loras"),
    refuse("§2.3", names_foreign_control, "controls"),
    refuse("§2.1", names_missing_face_restoration, "face_restoration"),
    warn("§6.3", names_unknown_model),
    warn("§2.8", names_new_version),
    warn("§2.3", has_idle_weight),
    warn("§2.3", assigns_lora_without_refiner),
    warn("§2.4", mixes_refiner),
    warn("§2.1", restores_faces),
    warn("§2.4", scales_oddly),
)
