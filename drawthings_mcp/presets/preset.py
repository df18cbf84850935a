"""A preset, which is a named configuration in the app's own form, and what is known of the checkpoint it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation.configuration import AppSettings, name_key, parse_app_json
from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.validation import make_encodable

FAMILIES_FILE = "families.json"

_VARIANT_SUFFIXES = ("_f16", "_bf16", "_svd", "_q5p", "_q6p", "_q8p", "_i4x", "_i6x", "_i8x")
"""Ends of a model's file name that stand for precision, not the model (formats §2)."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One model in all its variants.

    Attributes
    ----------
    version
        Architecture, as a server's catalog names it.
    native_side
        Side in pixels of the square that the model is tuned for.
    files
        Its variants, best first.
    purpose
        Speed and what it is best for, in at most five words.
    """

    version: str
    native_side: int
    files: tuple[str, ...]
    purpose: str = ""


@lru_cache(1024)
def strip_variant(model_file: str) -> str:
    """A model's file name without its precision: ``z_image_turbo_1.0`` for the q8p file."""
    base = model_file.removesuffix(".ckpt")
    while suffix := next((s for s in _VARIANT_SUFFIXES if base.endswith(s)), ""):
        base = base.removesuffix(suffix)
    return base


@cache
def list_checkpoints() -> Mapping[str, Checkpoint]:
    """The known models by base name."""
    return {
        base: Checkpoint(facts["version"], facts["native_side"], tuple(facts["files"]), facts["purpose"])
        for base, facts in read_packaged(FAMILIES_FILE)["models"].items()
    }


@cache
def _families_by_version() -> Mapping[str, str]:
    families: dict[str, list[str]] = read_packaged(FAMILIES_FILE)["versions"]
    return {version: family for family, versions in families.items() for version in versions}


def find_family(version: str) -> str:
    """The family of a model version, ``flux`` for ``flux2_9b``; empty when it belongs to none."""
    return _families_by_version().get(version, "")


PresetSource = Literal["own", "app", "built in"]
"""Whose a preset is: a file in our state folder, the app's file, or this package."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings under a name.

    Attributes
    ----------
    configuration
        Partial object with the app's keys; what it lacks is left to others, often the size.
    version
        The model version for which this is the general recommendation; empty when it is not.
    negative
        Negative prompt that comes with it, often none.
    path
        The file it was read from; None for those of this package.
    """

    name: str
    configuration: Mapping[str, Any] = field(repr=False)
    version: str = ""
    negative: str = ""
    source: PresetSource = "built in"
    path: Path | None = None

    @property
    def model(self) -> str:
        """File of the model; empty when it is left open."""
        return str(self.configuration.get("model") or "")

    @property
    def loras(self) -> frozenset[str]:
        """Files of the LoRAs that it applies."""
        return frozenset(_list_files(self.configuration.get("loras")))

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that a server needs to follow it."""
        named = (self.configuration.get(key) for key in ("model", "refinerModel", "upscaler", "faceRestoration"))
        controls = sorted(_list_files(self.configuration.get("controls")))
        return (*(str(file) for file in named if file), *sorted(self.loras), *controls)

    @property
    def checkpoint(self) -> Checkpoint:
        """Version, native side and variants of a known model."""
        return list_checkpoints()[strip_variant(self.model)]

    @property
    def native_side(self) -> int:
        """Side in pixels of the square that a known model is tuned for."""
        return self.checkpoint.native_side

    @property
    def is_own(self) -> bool:
        """Whether the user made it."""
        return self.source != "built in"

    def parse(self) -> AppSettings:
        """The fields of an ``ImageGenerationConfig`` that it sets, and what in it is not known here.

        Raises
        ------
        InvalidInputError
            A value is of the wrong type; names the preset and where it stands.
        """
        try:
            return parse_app_json(self.configuration)
        except InvalidInputError as error:
            raise self.blame(error) from error

    def blame(self, error: InvalidInputError) -> InvalidInputError:
        """An error about a value in it, with its name, its key and where it stands."""
        where = Text(" in {path}", path=self.path) if self.path else Text("")
        text = "Preset {name!r}{where} cannot be used ({error}); fix it there, or name another preset."
        return InvalidInputError(Text(text, name=self.name, where=where, error=name_key(error)))


def parse_preset(element: object, source: PresetSource, path: Path | None = None) -> Preset | None:
    """A preset from an element of a presets file; None when it lacks a name or a configuration, as the app does."""
    if not isinstance(element, Mapping):
        return None
    name, configuration = element.get("name"), element.get("configuration")
    if not isinstance(name, str) or not name.strip() or not isinstance(configuration, Mapping):
        return None
    return Preset(
        name=make_encodable(" ".join(name.split())),
        configuration=MappingProxyType(dict(configuration)),
        version=_as_text(element.get("version")),
        negative=_as_text(element.get("negative")),
        source=source,
        path=path,
    )


def _list_files(entries: object) -> Iterator[str]:
    """What LoRAs or controls name; what is none is passed over until the preset is used, and refused then."""
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping) and entry.get("file"):
            yield str(entry["file"])


def _as_text(value: object) -> str:
    return make_encodable(value) if isinstance(value, str) else ""
