"""What a prompt asks for by single words: colours, moods and subjects, and the palette that comes of it.

Where it names no colour, the seed picks a scheme.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from drawthings_mcp.simulator.painting.languages import translate
from drawthings_mcp.simulator.painting.lettering import keep_drawable
from drawthings_mcp.simulator.painting.oklab import RGB, Floats, mix, oklch, parse_hex, to_oklch, to_rgb

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)?")
_BINDING_REACH = 3
"""How many words before a subject its colour may stand: "a red and fluffy fox"."""
_SUBJECT_LIMIT = 3
_LEAST_CHROMA = 0.03
"""A colour with less chroma is white, grey or black."""
_TITLE_LIMIT = 3
_TIMES = frozenset({"night", "day"})
_RIDGES = 5
_DARK_MOODS = frozenset({"night", "stars"})
_PAPER = parse_hex("#fbf6ea")
_INK = parse_hex("#14161c")


@dataclass(frozen=True)
class Wanted:
    """What a prompt asks for: moods such as ``night`` or ``sea``, colours, subjects, and up to three words as a title.

    ``colors`` are those of the scene, ``#rrggbb`` in the order of the prompt; ``tints`` come with the moods and are
    used when no colour is named. ``subjects`` have the colour that the prompt gave them, or None; "two foxes" are two.
    """

    colors: tuple[str, ...]
    tints: tuple[str, ...]
    moods: frozenset[str]
    subjects: tuple[tuple[str, str | None], ...]
    title: tuple[str, ...]


@cache
def vocabulary() -> dict[str, Any]:
    """The words that the painter knows, from ``vocabulary.json``."""
    loaded: dict[str, Any] = json.loads(resources.files(__package__).joinpath("vocabulary.json").read_text("utf-8"))
    return loaded


@cache
def _subject_names() -> dict[str, str]:
    subjects: dict[str, list[str]] = vocabulary()["subjects"]
    return {word: name for name, others in subjects.items() for word in [name, f"{name}s", *others]}


@cache
def _mood_names() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, mood in vocabulary()["moods"].items():
        for word in mood["words"]:
            found.setdefault(word, []).append(name)
    return found


def read_prompt(prompt: str, negative_prompt: str = "") -> Wanted:
    """What a prompt asks for, without the words that the negative prompt also has."""
    unwanted = set(_split(negative_prompt))
    words = [word for word in _split(prompt) if word not in unwanted]
    subjects, moods = _find_subjects(words), _find_moods(words)
    return Wanted(
        colors=_find_colors(words, {color for _, color in subjects}),
        tints=tuple(_list_tints(moods)),
        moods=moods,
        subjects=subjects,
        title=_find_title(words),
    )


def _find_moods(words: list[str]) -> frozenset[str]:
    """The moods of the words; of night and day the one that is named last: "turn the day into night"."""
    named = [mood for word in words for mood in _mood_names().get(word, ())]
    times = [mood for mood in named if mood in _TIMES]
    return frozenset(set(named) - set(times[:-1]) | set(times[-1:]))


def _split(text: str) -> list[str]:
    colors = vocabulary()["colors"]
    words: list[str] = []
    for word in _WORD.findall(text.lower()):
        words.extend([word] if "-" not in word or word in colors else word.split("-"))
    return translate(words)


def _find_subjects(words: list[str]) -> tuple[tuple[str, str | None], ...]:
    names = _subject_names()
    found: dict[str, list[tuple[str, str | None]]] = {}
    for place, word in enumerate(words):
        if word in names:
            subject = (names[word], _find_binding(words, place))
            found.setdefault(names[word], [subject] * _find_count(words, place))
    return tuple(subject for subjects in found.values() for subject in subjects)[:_SUBJECT_LIMIT]


def _find_count(words: list[str], place: int) -> int:
    """How many of a subject are wanted: what a number before it says, else one."""
    numbers: dict[str, int] = vocabulary()["numbers"]
    return next((numbers[word] for word in words[max(0, place - _BINDING_REACH) : place] if word in numbers), 1)


def _find_binding(words: list[str], place: int) -> str | None:
    """The nearest colour before a subject, unless another subject stands between them."""
    colors: dict[str, str] = vocabulary()["colors"]
    for word in reversed(words[max(0, place - _BINDING_REACH) : place]):
        if word in colors:
            return colors[word]
        if word in _subject_names():
            return None
    return None


def _find_colors(words: list[str], bound: set[str | None]) -> tuple[str, ...]:
    """Colours of the scene; those of a subject count only when there are no others, and greys never do."""
    colors: dict[str, str] = vocabulary()["colors"]
    named = list(dict.fromkeys(colors[word] for word in words if word in colors))
    free = [color for color in named if color not in bound]
    return tuple(free or [color for color in named if to_oklch(parse_hex(color))[1] > _LEAST_CHROMA])


def _list_tints(named: Collection[str]) -> Iterable[str]:
    """Tints in the vocabulary's order of moods: a sunset at sea is a sunset first."""
    moods = vocabulary()["moods"].items()
    return dict.fromkeys(tint for name, mood in moods if name in named for tint in mood["tints"])


