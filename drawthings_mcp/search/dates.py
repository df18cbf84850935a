"""``2026-11``, ``yesterday``, ``7d`` → a span of time. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from drawthings_mcp.errors import InvalidInputError

_DAY = timedelta(days=1)
_TICK = timedelta(microseconds=1)
_CALENDAR = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?")
_AGO = re.compile(r"(\d{1,4})\s*(min|h|d|w|m|y)[a-z]*(?: ago)?")
_UNITS: Mapping[str, timedelta] = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": _DAY,
    "w": 7 * _DAY,
    "m": 30 * _DAY,
    "y": 365 * _DAY,
}


class Span(NamedTuple):
    """First and last moment, time zone aware."""

    start: datetime
    end: datetime


def parse_moment(key: str, value: str, now: datetime) -> Span:
    """The span that a date stands for: ``2026`` is a year, ``2026-11-20`` a day, ``7d`` the moment seven days ago.

    Parameters
    ----------
    key
        What the date is for, for the refusal.
    now
        Time zone aware; dates without a zone are in its zone.

    Raises
    ------
    InvalidInputError
        It is no date.
    """
    text = value.strip().lower().replace("_", " ")
    with suppress(ValueError, OverflowError):
        return _parse_name(text, now) or _parse_ago(text, now) or _parse_calendar(text, now) or _parse_iso(text, now)
    raise InvalidInputError(f"{key}: must be a date like 2026-11-20, 2026-11, today, yesterday or 7d, got {value!r}.")


def _parse_name(text: str, now: datetime) -> Span | None:
    build = _NAMES.get(text)
    return None if build is None else build(now.replace(hour=0, minute=0, second=0, microsecond=0))


_NAMES: Mapping[str, Callable[[datetime], Span]] = {
    "today": lambda midnight: Span(midnight, midnight + _DAY - _TICK),
    "yesterday": lambda midnight: Span(midnight - _DAY, midnight - _TICK),
    "this week": lambda midnight: _span_week(midnight),
    "last week": lambda midnight: _span_week(midnight - 7 * _DAY),
    "this month": lambda midnight: _span_month(midnight),
    "last month": lambda midnight: _span_month(midnight.replace(day=1) - _DAY),
    "this year": lambda midnight: _span_year(midnight),
    "last year": lambda midnight: _span_year(midnight.replace(year=midnight.year - 1, day=1)),
}


def _parse_ago(text: str, now: datetime) -> Span | None:
    match = _AGO.fullmatch(text)
    if not match:
        return None
    moment = now - int(match[1]) * _UNITS[match[2]]
    return Span(moment, moment)


def _parse_calendar(text: str, now: datetime) -> Span | None:
    match = _CALENDAR.fullmatch(text)
    if not match:
        return None
    month, day = (int(part) if part else None for part in match.groups()[1:])
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight.replace(year=int(match[1]), month=1 if month is None else month, day=1 if day is None else day)
    if day:
        return Span(start, start + _DAY - _TICK)
    return _span_month(start) if month else _span_year(start)


def _span_week(day: datetime) -> Span:
    monday = day - day.weekday() * _DAY
    return Span(monday, monday + 7 * _DAY - _TICK)


def _span_month(day: datetime) -> Span:
    first = day.replace(day=1)
    return Span(first, (first + 32 * _DAY).replace(day=1) - _TICK)


def _span_year(day: datetime) -> Span:
    first = day.replace(month=1, day=1)
    return Span(first, first.replace(year=first.year + 1) - _TICK)


def _parse_iso(text: str, now: datetime) -> Span:
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=now.tzinfo)
    return Span(moment, moment)
