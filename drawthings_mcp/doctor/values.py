"""The settings as they may be shown: where each came from, and no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drawthings_mcp.settings import NAMES, Origin, Settings, variable


@dataclass(frozen=True, slots=True)
class SettingValue:
    """One setting.

    Attributes
    ----------
    value
        As text; of a secret only ``set``. None when it is not set.
    variable
        The environment variable that sets it.
    """

    value: str | None
    origin: Origin
    variable: str


def list_values(settings: Settings) -> Mapping[str, SettingValue]:
    """Every setting by name, in the order of their declaration."""
    return {
        name: SettingValue(_show(getattr(settings, name)), settings.origins.get(name, "default"), variable(name))
        for name in NAMES
    }


def _show(value: object) -> str | None:
    secret = getattr(value, "get_secret_value", None)
    if secret is not None:
        return "set" if secret() else None
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={limit}" for name, limit in value.items()) or None
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or None
    return None if value is None or value == "" else str(value)
