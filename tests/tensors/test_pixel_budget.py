"""Threads share a number of pixels that are decoded at once, in the order in which they ask."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.picture_files import check_picture
from drawthings_mcp.tensors.pixel_budget import DECODING, PixelBudget
from drawthings_mcp.tensors.pixels import ensure_pixels

PATIENCE = 30.0


class Holder:
    """A thread that takes a share and keeps it until it is told to let go."""

    def __init__(self, budget: PixelBudget, pixel_count: int, name: str, log: list[str]) -> None:
        self.holds, self.let_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(budget, pixel_count, name, log))
        self._thread.start()

    def _run(self, budget: PixelBudget, pixel_count: int, name: str, log: list[str]) -> None:
        with budget.hold(pixel_count):
            log.append(name)
            self.holds.set()
            assert self.let_go.wait(PATIENCE)

    def finish(self) -> None:
        self.let_go.set()
        self._thread.join(PATIENCE)


@pytest.fixture
def holders() -> Iterator[list[Holder]]:
    """Those that a test starts; all of them let go in the end."""
    started: list[Holder] = []
    yield started
    for holder in started:
        holder.finish()


def wait_until_waiting(budget: PixelBudget, count: int) -> None:
    """Until so many threads wait for their share."""
    reached = threading.Event()
    for _ in range(3000):
        if len(budget._waiting) == count:
            return
        reached.wait(0.01)
    raise AssertionError(f"{len(budget._waiting)} wait, not {count}")


def test_who_asks_first_is_served_first_and_nobody_is_overtaken(holders: list[Holder]) -> None:
    budget, log = PixelBudget(100), list[str]()
    for number, (share, name) in enumerate([(60, "first"), (80, "large"), (10, "small")]):
        holders.append(Holder(budget, share, name, log))
        if number == 0:
            assert holders[0].holds.wait(PATIENCE)
        else:
            wait_until_waiting(budget, number)
    assert log == ["first"]  # there would be room for the small one, but not before the large one
    holders[0].finish()
    assert holders[1].holds.wait(PATIENCE)
    assert holders[2].holds.wait(PATIENCE)
    assert log == ["first", "large", "small"]


def test_a_picture_beyond_the_budget_is_decoded_alone(holders: list[Holder]) -> None:
    budget, log = PixelBudget(100), list[str]()
    holders.append(Holder(budget, 1000, "huge", log))
    assert holders[0].holds.wait(PATIENCE)
    holders.append(Holder(budget, 1, "tiny", log))
    wait_until_waiting(budget, 1)
    assert log == ["huge"]


def test_a_thread_that_has_a_share_never_waits_for_another() -> None:
    budget = PixelBudget(100)
    with budget.hold(100), budget.hold(100):
        pass
    with budget.hold(100):
        pass


def test_a_share_is_given_back_after_an_error() -> None:
    budget = PixelBudget(100)
    with pytest.raises(ZeroDivisionError), budget.hold(100):
        1 / 0  # noqa: B018
    with budget.hold(100):
        pass


def _make_png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, "PNG")
    return stream.getvalue()


PIXELS = np.zeros((48, 64, 3), np.uint8)
DECODERS: dict[str, Callable[[], object]] = {
    "read": lambda: ensure_pixels(_make_png()),
    "check": lambda: check_picture(io.BytesIO(_make_png()), "It"),
    **{
        codec.name.lower(): lambda codec=codec: decode_image(encode_image(PIXELS, codec=codec))  # type: ignore[misc]
        for codec in Codec
    },
}


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_everything_that_decodes_waits_for_its_share(decode: Callable[[], object], holders: list[Holder]) -> None:
    log = list[str]()
    # What two of the largest pictures leave is nothing.
    holders += [Holder(DECODING, 8192 * 8192, name, log) for name in ("one", "two")]
    assert all(holder.holds.wait(PATIENCE) for holder in holders)
    done = threading.Event()

    def run() -> None:
        decode()
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    wait_until_waiting(DECODING, 1)
    assert not done.is_set()
    holders[0].finish()
    assert done.wait(PATIENCE)
    thread.join(PATIENCE)
