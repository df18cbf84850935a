"""What a shell offers while somebody types a name: families, models, LoRAs, samplers, presets and ids of pictures.

What takes a server asks it, for a moment; what cannot be found out is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import click

from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.settings import Settings, load_settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from drawthings_mcp.studio.studio import Studio

_PATIENCE = 2.0
"""Seconds in which a server has to answer somebody who types."""
_MAX_IDS = 200
_ALL = 1_000_000
"""Rows of a listing that is meant to be whole."""

_SIGNS = re.compile(r"([^\w@%+=:,./-])")
"""What means something else in a shell."""

_LATEST = ("latest", "latest:a", "latest:v", "latest:p", "latest:i")

ShellCompletion: TypeAlias = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def _read_settings(context: click.Context) -> Settings:
    """The settings, with the options that were typed already."""
    options: dict[str, object] = {}
    current: click.Context | None = context
    while current is not None:
        given = {name: value for name, value in current.params.items() if value is not None}
        options = {**given, **options}
        current = current.parent
    return load_settings({name: options.get(name) for name in ("server", "tls", "ca_file", "shared_secret")})


def _complete(list_names: Callable[[Settings], Iterable[str]]) -> ShellCompletion:
    def complete(context: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
        return offer(typed, list_names, context)

    return complete


def offer(typed: str, list_names: Callable[[Settings], Iterable[str]], context: click.Context) -> list[CompletionItem]:
    """The names that begin with what was typed, in the order given; none when they cannot be found out."""
    from click.shell_completion import CompletionItem

    try:
        names = list_names(_read_settings(context))
    except DrawThingsError:
        return []
    return [CompletionItem(name) for name in names if name.casefold().startswith(typed.casefold())]


def _list_families(_: Settings) -> Iterable[str]:
    from drawthings_mcp.presets.mode_table import list_families

    return list_families()


def _list_samplers(_: Settings) -> Iterable[str]:
    from drawthings_mcp.generation import SamplerType

    return (sampler.display_name for sampler in SamplerType)


def _list_presets(settings: Settings) -> Iterable[str]:
    from drawthings_mcp.presets.collection import read_presets

    presets = read_presets(settings.custom_configs, settings.state_dir).presets
    return dict.fromkeys(preset.name for preset in sorted(presets, key=lambda preset: not preset.is_own))


def _list_models(settings: Settings) -> Iterable[str]:
    return [*_list_families(settings), *_list_files("models", settings)]


def _list_loras(settings: Settings) -> Iterable[str]:
    return _list_files("loras", settings)


def _list_files(kind: str, settings: Settings) -> list[str]:
    async def ask(studio: Studio) -> list[str]:
        return [row.file for row in (await studio.list_catalog(kind, limit=_ALL)).rows]

    return _ask_studio(settings, ask)


def list_pictures(settings: Settings) -> Iterable[str]:
    """What pictures can be called without their files; none before the first."""

    async def ask(studio: Studio) -> list[str]:
        return await studio.gallery.list_ids(_MAX_IDS)

    ids = _ask_studio(settings, ask) if settings.state_dir.exists() else []
    return [*ids, *_LATEST] if ids else []


def _ask_studio(settings: Settings, ask: Callable[[Studio], Awaitable[list[str]]]) -> list[str]:
    import anyio

    from drawthings_mcp.studio.studio import open_studio

    async def run() -> list[str]:
        with anyio.move_on_after(_PATIENCE):
            async with open_studio(settings, keeps_indexing=False) as studio:
                return await ask(studio)
        return []

    return anyio.run(run)


COMPLETIONS: Mapping[str, ShellCompletion] = {
    "family": _complete(_list_families),
    "loras": _complete(_list_loras),
    "model": _complete(_list_models),
    "preset": _complete(_list_presets),
    "sampler": _complete(_list_samplers),
}
"""By parameter; others are completed by their types."""


def quote_for_bash() -> None:
    """Has names with blanks and other signs arrive in bash as one word."""
    from click.shell_completion import BashComplete, add_completion_class

    class QuotingBashComplete(BashComplete):
        def format_completion(self, item: CompletionItem) -> str:
            # The script's ``read`` takes one level of backslashes away.
            escaped = _SIGNS.sub(r"\\\\\1", item.value) if item.type == "plain" else item.value
            return f"{item.type},{escaped}"

    add_completion_class(QuotingBashComplete)
