"""The largest replies: the frames of a video and a picture of 2048×2048, decoded, and frames saved one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import fpzip
import numpy as np
from numpy.typing import NDArray

from benchmarks.measurement import Measurement, time_side_by_side
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.fpzip_pool import prestart
from drawthings_mcp.tensors.header import HEADER_SIZE, Codec

FRAMES, WIDTH, HEIGHT = 81, 832, 448
_SLICE = 4
"""Frames per round: of many short rounds some are undisturbed, of a few long ones none."""
_SIDE = 2048
_FEW = 9


def run() -> Iterator[Measurement]:
    """Decoding, encoding, memory; about half a minute."""
    prestart(2)
    yield measure_video([encode_image(draw_frame(number), codec=Codec.FPZIP) for number in range(_SLICE)])
    large = draw_frame(0, _SIDE, _SIDE)
    yield measure_large(encode_image(large, codec=Codec.FPZIP))
    yield measure_encoding(large)
    yield from measure_memory()


def draw_frame(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """A frame that packs about as well as a photo: waves that wander, with a little noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x += 8 * number
    waves = np.stack([np.sin(x / 37 + y / 91), np.cos(x / 53 - y / 29), np.sin((x + y) / 71)], axis=-1)
    noise = np.random.default_rng(number).normal(0, 4, waves.shape)
    return np.clip(128 + 85 * waves + noise, 0, 255).astype(np.uint8)


def measure_video(payloads: Sequence[bytes]) -> Measurement:
    """All frames of a reply on two cores, a few a round, against the library alone on one."""
    streams = [payload[HEADER_SIZE:] for payload in payloads]
    with ThreadPoolExecutor(2) as threads:
        duel = time_side_by_side(
            lambda: list(threads.map(decode_image, payloads)),
            lambda: [fpzip.decompress(stream) for stream in streams],
            FRAMES // _SLICE,
        )
    note = f"{len(payloads) / min(duel.ours):.0f} frames a second; fpzip.decompress on one core: {duel.note}"
    return Measurement(f"frames of {WIDTH}×{HEIGHT} decoded on two cores", duel.ratio, "x", 0.7, note)


def measure_large(packed: bytes) -> Measurement:
    """One large picture, which only one core can decode."""
    stream = packed[HEADER_SIZE:]
    duel = time_side_by_side(lambda: decode_image(packed), lambda: fpzip.decompress(stream), 4)
    return Measurement(f"fpzip of {_SIDE}×{_SIDE} to pixels", duel.ratio, "x", 1.2, f"fpzip.decompress: {duel.note}")


def measure_encoding(pixels: NDArray[np.uint8]) -> Measurement:
    """The largest canvas that people send, against the arithmetic that everybody would write."""

    def plain() -> bytes:
        return bytes(HEADER_SIZE) + (pixels.astype(np.float32) / 127.5 - 1).astype(np.float16).tobytes()

    assert encode_image(pixels)[HEADER_SIZE:] == plain()[HEADER_SIZE:]
    duel = time_side_by_side(lambda: encode_image(pixels), plain)
    return Measurement(f"{_SIDE}×{_SIDE} pixels to a payload", duel.ratio, "x", 0.8, f"plain numpy: {duel.note}")


_MEMORY_PROGRAM = """
import ctypes, json, tempfile
from pathlib import Path
from benchmarks.video import _FEW, FRAMES, draw_frame
from drawthings_mcp.generation import ResultImage, ImageGenerationConfig
from drawthings_mcp.library.animation import save_animation
from drawthings_mcp.library.frames import FrameSet
from drawthings_mcp.tensors.png import encode_png
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.pixels import ensure_pixels

def read(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

def peak_once(work):
    ctypes.CDLL(None).malloc_trim(0)  # what earlier steps have freed shall not be counted as already there
    Path("/proc/self/clear_refs").write_text("5")  # makes the peak what there is now
    before = read("VmRSS")
    work()
    return read("VmHWM") - before

def peak(work):
    return min(peak_once(work) for _ in range(3))  # what the allocator scatters differs from time to time

payload = encode_image(draw_frame(0))  # raw: what unpacking takes is another process's, see benchmarks.tensors
configuration = ImageGenerationConfig(model="wan_v2.2_5b_ti2v_q8p.ckpt", seed=1)

def decode(count):
    return (ResultImage(decode_image(payload), "a fox", "", configuration) for _ in range(count))

with tempfile.TemporaryDirectory() as place:
    folder = Path(place)
    def save():
        frames = FrameSet(folder, "fox")
        for frame in decode(FRAMES):
            frames.add(frame)
        return frames.paths

    def animate(paths, container):
        save_animation(map(ensure_pixels, paths), folder, "fox", 24, container)

    paths = save()
    pixels = decode_image(payload)
    sizes = {"frame": pixels.nbytes / 2**20, "one": peak(lambda: encode_png(pixels, ""))}
    sizes["frames"] = peak(save)
    sizes["few"] = peak(lambda: animate(paths[:_FEW], "apng"))
    sizes["apng"] = peak(lambda: animate(paths, "apng"))
    sizes["mp4"] = peak(lambda: animate(paths, "mp4"))
    print(json.dumps(sizes))
"""


def measure_memory() -> Iterator[Measurement]:
    """Peak memory in addition to the reply; Linux only."""
    if sys.platform != "linux":
        return
    done = subprocess.run([sys.executable, "-c", _MEMORY_PROGRAM], stdout=subprocess.PIPE, check=True)
    sizes: dict[str, float] = json.loads(done.stdout)
    held = (sizes["frames"] - sizes["one"]) / sizes["frame"]
    note = f"{sizes['frames']:.1f} MiB, encoding one PNG {sizes['one']:.1f}; a decoded frame {sizes['frame']:.1f}"
    yield Measurement(f"{FRAMES} frames saved: decoded ones in memory", held, "", 2.0, note)
    grown = (sizes["apng"] - sizes["few"]) / sizes["frame"]
    note = f"{sizes['apng']:.1f} MiB against {sizes['few']:.1f}"
    yield Measurement(f"APNG of {FRAMES}: decoded frames more than of {_FEW}", grown, "", 2.0, note)
    note = f"mostly the encoder's own; {sizes['frame'] * FRAMES:.1f} for all decoded frames"
    yield Measurement(f"MP4 of {FRAMES}: peak memory", sizes["mp4"], "MiB", None, note)
