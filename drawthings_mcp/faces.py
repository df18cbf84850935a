"""Texts that state facts and are worded by the face that shows them: MCP, the shell, Python.

A ``Text`` is a template. ``{canvas}`` stands for a parameter and becomes the name that the face gives it; ``{count}``
for a fact passed as keyword; a fact that is a ``Step`` becomes the call, command or expression that takes it there.
As a plain string a text reads as Python's users need it. ::

    Text("{moodboard} takes at most {most} pictures, got {count}.", most=8, count=9)
    Text("There is no model {name!r}. {step:C}.", name=name, step=Step("list_models", query=name))

Where a model reads, a fact that is a plain string is data, not words of ours (``quoting``): it stands in “…” unless it
is a plain name. Words of ours are a ``Text`` or a ``Phrase``; a fact that is a tuple is a list of names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from string import Formatter
from typing import Any, Literal, Self, get_args

from drawthings_mcp.quoting import MAX_DETAILS, MAX_NAME, clean, label, quote, show_path, tidy

StepKind = Literal[
    "accept_server",  # see how a server that announces itself is accepted
    "allow_folder",  # folder: let pictures be read from it by path
    "download",  # what: have a file fetched in Draw Things
    "generate",  # make pictures
    "list_models",  # kind, query: see what the server has
    "review",  # images: look at pictures again
    "search",  # query: find pictures
    "set",  # setting, value: change a setting; without a value, to something better
    "start_server",  # have Draw Things started
    "switch_off_compression",  # have the server send its pictures as they are
    "switch_on_browsing",  # have the server list its models
    "update_server",  # have Draw Things updated
    "upscale",  # enlarge a picture
]
STEP_KINDS: tuple[StepKind, ...] = get_args(StepKind)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next.

    Attributes
    ----------
    kind
        One of ``STEP_KINDS``; the comments there name the facts of each.
    facts
        Strings, numbers and lists of strings.
    """

    kind: StepKind
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __init__(self, kind: StepKind, /, **facts: Any) -> None:
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "facts", facts)

    def __str__(self) -> str:
        return PYTHON.word(self)


@dataclass(frozen=True, slots=True)
class Face:
    """How one of the ways to use this package names things.

    Attributes
    ----------
    name
        Parameter, setting or field of a configuration → what this face calls it.
    phrases
        How each kind of step is taken: an imperative phrase without a full stop, or what makes one of the step's facts.
    quotes
        Whether facts may be read as instructions, so that they are quoted.
    """

    name: Callable[[str], str]
    phrases: Mapping[StepKind, str | Callable[[Mapping[str, Any]], str]]
    quotes: bool = False

    def word(self, value: object) -> str:
        """A text, an error or a step in the words of this face; anything else as ``str``."""
        if isinstance(value, Text):
            return value.template.format_map(_Lookup(self, value.facts))
        if isinstance(value, Step):
            phrase = self.phrases[value.kind]
            return phrase if isinstance(phrase, str) else phrase(value.facts)
        if isinstance(value, Exception):
            worded = getattr(value, "word", None)
            if callable(worded):
                return str(worded(self))
            return quote(str(value), MAX_DETAILS) if self.quotes else str(value)
        return tidy(str(value)) if self.quotes else str(value)

    def quote(self, text: str, most: int = MAX_NAME) -> str:
        """A text of others, such as a name, a title or a prompt, on one line and cut; in “…” where a model reads."""
        return quote(text, most) if self.quotes else clean(text, most)

    def label(self, text: str) -> str:
        """The name of a file, or an id: quoted only where a model reads and could misread it."""
        return label(text) if self.quotes else tidy(text)

    def word_fact(self, value: object) -> object:
        """A fact as it stands in a text; what is formatted by its own type, such as a number, is left to that."""
        if isinstance(value, Text | Step | Exception | Phrase):
            return Phrase(self.word(value))
        if isinstance(value, tuple) and all(isinstance(item, str | PurePath) for item in value):
            return Phrase(", ".join(str(self.word_fact(item)) for item in value))
        if isinstance(value, str):
            return _Quoted(value) if self.quotes else Phrase(value)
        return Phrase(show_path(value)) if self.quotes and isinstance(value, PurePath) else value


