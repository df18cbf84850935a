"""Reading a response stream, message by message."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import EmptyResultError, GenerationError, TruncatedTransferError
from drawthings_mcp.events import (
    AudioReceived,
    Event,
    Finished,
    ImageReceived,
    PreviewReceived,
    RemoteDownload,
    Sampling,
    Stage,
    StageReached,
    TransferAnnounced,
)
from drawthings_mcp.wire import response
from drawthings_mcp.wire.response import ResponseReader

Signpost = pb.ImageGenerationSignpostProto
Response = pb.ImageGenerationResponse

EXPECTED = [
    Signpost(imageDecoded=Signpost.ImageDecoded()),
    Signpost(sampling=Signpost.Sampling(step=8)),
    Signpost(imageEncoded=Signpost.ImageEncoded()),
    Signpost(textEncoded=Signpost.TextEncoded()),
]


def sampling(step: int) -> Response:
    return Response(currentSignpost=Signpost(sampling=Signpost.Sampling(step=step)), signposts=EXPECTED)


def image(data: bytes, more: bool = False) -> Response:
    return Response(generatedImages=[data], scaleFactor=1, chunkState=pb.MORE_CHUNKS if more else pb.LAST_CHUNK)


def read(messages: Iterable[Response]) -> list[Event]:
    reader = ResponseReader()
    events = [event for message in messages for event in reader.feed(message)]
    return events + reader.finish()


def payloads(events: Iterable[Event]) -> list[bytes]:
    return [event.payload for event in events if isinstance(event, ImageReceived)]


def test_a_whole_run_becomes_events_in_order() -> None:
    events = read(
        [
            Response(currentSignpost=Signpost(textEncoded=Signpost.TextEncoded()), signposts=EXPECTED),
            sampling(0),
            sampling(1),
            Response(previewImage=b"latent", currentSignpost=Signpost(sampling=Signpost.Sampling(step=8))),
            Response(downloadSize=5),
            image(b"hello"),
        ]
    )
    kinds = [type(event) for event in events]
    assert kinds == [
        StageReached,
        Sampling,
        Sampling,
        Sampling,
        PreviewReceived,
        TransferAnnounced,
        ImageReceived,
        Finished,
    ]
    units = [1, 2, 3, 10, 10, 10]
    assert [event.fraction for event in events[:6]] == pytest.approx([0.95 * done / 11 for done in units])
    assert events[0] == StageReached(Stage.TEXT_ENCODED, events[0].fraction)
    assert events[1:3] == [Sampling(0, 8, events[1].fraction), Sampling(1, 8, events[2].fraction)]
    assert events[-2:] == [ImageReceived(b"hello", 0, 1, 1.0), Finished(images=1, audio=0)]


def test_presence_distinguishes_step_zero_from_no_step() -> None:
    (event,) = ResponseReader().feed(Response.FromString(bytes.fromhex("12021a00")))
    assert event == Sampling(0, 0, 0.0)


def test_heartbeats_give_no_event_and_end_no_image() -> None:
    reader = ResponseReader()
    assert reader.feed(Response()) == []
    assert reader.feed(image(b"ab", more=True)) == []
    assert reader.feed(Response()) == []
    (announced,) = reader.feed(Response(downloadSize=4))
    assert announced == TransferAnnounced(4, announced.fraction)
    assert payloads(reader.feed(image(b"cd"))) == [b"abcd"]


def test_chunks_are_joined_per_image_and_per_audio() -> None:
    events = read(
        [
            Response(downloadSize=9),
            image(b"123", more=True),
            image(b"456", more=True),
            image(b"7"),
            image(b"89"),
            Response(generatedAudio=[b"so"], chunkState=pb.MORE_CHUNKS),
            Response(generatedAudio=[b"und"]),
        ]
    )
    assert payloads(events) == [b"1234567", b"89"]
    assert [(e.payload, e.index) for e in events if isinstance(e, AudioReceived)] == [(b"sound", 0)]
    assert events[-1] == Finished(images=2, audio=1)


def test_images_are_held_back_until_all_announced_bytes_are_there() -> None:
    reader = ResponseReader()
    reader.feed(Response(downloadSize=4))
    assert reader.feed(image(b"ab")) == []
    assert payloads(reader.feed(image(b"cd"))) == [b"ab", b"cd"]


def test_images_without_an_announcement_come_at_once() -> None:
    reader = ResponseReader()
    assert payloads(reader.feed(image(b"ab"))) == [b"ab"]
    assert payloads(reader.feed(image(b"cd"))) == [b"cd"]


@pytest.mark.parametrize(
    "messages",
    [
        [Response(downloadSize=6), image(b"abc", more=True)],
        [Response(downloadSize=6), image(b"abc")],
        [Response(downloadSize=6)],
        [image(b"abc", more=True)],
        [image(b"abc"), Response(generatedAudio=[b"so"], chunkState=pb.MORE_CHUNKS)],
    ],
)
def test_a_transfer_that_breaks_off_is_an_error(messages: list[Response]) -> None:
    with pytest.raises(TruncatedTransferError, match="broke off"):
        read(messages)


def test_what_arrived_whole_before_a_break_is_not_lost() -> None:
    reader = ResponseReader()
    for message in (Response(downloadSize=9), image(b"abc"), image(b"def"), image(b"g", more=True)):
        assert not payloads(reader.feed(message))
    with pytest.raises(TruncatedTransferError) as caught:
        reader.finish()
    assert caught.value.complete == (b"abc", b"def")


@pytest.mark.parametrize("messages", [[], [Response(scaleFactor=1)], [sampling(0), Response(scaleFactor=1)]])
def test_no_image_at_all_is_an_error_with_a_next_step(messages: list[Response]) -> None:
    with pytest.raises(EmptyResultError, match="smaller size or another model"):
        read(messages)


def test_a_server_that_never_stops_sending_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "MAX_TRANSFER", 1000)
    reader = ResponseReader()
    for _ in range(10):
        reader.feed(image(b"x" * 100, more=True))
    with pytest.raises(GenerationError):
        reader.feed(image(b"x" * 100, more=True))


def test_downloads_and_the_second_pass_are_reported() -> None:
    download = pb.RemoteDownloadResponse(bytesReceived=5, bytesExpected=10, item=1, itemsExpected=2)
    assert ResponseReader().feed(Response(remoteDownload=download)) == [RemoteDownload(5, 10, 1, 2, 0.0)]
    second = Signpost(secondPassSampling=Signpost.SecondPassSampling(step=2))
    (event,) = ResponseReader().feed(Response(currentSignpost=second))
    assert isinstance(event, Sampling)
    assert event.second_pass


SIGNPOSTS = st.sampled_from(
    [
        Signpost(textEncoded=Signpost.TextEncoded()),
        Signpost(imageEncoded=Signpost.ImageEncoded()),
        *(Signpost(sampling=Signpost.Sampling(step=step)) for step in (0, 3, 8, 20, -1)),
        Signpost(imageDecoded=Signpost.ImageDecoded()),
        Signpost(secondPassSampling=Signpost.SecondPassSampling(step=4)),
        Signpost(imageUpscaled=Signpost.ImageUpscaled()),
        Signpost(),
    ]
)


@given(st.lists(st.tuples(SIGNPOSTS, st.lists(SIGNPOSTS, max_size=5)), max_size=20))
def test_progress_never_falls_whatever_the_server_says(steps: list[tuple[Signpost, list[Signpost]]]) -> None:
    reader = ResponseReader()
    last = 0.0
    messages = [Response(currentSignpost=now, signposts=expected) for now, expected in steps]
    for message in [*messages, Response(downloadSize=2), image(b"ab")]:
        for event in reader.feed(message):
            assert last <= event.fraction <= 1.0
            last = event.fraction
    assert last == 1.0
