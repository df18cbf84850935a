"""The language of queries, by itself."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawthings_mcp.databases import Database
from drawthings_mcp.metadata.reading import read_image_metadata_from
from drawthings_mcp.search.database import open_index, open_tags
from drawthings_mcp.search.folders import FolderSource
from drawthings_mcp.search.indexing import run_indexing
from drawthings_mcp.search.matching import IndexQuery
from drawthings_mcp.search.query import QueryFilter, parse_query
from drawthings_mcp.search.words import split_words
from tests.search.conftest import Picture

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=timezone(timedelta(hours=1)))


def test_a_query_has_parts() -> None:
    query = parse_query('red “deep snow” fox -blurry model:Flux,qwen -lora:ink tag:"best of" −"two words" sci-fi', NOW)
    assert query.terms == (("red",), ("fox",), ("sci", "fi"))
    assert query.phrases == (("deep", "snow"),)
    assert query.excluded == (("blurry",), ("two", "words"))
    assert query.filters == (
        QueryFilter("model", ("Flux", "qwen")),
        QueryFilter("lora", ("ink",), negated=True),
        QueryFilter("tag", ("best of",)),
    )
    assert query.text == "red deep snow fox sci-fi"


@pytest.mark.parametrize(
    ("text", "words", "since", "until"),
    [
        ("the fox from last week but blue", "the fox from but blue", "2026-11-09", "2026-11-15"),
        ("yesterday's fox", "fox", "2026-11-19", "2026-11-19"),
        ("der Fuchs von letzter Woche", "der Fuchs von", "2026-11-09", "2026-11-15"),
        ("le renard de la semaine dernière", "le renard de", "2026-11-09", "2026-11-15"),
        ("Heute", "", "2026-11-20", "2026-11-20"),
        ("this month -fog", "", "2026-11-01", "2026-11-30"),
    ],
)
def test_a_time_in_a_sentence_is_a_limit_and_is_said(text: str, words: str, since: str, until: str) -> None:
    query = parse_query(text, NOW)
    assert query.text == words
    assert query.since
    assert query.until
    assert (f"{query.since:%Y-%m-%d}", f"{query.until:%Y-%m-%d}") == (since, until)
    assert f"is read as since:{since} until:{until}; in quotes it is searched for as words" in str(query.notes[0])


@pytest.mark.parametrize("text", ['a "newspaper of today"', "-yesterday", "today:x", "yesterdays"])
def test_a_time_that_is_quoted_or_part_of_something_else_is_a_word(text: str) -> None:
    query = parse_query(text, NOW)
    assert (query.since, query.until, query.notes) == (None, None, ())


def test_an_unknown_key_is_words() -> None:
    assert parse_query("https://example.org fps:24", NOW).terms == (("https", "example", "org"), ("fps", "24"))


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("since:2026-11-20", "2026-11-20T00:00:00+01:00", None),
        ("after:2026-02", "2026-02-01T00:00:00+01:00", None),
        ("since:2025", "2025-01-01T00:00:00+01:00", None),
        ("until:2024-02", None, "2024-02-29T23:59:59.999999+01:00"),
        ("before:2025", None, "2025-12-31T23:59:59.999999+01:00"),
        ("since:today", "2026-11-20T00:00:00+01:00", None),
        (
            "since:yesterday until:yesterday",
            "2026-11-19T00:00:00+01:00",
            "2026-11-19T23:59:59.999999+01:00",
        ),
        ("since:7d", "2026-11-13T15:30:00+01:00", None),
        ("since:3_weeks", "2026-10-30T15:30:00+01:00", None),
        ('since:"2 weeks ago"', "2026-11-06T15:30:00+01:00", None),
        ("since:30min", "2026-11-20T15:00:00+01:00", None),
        ('since:"last week" until:last_week', "2026-11-09T00:00:00+01:00", "2026-11-15T23:59:59.999999+01:00"),
        ('since:"this month"', "2026-11-01T00:00:00+01:00", None),
        ('until:"last year"', None, "2025-12-31T23:59:59.999999+01:00"),
        ("since:2026-11-20T08:00:00Z", "2026-11-20T08:00:00+00:00", None),
        ("-since:2026-11-20", None, "2026-11-20T23:59:59.999999+01:00"),
    ],
)
def test_dates_are_said_in_many_ways(text: str, since: str | None, until: str | None) -> None:
    query = parse_query(text, NOW)
    assert query.since == (datetime.fromisoformat(since) if since else None)
    assert query.until == (datetime.fromisoformat(until) if until else None)
    assert query.terms == ()


@pytest.mark.parametrize("value", ["2026-13", "2026-02-30", "0000", "99999", "1e9d", "tomorrowish", "-7d"])
def test_what_is_no_date_is_words(value: str) -> None:
    query = parse_query(f"since:{value}", NOW)
    assert query.since is None
    assert "must be a date" in query.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Größe GROSSE große", ["grosse", "grosse", "grosse"]),
        ("Ёлка ёлка ЕЛКА", ["елка", "елка", "елка"]),
        ("naïve Ǆ ﬁne ｆｏｘ", ["naive", "dz", "fine", "fox"]),
        ("漢字kana", ["漢", "字", "kana"]),
        ("がぎ", ["が", "ぎ"]),
        ("flux1-dev_fp8.safetensors", ["flux1", "dev", "fp8", "safetensors"]),
        ("a 🦊🏄 -- 👍🏽 ❤️ ;;", ["a", "🦊", "🏄", "👍", "❤"]),
        ("\ue000e \ud800x", ["e", "x"]),
    ],
)
def test_words_have_one_spelling(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Database:
    folder = tmp_path_factory.mktemp("index")
    for number in range(40):
        Picture(f"a fox and size {number} tag model", "flux.ckpt").write(folder / "pictures" / f"{number}.png")
    index = open_index(folder)
    source = FolderSource(
        "folders", folder / "pictures", lambda file, path: read_image_metadata_from(file, name=str(path))
    )
    run_indexing(index, open_tags(folder), [source])
    return index


@settings(max_examples=200)
@given(text=st.one_of(st.text(), st.text("fox \"-:*()^{}'\\ANDORNTmdelsizctag,"), st.text("model:tag-\"' \0")))
def test_no_text_breaks_a_search(index: Database, text: str) -> None:
    with index.open() as connection:
        hits = IndexQuery(connection, parse_query(text, NOW)).find_page(0, 5)
    assert len(hits.page) <= hits.total
