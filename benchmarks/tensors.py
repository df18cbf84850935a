"""Decoding the reply that matters most: one 1024×1024 picture, packed with fpzip or raw."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import fpzip
import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, time_once, time_side_by_side
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.fpzip_codec import unpack_fpzip, unpack_pixels
from drawthings_mcp.tensors.fpzip_pool import prestart
from drawthings_mcp.tensors.header import HEADER_SIZE, Codec, split_payload
from drawthings_mcp.tensors.tensor import decode_tensor

SIDE = 1024
TICK_SECONDS = 0.0005


def run() -> Iterable[Measurement]:
    """Every promise of the tensors, one after another; about a minute."""
    prestart(2)
    picture = draw_picture()
    packed = encode_image(picture, codec=Codec.FPZIP)
    raw = encode_image(picture)
    yield from measure_fpzip_here(packed)
    yield from measure_fpzip_elsewhere(packed)
    yield measure_two_at_once(packed)
    yield measure_raw(raw)
    yield from (measure_stall(name, payload) for name, payload in (("fpzip", packed), ("raw", raw)))
    yield from measure_memory()


def draw_picture() -> NDArray[np.uint8]:
    """A picture that packs about as well as a photo: waves with a little noise."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    waves = np.stack([np.sin(x / 37 + y / 91), np.cos(x / 53 - y / 29), np.sin((x + y) / 71)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 4, waves.shape)
    return np.clip(128 + 85 * waves + noise, 0, 255).astype(np.uint8)


def measure_fpzip_here(packed: bytes) -> Iterable[Measurement]:
    """In one thread: what the library itself costs the processor, and what comes on top."""
    header, body = split_payload(packed)
    stream = bytes(body)
    for name, decode in (("pixels", unpack_pixels), ("tensor", unpack_fpzip)):
        duel = time_side_by_side(
            partial(decode, header, stream),
            lambda: fpzip.decompress(stream),
            rounds=21,
            clock=time.thread_time,
            settled=True,
        )
        note = f"median of 21 pairs, processor time; best {duel.ratio:.3f}x; fpzip.decompress: {duel.note}"
        yield Measurement(f"fpzip to {name} in process", duel.paired_ratio, "x", 1.03, note)


def measure_fpzip_elsewhere(packed: bytes) -> Iterable[Measurement]:
    """The way a client takes: through another process."""
    stream = packed[HEADER_SIZE:]
    for name, decode in (("pixels", decode_image), ("tensor", decode_tensor)):
        duel = time_side_by_side(partial(decode, packed), lambda: fpzip.decompress(stream))
        yield Measurement(f"fpzip to {name} through a worker", duel.ratio, "x", 1.2, f"fpzip.decompress: {duel.note}")


def measure_two_at_once(packed: bytes) -> Measurement:
    """Two replies on two cores, against two unrelated processes that do the same work at the same time.

    Both need two cores at once, so the ratio does not depend on whether the machine has two to give. One reply
    after the other would take twice as long as the two processes, where it has.
    """
    with ThreadPoolExecutor(2) as threads, start_unrelated(packed[HEADER_SIZE:], 2) as decompress_apart:
        duel = time_side_by_side(lambda: list(threads.map(decode_image, [packed, packed])), decompress_apart, rounds=31)
    alone = min(time_once(lambda: decode_image(packed)) for _ in range(5))
    note = (
        f"median of 31 pairs; best {duel.ratio:.2f}x; two unrelated fpzip.decompress: {duel.note}; "
        f"one reply alone {alone * 1e3:.1f} ms"
    )
    return Measurement("two fpzip replies at once", duel.paired_ratio, "x", 1.3, note)


_UNRELATED_PROGRAM = """
import sys, fpzip
size = int(sys.argv[1])
stream = sys.stdin.buffer.read(size)
while sys.stdin.buffer.read(1):
    fpzip.decompress(stream)
    sys.stdout.buffer.write(b".")
    sys.stdout.buffer.flush()
"""


@contextmanager
def start_unrelated(stream: bytes, count: int) -> Iterator[Callable[[], None]]:
    """Processes that have nothing to do with us; what is given has each of them decompress the stream once."""
    command = [sys.executable, "-c", _UNRELATED_PROGRAM, str(len(stream))]
    with ExitStack() as stack:
        pipes = []
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(stream)
            pipes.append((process.stdin, process.stdout))

        def decompress() -> None:
            for requests, _ in pipes:
                requests.write(b".")
                requests.flush()
            for _, replies in pipes:
                assert replies.read(1) == b"."

        yield decompress