class Text(str):
    """A sentence whose facts are still known; see the module.

    Parameters
    ----------
    template
        As for ``str.format``; names that are not among the facts are parameters. ``{step:C}`` begins with a capital.
    facts
        Values, steps, errors and other texts.
    """

    __slots__ = ("facts", "template")

    template: str
    facts: Mapping[str, Any]

    def __new__(cls, template: str, /, **facts: Any) -> Self:
        text = super().__new__(cls, template.format_map(_Lookup(PYTHON, facts)))
        text.template = template
        text.facts = facts
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.template, dict(self.facts))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that it names, those of texts and errors within it included."""
        return tuple(_find_steps(self))


def _restore(template: str, facts: Mapping[str, Any]) -> Text:
    return Text(template, **facts)


def _find_steps(value: object) -> Iterator[Step]:
    if isinstance(value, Step):
        yield value
    elif isinstance(value, Text):
        for _, name, _, _ in Formatter().parse(value.template):
            yield from _find_steps(value.facts.get(name or ""))
    elif isinstance(value, Exception):
        yield from getattr(value, "steps", ())


class Phrase(str):
    """Words of ours as a fact; ``:C`` begins them with a capital."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return self[:1].upper() + self[1:] if spec == "C" else super().__format__(spec)


class _Quoted(Phrase):
    """A name for which somebody else is answerable, as a model reads it; ``{name!r}`` is always quoted."""

    __slots__ = ("_quoted",)

    _quoted: str

    def __new__(cls, name: str) -> Self:
        shown = super().__new__(cls, label(name))
        shown._quoted = quote(name)
        return shown

    def __repr__(self) -> str:
        return self._quoted


class _Lookup(Mapping[str, Any]):
    def __init__(self, face: Face, facts: Mapping[str, Any]) -> None:
        self._face = face
        self._facts = facts

    def __getitem__(self, key: str) -> Any:
        if key not in self._facts:
            return Phrase(self._face.name(key))
        return self._face.word_fact(self._facts[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return "BRAVE_API_KEY" if setting == "brave_api_key" else f"DRAWTHINGS_{setting.upper()}"


def say(part: object) -> object:
    """A plain string as words of ours; anything else as it is."""
    return Phrase(part) if isinstance(part, str) and not isinstance(part, Text) else part


def join_texts(*parts: object, by: str = " ") -> Text:
    """One text of several texts, errors and steps; empty ones are left out. Plain strings are taken for our words."""
    facts = {f"part{number}": say(part) for number, part in enumerate(parts) if part}
    return Text(by.join(f"{{{name}}}" for name in facts), **facts)


_PYTHON_NAMES: Mapping[str, str] = {
    "canvas": "input_image",
    "mask": "mask_image",
    "hints": "hint_images",
    "variants": "batch_count",
}
_CLIENT_OPTIONS = frozenset({"tls", "ca_file", "shared_secret"})
"""Settings that a client takes as keywords."""


def write_into_table(facts: Mapping[str, Any]) -> str:
    """Where a setting of one server stands; empty for one of all."""
    table = facts.get("table")
    return f"write {facts['setting']} into [servers.{table}] of config.toml" if table else ""


def _set_in_python(facts: Mapping[str, Any]) -> str:
    setting, value = facts["setting"], facts.get("value")
    if table := write_into_table(facts):
        return table
    if setting == "output_dir":
        return "pass another output_dir"
    if setting in _CLIENT_OPTIONS:
        return (
            f"pass {setting}={value!r} to the client" if value is not None else f"pass another {setting} to the client"
        )
    return f"set {variable(setting)}={value}" if value is not None else f"set {variable(setting)} to another value"


PYTHON = Face(
    name=lambda parameter: _PYTHON_NAMES.get(parameter, parameter),
    phrases={
        "accept_server": "run `python -m drawthings_mcp doctor` and have it discover servers",
        "allow_folder": lambda facts: f"add {facts['folder']} to {variable('input_dirs')}",
        "download": lambda facts: f"download {facts.get('what', 'it')} in Draw Things",
        "generate": "call generate_image()",
        "list_models": "see client.catalog()",
        "review": "open the files",
        "search": "run `python -m drawthings_mcp search`",
        "set": _set_in_python,
        "start_server": (
            "start Draw Things and switch its API server on (Advanced settings → API Server, protocol gRPC, "
            "port 7859 by default)"
        ),
        "switch_off_compression": (
            "switch Response Compression off in Draw Things (stand-alone server: --no-response-compression)"
        ),
        "switch_on_browsing": (
            "switch on Enable Model Browsing in Draw Things (Advanced settings → API Server), or start the stand-alone "
            "server with --model-browser"
        ),
        "update_server": "update Draw Things",
        "upscale": "enlarge it by a configuration with an upscaler",
    },
)
