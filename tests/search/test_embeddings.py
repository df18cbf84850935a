"""Pictures are found by what is meant, by a real server that speaks the embeddings' protocol."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.search.database import open_index
from drawthings_mcp.search.embeddings import EmbeddingIndex, encode_vector
from drawthings_mcp.search.engine import SearchEngine
from drawthings_mcp.search.query import SearchArguments
from tests.search.conftest import Desk, Picture
from tests.web_servers import HttpService

pytestmark = pytest.mark.anyio

TOPICS = {
    "animal": ("fox", "vixen", "cat", "pet", "creature"),
    "building": ("castle", "cathedral", "fortress", "stronghold"),
    "water": ("sea", "ocean", "harbour"),
}
"""Words that mean about the same."""


def understand(text: str, own_size: int = 64) -> list[float]:
    """Topics, and a little of the words themselves."""
    words = text.lower().split()
    topics = [float(sum(word in known for word in words)) for known in TOPICS.values()]
    own = np.zeros(own_size)
    for word in words:
        own[sum(word.encode()) % own_size] += 0.2
    return [*topics, *own.tolist(), -0.5]


@dataclass
class Brain:
    """A server of embeddings, whose model can be changed for another."""

    service: HttpService
    own_size: int = 64

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def requests(self) -> list[Any]:
        return self.service.requests


@pytest.fixture
def brain(http_service: HttpService) -> Brain:
    made = Brain(http_service)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        _, _, _, body = http_service.requests[-1]
        entries = [
            {"index": place, "embedding": understand(text, made.own_size)} for place, text in enumerate(body["input"])
        ]
        reply = json.dumps({"object": "list", "data": entries[::-1]}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(reply)))
        handler.end_headers()
        handler.wfile.write(reply)

    http_service.answers["/v1/embeddings"] = answer
    return made


@pytest.fixture
def pictures(desk: Desk) -> Desk:
    for name, prompt in {
        "fox": "a fox in autumn",
        "castle": "a castle at dusk",
        "harbour": "a harbour in the rain",
        "abstract": "lines and dots",
    }.items():
        Picture(prompt).write(desk.pictures / f"{name}.png")
    return desk


def _build(desk: Desk, brain: Brain | HttpService, model: str = "tiny", **options: Any) -> SearchEngine:
    settings = desk.settings.model_copy(update={"embedding_url": brain.url, "embedding_model": model})
    return SearchEngine(settings, desk.catalog, budget=60.0, fresh_for=0.0, **options)


async def _find(engine: SearchEngine, query: str, **arguments: Any) -> list[tuple[str, str]]:
    result = await engine.search(SearchArguments(query, **arguments))
    return [(Path(row.place).stem, row.match) for row in result.hits]


async def test_a_picture_is_found_by_words_that_it_does_not_have(pictures: Desk, brain: Brain) -> None:
    engine = _build(pictures, brain)
    await engine.index()
    assert (await _find(engine, "stronghold"))[0] == ("castle", "meaning")
    assert (await _find(engine, "creature"))[0] == ("fox", "meaning")
    assert (await _find(engine, "harbour"))[0] == ("harbour", "exact")
    assert ("castle", "meaning") not in await _find(engine, "stronghold -castle")
    assert await _find(engine, "stronghold since:2030") == []
    method, _, _, body = brain.requests[-1]
    assert (method, body["model"], body["input"]) == ("POST", "tiny", ["stronghold"])


async def test_each_text_is_sent_once(pictures: Desk, brain: Brain) -> None:
    engine = _build(pictures, brain)
    await engine.index()
    brain.requests.clear()
    await engine.index()
    assert brain.requests == []
    Picture("a vixen").write(pictures.pictures / "new.png")
    await engine.index()
    assert [body["input"] for _, _, _, body in brain.requests] == [["a vixen"]]


async def test_another_model_starts_over(pictures: Desk, brain: Brain) -> None:
    await _build(pictures, brain).index()
    other = _build(pictures, brain, model="other")
    assert await _find(other, "stronghold") == []
    await other.index()
    assert (await _find(other, "stronghold"))[0] == ("castle", "meaning")


async def test_another_model_under_the_same_name_starts_over(pictures: Desk, brain: Brain) -> None:
    engine = _build(pictures, brain, model="")
    await engine.index()
    assert (await _find(engine, "stronghold"))[0] == ("castle", "meaning")
    brain.own_size = 96
    assert ("castle", "meaning") not in await _find(engine, "stronghold")
    Picture("a vixen").write(pictures.pictures / "new.png")
    for _ in range(2):  # what is older than the new one follows with the next run
        await engine.index()
    assert (await _find(engine, "stronghold"))[0] == ("castle", "meaning")


async def test_another_model_under_the_same_name_starts_over_before_anybody_searched(
    pictures: Desk, brain: Brain
) -> None:
    engine = _build(pictures, brain, model="")
    await engine.index()
    brain.own_size = 96
    Picture("a vixen").write(pictures.pictures / "new.png")
    for _ in range(2):
        await engine.index()
    assert (await _find(engine, "stronghold"))[0] == ("castle", "meaning")


@pytest.mark.parametrize(
    "reply",
    [
        (500, {"error": {"message": "no model"}}),
        (200, b"<html>"),
        (200, {"data": []}),
        (200, {"data": [{"embedding": "x"}]}),
        (200, {"data": [{"embedding": [1.0, None]}]}),
        (200, {"data": [{"embedding": [[1.0]]}]}),
        (200, {"data": [{"embedding": [float("nan"), 1.0]}]}),
        (200, {"data": [{"embedding": []}]}),
        (200, {"data": {"embedding": [1.0]}}),
        (200, [1, 2]),
    ],
)
async def test_an_endpoint_that_does_not_serve_leaves_search_by_words(
    pictures: Desk, http_service: HttpService, reply: tuple[int, Any]
) -> None:
    http_service.answers["/v1/embeddings"] = reply
    engine = _build(pictures, http_service)
    report = await engine.index()
    assert report.pending == 0
    result = await engine.search(SearchArguments("fox autumn"))
    assert [row.match for row in result.hits] == ["words"]
    (note,) = result.notes
    assert note.startswith("Search by meaning is off, words alone were searched: The endpoint ")
    assert [problem.partition(" http")[0] for problem in report.problems] == ["The endpoint"]


async def test_an_endpoint_that_does_not_serve_is_not_asked_at_every_search(
    pictures: Desk, http_service: HttpService
) -> None:
    http_service.answers["/v1/embeddings"] = (503, {"error": "loading"})
    engine = _build(pictures, http_service)
    await engine.search(SearchArguments())
    for _ in range(3):
        found = await engine.search(SearchArguments("fox autumn"))
        assert "answered 503" in found.notes[0]
    assert len(http_service.requests) == 1


async def test_an_endpoint_that_went_away_leaves_search_by_words(pictures: Desk, brain: Brain) -> None:
    await _build(pictures, brain).index()
    gone = pictures.settings.model_copy(update={"embedding_url": "http://127.0.0.1:9", "embedding_model": "tiny"})
    engine = SearchEngine(gone, pictures.catalog, budget=60.0)
    assert await _find(engine, "fox autumn") == [("fox", "words")]
    assert "cannot be reached" in (await engine.search(SearchArguments("fox autumn"))).notes[0]


async def test_a_model_of_another_dimension_is_said_and_has_pictures_embedded_again(
    pictures: Desk, brain: Brain
) -> None:
    await _build(pictures, brain).index()
    brain.own_size = 96
    async with anyio.create_task_group() as background:
        engine = _build(pictures, brain, background=background)
        found = await engine.search(SearchArguments("stronghold"))
        assert [note.partition(";")[0] for note in found.notes] == ["Another embedding model answers now"]
    found = await _build(pictures, brain).search(SearchArguments("stronghold"))
    assert (next((Path(hit.place).stem, hit.match) for hit in found.hits), found.notes) == (("castle", "meaning"), ())


async def test_another_address_without_a_name_of_a_model_is_another_model(pictures: Desk, brain: Brain) -> None:
    await _build(pictures, brain, model="").index()
    brain.requests.clear()
    moved = pictures.settings.model_copy(update={"embedding_url": brain.url.replace("127.0.0.1", "localhost")})
    await SearchEngine(moved, pictures.catalog, budget=60.0, fresh_for=0.0).index()
    assert sum(len(body["input"]) for _, _, _, body in brain.requests) == 4


async def test_embeddings_are_asked_for_in_the_background(pictures: Desk, brain: Brain) -> None:
    async with anyio.create_task_group() as background:
        await _build(pictures, brain, background=background).search(SearchArguments("stronghold"))
    assert (await _find(_build(pictures, brain), "stronghold"))[0] == ("castle", "meaning")


def _make_unit(dice: np.random.Generator, count: int, dimensions: int) -> NDArray[np.float32]:
    vectors = dice.normal(size=(count, dimensions)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_the_nearest_of_many_are_those_of_a_full_comparison(desk: Desk) -> None:
    dice = np.random.default_rng(4)
    vectors = _make_unit(dice, 5000, 384)
    index = open_index(desk.state)
    with index.write() as connection:
        connection.executemany(
            "INSERT INTO meanings (picture, model, vector) VALUES (?, 'm', ?)",
            [(number, encode_vector(vector)) for number, vector in enumerate(vectors)],
        )
    meanings = EmbeddingIndex("m")
    with index.open() as connection:
        meanings.refresh(connection)
        for number in range(0, 5000, 500):
            wanted = _make_unit(dice, 1, 384)[0] * 0.7 + vectors[number]
            wanted /= np.linalg.norm(wanted)
            (first, *_rest) = meanings.find_nearest(connection, wanted, 5)
            assert first.picture == number == int(np.argmax(vectors @ wanted))