def measure_raw(raw: bytes) -> Measurement:
    """A raw reply, against the arithmetic that everybody would write."""

    def plain() -> NDArray[np.uint8]:
        values = np.frombuffer(raw, np.float16, offset=HEADER_SIZE).reshape(SIDE, SIDE, 3)
        levels: NDArray[np.float32] = np.clip(np.rint((values.astype(np.float32) + 1) * 127.5), 0, 255)
        return levels.astype(np.uint8)

    assert np.array_equal(decode_image(raw), plain())
    duel = time_side_by_side(lambda: decode_image(raw), plain)
    return Measurement("raw to pixels", min(duel.ours) * 1e3, "ms", 3.0, f"plain numpy: {duel.note}")


def measure_stall(name: str, payload: bytes) -> Measurement:
    """How long an event loop stands still at most while two replies are decoded, in the quietest of some rounds.

    Next to it: the same while two processes that have nothing to do with us keep the cores busy, which is what the
    system's scheduler alone costs.
    """

    async def decode() -> None:
        await asyncio.gather(*(asyncio.to_thread(decode_image, payload) for _ in range(2)))

    ours = [asyncio.run(find_longest_turn(decode())) for _ in range(15)]
    with keep_cores_busy(2):
        others = [asyncio.run(find_longest_turn(asyncio.sleep(0.1))) for _ in range(15)]
    note = (
        f"median {statistics.median(ours) * 1e3:.1f} ms; next to two unrelated processes "
        f"{min(others) * 1e3:.1f} ms, median {statistics.median(others) * 1e3:.1f} ms"
    )
    return Measurement(f"longest stall of the event loop, {name}", min(ours) * 1e3, "ms", 5.0, note)


@contextmanager
def keep_cores_busy(count: int) -> Iterator[None]:
    """Have processes run that do nothing but run."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def find_longest_turn(work: Coroutine[Any, Any, None]) -> float:
    """The longest time between two turns of the loop until some work is done, in seconds.

    The loop rests in between: one that never does is set aside by the system when the cores are busy, however free
    the interpreter is.
    """
    task = asyncio.create_task(work)
    longest, last = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(TICK_SECONDS)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    return longest


_MEMORY_PROGRAM = """
import ctypes, json
from pathlib import Path
from benchmarks.tensors import draw_picture
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.fpzip_pool import _shared
from drawthings_mcp.tensors.fpzip_codec import unpack_pixels
from drawthings_mcp.tensors.header import HEADER_SIZE, split_payload

def read(process, field):
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

def peak(work, *processes):
    for process in processes:
        Path(f"/proc/{process}/clear_refs").write_text("5")  # makes the peak what there is now
    before = [read(process, "VmRSS") for process in processes]
    work()
    return [read(process, "VmHWM") - size for process, size in zip(processes, before)]

packed = encode_image(draw_picture(), codec=Codec.FPZIP)
header, body = split_payload(packed)
stream = bytes(body)
small = encode_image(draw_picture()[:64, :64], codec=Codec.FPZIP)
decode_image(small)
ctypes.CDLL(None).malloc_trim(0)  # what earlier steps have freed shall not be counted as already there
parent, worker = peak(lambda: decode_image(packed), "self", *_shared.list_pids())
unpack_pixels(split_payload(small)[0], small[HEADER_SIZE:])
ctypes.CDLL(None).malloc_trim(0)
[here] = peak(lambda: unpack_pixels(header, stream), "self")
print(json.dumps({"parent": parent, "worker": worker - len(body) / 2**20, "here": here}))
"""


def measure_memory() -> Iterable[Measurement]:
    """Peak memory in addition to the payload, in processes that have decoded a small picture before; Linux only."""
    if sys.platform != "linux":
        return
    done = subprocess.run([sys.executable, "-c", _MEMORY_PROGRAM], stdout=subprocess.PIPE, check=True)
    sizes: dict[str, float] = json.loads(done.stdout)
    both = sizes["parent"] + sizes["worker"]
    note = (
        f"{sizes['parent']:.1f} MiB here and {sizes['worker']:.1f} MiB there, on top of each side's copy of the payload"
    )
    yield Measurement("peak memory of one fpzip decode in process", sizes["here"], "MiB", 20.0, "on top of the payload")
    yield Measurement("peak memory of one fpzip decode through a worker", both, "MiB", 20.0, note)
