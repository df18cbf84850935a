"""Facts about the checkpoints for which something is recommended, and their families.

Owns the names of files: which of them are the same model. Knows nothing of settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from drawthings_mcp.packaged import read_packaged

FAMILIES_FILE = "families.json"

_VARIANT_SUFFIXES = ("_f16", "_bf16", "_svd", "_q5p", "_q6p", "_q8p", "_i6x", "_i8x")
"""Ends of a model's file name that tell precision, not the model (formats §2)."""


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
    """

    version: str
    native_side: int
    files: tuple[str, ...]


def strip_variant(model_file: str) -> str:
    """A model's file name without what tells its precision: ``z_image_turbo_1.0`` for the q8p file."""
    base = model_file.removesuffix(".ckpt")
    while suffix := next((s for s in _VARIANT_SUFFIXES if base.endswith(s)), ""):
        base = base.removesuffix(suffix)
    return base


@cache
def list_checkpoints() -> Mapping[str, Checkpoint]:
    """The known models by base name."""
    return {
        base: Checkpoint(facts["version"], facts["native_side"], tuple(facts["files"]))
        for base, facts in read_packaged(FAMILIES_FILE)["models"].items()
    }


@cache
def _families_by_version() -> Mapping[str, str]:
    families: dict[str, list[str]] = read_packaged(FAMILIES_FILE)["versions"]
    return {version: family for family, versions in families.items() for version in versions}


def find_family(version: str) -> str:
    """The family of a model version, ``flux`` for ``flux2_9b``; empty when it belongs to none."""
    return _families_by_version().get(version, "")