def _find_title(words: list[str]) -> tuple[str, ...]:
    """Subjects and moods as they are written; without any, the longest words that are no stop words."""
    telling = [word for word in words if word in _subject_names() or word in _mood_names()]
    if not telling:
        plain = [word for word in words if word not in vocabulary()["stopwords"] and keep_drawable(word) == word]
        longest = sorted(dict.fromkeys(plain), key=len, reverse=True)[:_TITLE_LIMIT]
        telling = [word for word in plain if word in longest]
    return tuple(dict.fromkeys(telling))[:_TITLE_LIMIT]


@dataclass(frozen=True)
class Palette:
    """Colours of one picture as 8-bit sRGB; ``ridges`` run from the farthest to the nearest."""

    sky: tuple[RGB, RGB, RGB]
    glow: RGB
    mist: RGB
    ridges: tuple[RGB, ...]
    subject: RGB
    light: RGB
    ink: RGB
    is_dark: bool


def choose_palette(wanted: Wanted, rng: np.random.Generator, *, guidance: float) -> Palette:
    """Colours for a picture.

    Colour words come first, then what the moods suggest, then a scheme drawn from ``rng``. A higher guidance
    makes the colours a little stronger, as with a real model.
    """
    schemes: list[list[str]] = vocabulary()["schemes"]
    scheme = schemes[int(rng.integers(len(schemes)))]
    names = wanted.colors or wanted.tints[:2] or tuple(scheme)
    strength = 0.88 + 0.03 * min(max(guidance, 0.0), 8.0)
    first, second = (_strengthen(parse_hex(name), strength) for name in (names[0], names[min(1, len(names) - 1)]))
    near = _strengthen(parse_hex(names[min(2, len(names) - 1)]), strength)
    if len(names) == 1:
        second = _turn(first, float(rng.uniform(-18, 18)))
    return _compose(first, second, near, is_dark=bool(wanted.moods & _DARK_MOODS))


def _compose(first: Floats, second: Floats, near: Floats, *, is_dark: bool) -> Palette:
    key = float(np.clip((min(first[0], second[0]) - 0.12) / 0.5, 0.0, 1.0)) * (0.12 if is_dark else 1.0)
    horizon = _at(second, _lerp(0.46 if is_dark else 0.34, 0.91, key) + 0.05 * _paleness(second), 0.55)
    top = _at(first, 0.17 + 0.52 * key + 0.24 * _paleness(first), 0.95)
    ground = _at(near, _lerp(0.09, 0.3, key) + 0.42 * _paleness(near), 0.85)
    far = mix(horizon, _at(second, 0.30 + 0.34 * key + 0.16 * _paleness(second), 0.95), 0.55)
    ridges = tuple(to_rgb(mix(far, ground, i / (_RIDGES - 1))) for i in range(_RIDGES))
    light = _at(second, 0.97, 0.18)
    return Palette(
        sky=(to_rgb(top), to_rgb(mix(top, horizon, 0.55)), to_rgb(horizon)),
        glow=to_rgb(_at(second, 0.965, 0.3)),
        mist=to_rgb(mix(horizon, light, 0.35)),
        ridges=ridges,
        subject=to_rgb(_turn(_at(first, 0.62 if is_dark else 0.42, 1.1), 10)),
        light=to_rgb(light),
        ink=to_rgb(_PAPER if ground[0] < 0.6 else _INK),
        is_dark=is_dark,
    )


def _lerp(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _strengthen(color: Floats, factor: float) -> Floats:
    stronger: Floats = color * np.array([1.0, factor, factor])
    return stronger


def _at(color: Floats, lightness: float, chroma_factor: float) -> Floats:
    """The same hue at another lightness; chroma shrinks near white and black, where screens have none."""
    _, chroma, hue = to_oklch(color)
    room = 1.0 - abs(2.0 * lightness - 1.0) ** 3
    return oklch(lightness, min(chroma * chroma_factor, 0.04 + 0.22 * room), hue)


def _turn(color: Floats, degrees: float) -> Floats:
    lightness, chroma, hue = to_oklch(color)
    return oklch(lightness, chroma, hue + degrees)


def _paleness(color: Floats) -> float:
    """1 for white and near-white greys, 0 for anything coloured or darker."""
    lightness, chroma, _ = to_oklch(color)
    return float(np.clip((lightness - 0.8) / 0.15, 0, 1) * np.clip(1 - chroma / 0.06, 0, 1))
