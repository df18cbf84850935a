"""Reading what pictures tell of themselves, without their pixels: microseconds per file, next to Pillow's open."""

from __future__ import annotations

import os
import struct
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from PIL import Image

from benchmarks.measurement import Measurement, time_side_by_side
from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.metadata.reading import read_image_metadata
from drawthings_mcp.metadata.xmp import Packet, build_packet

FILES = 400
_ROUNDS = 5
_PIXELS = 1_500_000
"""Bytes of deflated pixels: a picture of 1024×1024 with some grain."""
_GOAL_US = 1e6 / 1500
_KINDS: Mapping[str, int] = {"8 KiB": 8192, "32 KiB": 32768, "one": _PIXELS}
"""How writers cut the pixels into chunks: libpng, ImageIO, this package."""


def run() -> Iterator[Measurement]:
    """By the size of chunks, then by dialect, then the memory that a hostile file takes; about fifteen seconds."""
    with tempfile.TemporaryDirectory() as place:
        for name, size in _KINDS.items():
            yield measure_reading(
                f"Draw Things PNG, pixels in chunks of {name}", Path(place) / name[:1], _draw_things, size
            )
        yield measure_reading("ComfyUI PNG of 40 nodes, chunks of 8 KiB", Path(place) / "c", _comfyui, 8192)
        yield measure_reading("A1111 PNG, chunks of 8 KiB", Path(place) / "a", _a1111, 8192)
        yield measure_memory(Path(place) / "hostile.png")


def measure_reading(name: str, folder: Path, make_texts: Callable[[int], dict[str, str]], chunk: int) -> Measurement:
    """Microseconds per file of ``read_image_metadata``, over many files of about 1.5 MB that differ."""
    paths = write_files(folder, make_texts, chunk)
    duel = time_side_by_side(
        lambda: [read_image_metadata(path) for path in paths],
        lambda: [_read_by_pillow(path) for path in paths],
        _ROUNDS,
    )
    ours, pillow = (min(seconds) / len(paths) * 1e6 for seconds in (duel.ours, duel.reference))
    note = f"{1e6 / ours:,.0f} files/s; Pillow's open and text: {pillow:.0f} us"
    return Measurement(name, ours, "us", _GOAL_US, note)


def measure_memory(path: Path) -> Measurement:
    """The most that a file made to take memory gets."""
    text = b'{"c":"\xf0\x9f\xa6\x8a",' + b'"":[],' * 24_000 + b'"uc":"' + b" " * 1_800_000 + b'"}'
    path.write_bytes(build_png({}, 1000, (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(_wrap(text)))))
    tracemalloc.start()
    try:
        read_image_metadata(path)
    except InvalidImageError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return Measurement("memory of a hostile file", peak / 2**20, "MiB", 32, f"{path.stat().st_size >> 10} KiB on disk")


def write_files(folder: Path, make_texts: Callable[[int], dict[str, str]], chunk: int) -> list[Path]:
    """PNG files whose pixels are noise that nobody reads."""
    folder.mkdir()
    paths = [folder / f"{number:05}.png" for number in range(FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(build_png(make_texts(number), chunk))
    return paths


def build_png(texts: Mapping[str, str], chunk: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG file with texts before its pixels."""
    pixels = os.urandom(min(chunk, _PIXELS))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)), *extra]
    parts += [(b"iTXt", f"{keyword}\0\0\0\0\0{text}".encode()) for keyword, text in texts.items()]
    parts += [(b"IDAT", pixels)] * (_PIXELS // len(pixels)) + [(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def _read_by_pillow(path: Path) -> object:
    with Image.open(path) as image:
        return image.info


def _wrap(comment: bytes) -> bytes:
    return build_packet(Packet(comment="@")).encode().replace(b"@", comment)


def _draw_things(number: int) -> dict[str, str]:
    values = ",".join(f'"setting{index}":{index / 7}' for index in range(75))
    comment = (
        f'{{"c":"a red fox in snow, number {number}","lora":[{{"model":"ink_f16.ckpt","weight":0.6000000238418579}}],'
        f'"model":"z_image_turbo_1.0_q8p.ckpt","sampler":"UniPC Trailing","scale":1,"seed":{number},"size":"1024x1024",'
        f'"steps":8,"strength":1,"uc":"blurry","v2":{{{values}}}}}'
    )
    text = f"a red fox in snow, number {number}\n-blurry\nSteps: 8, Sampler: UniPC Trailing, Seed: {number}"
    return {"XML:com.adobe.xmp": build_packet(Packet("Draw Things", text, comment))}


def _comfyui(number: int) -> dict[str, str]:
    chain = "".join(
        f',"{index}":{{"class_type":"LoraLoaderModelOnly","inputs":{{"lora_name":"{index}.safetensors","strength_model":0.5,'
        f'"model":["{index + 1 if index < 40 else 4}",0]}},"_meta":{{"title":"LoRA {index}"}}}}'
        for index in range(8, 41)
    )
    prompt = (
        f'{{"3":{{"class_type":"KSampler","inputs":{{"seed":{number},"steps":20,"cfg":7,"sampler_name":"euler","scheduler":'
        '"karras","denoise":1,"model":["8",0],"positive":["6",0],"negative":["7",0],"latent_image":["5",0]}},'
        '"4":{"class_type":"CheckpointLoaderSimple","inputs":{"ckpt_name":"m.safetensors"}},'
        '"5":{"class_type":"EmptyLatentImage","inputs":{"width":1024,"height":1024,"batch_size":1}},'
        f'"6":{{"class_type":"CLIPTextEncode","inputs":{{"text":"castle number {number}","clip":["4",1]}}}},'
        '"7":{"class_type":"CLIPTextEncode","inputs":{"text":"people","clip":["4",1]}},'
        '"1":{"class_type":"VAEDecode","inputs":{"samples":["3",0],"vae":["4",2]}},'
        f'"2":{{"class_type":"SaveImage","inputs":{{"images":["1",0]}}}}{chain}}}'
    )
    return {"prompt": prompt, "workflow": '{"nodes":[' + '{"pos":[1,2]},' * 1500 + "{}]}"}


def _a1111(number: int) -> dict[str, str]:
    text = (
        f"castle number {number}, <lora:ink:0.6>\nNegative prompt: people\nSteps: 20, Sampler: DPM++ 2M, "
        f"Schedule type: Karras, CFG scale: 7, Seed: {number}, Size: 1024x1024, Model hash: 0123456789, Model: m, "
        'Lora hashes: "ink: 00", '
        "Version: v1.10.1"
    )
    return {"parameters": text}
