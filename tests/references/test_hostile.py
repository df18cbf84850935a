"""Fifty hostile references: one sentence for each, little memory for all."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from base64 import b64encode
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from tests.web_servers import WebServer

MAX_MEGABYTES = 500

PROGRAM = """
import ipaddress, json, resource, ssl, sys
from functools import partial
from pathlib import Path
import anyio
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.references.policy import ImportPolicy, build_policy
from drawthings_mcp.library.originals import read_pixels
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.settings import Settings
from drawthings_mcp.web.fetch import fetch_public, is_public

folder, references, certificate = Path(sys.argv[1]), json.loads(sys.stdin.readline()), sys.argv[2]
settings = Settings(output_dir=folder / "output", state_dir=folder / "state", input_dirs=(folder / "pictures",))
policy = build_policy(settings)

async def fetch(url, max_bytes, timeout):
    # The server of the test stands for the internet; everything else on loopback is as private as ever.
    async def resolve(host, port):
        return [ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)]
    return await fetch_public(url, max_bytes=max_bytes, timeout=3, accept=("image/",), resolve=resolve,
                              allow=lambda ip: str(ip) == "127.0.0.1" or is_public(ip),
                              tls=ssl.create_default_context(cafile=certificate))

policy = ImportPolicy(policy.state_dir, policy.folders, policy.own_folders, fetch=fetch)

async def answer(reference):
    try:
        resolved = await resolve_reference(reference, ImageCatalog(settings.state_dir), policy)
    except DrawThingsError as error:
        return {"refused": type(error).__name__, "text": str(error)}
    read_pixels(resolved.record)
    return {"taken": resolved.record.id, "text": "; ".join(resolved.notes)}

async def main():
    for reference in references:
        print(json.dumps(await answer(reference)), flush=True)
    print(read_peak())

def read_peak():
    # Where a process may begin its life with the peak of its parent, the system tells its own elsewhere.
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) * 1024 / 1e6

anyio.run(main)
"""


def save(path: Path, picture: Image.Image, file_format: str, **options: Any) -> None:
    picture.save(path, file_format, **options)


def build_png(width: int, height: int, rows: int = 0, bit_depth: int = 8) -> bytes:
    """A PNG file of a claimed size, with some of its rows of nothing."""
    row = bytes(1 + width * 3 * bit_depth // 8)
    deflater = zlib.compressobj(9)
    body = b"".join(deflater.compress(row) for _ in range(rows)) + deflater.flush()
    header = struct.pack(">IIBBBBB", width, height, bit_depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def build_tiff(width: int, height: int) -> bytes:
    """A TIFF file of a claimed size, without a pixel."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height % 2**32}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def write_files(folder: Path) -> list[str]:
    """Hostile files; their paths."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8))
    whole = io.BytesIO()
    noise.save(whole, "PNG")
    raw = {
        "empty.png": b"",
        "claims-billions.png": build_png(60_000, 60_000),
        "bomb.png": build_png(20_000, 20_000, rows=400),
        "wide.png": build_png(30_000, 100, rows=100),
        "tall.png": build_png(2, 60_000, rows=60_000),
        "no-rows.png": build_png(8000, 8000),
        "truncated.png": whole.getvalue()[:4000],
        "head-only.png": whole.getvalue()[:33],
        "text.png": b"I am no picture",
        "page.jpg": b"<!doctype html><html><body>login</body></html>",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "drawing.png": b"<?xml version='1.0'?><!-- a --><svg xmlns='http://www.w3.org/2000/svg'/>",
        "drawing.svgz": b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
        "entities.svg": b"<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>",
        "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "document.png": b"%PDF-1.7\n",
        "archive.png": b"PK\x03\x04" + bytes(60),
        "script.png": b"#!/bin/sh\nrm -rf /\n",
        "zeros.png": bytes(100_000),
        "zero-size.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
        "huge.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 65000, 65000, 1, 24, 0, 0, 0, 0, 0, 0),
        "huge.gif": b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + bytes(3)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
        + b"\2\0;",
        "huge.tif": build_tiff(90_000, 90_000),
        "video.heic": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(100),
    }
    for name, data in raw.items():
        (folder / name).write_bytes(data)
    save(folder / "bomb.webp", Image.new("RGB", (8192, 8192)), "WEBP", lossless=True, quality=0, method=0)
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "out.png").symlink_to("/etc/passwd")
    return sorted(str(path) for path in folder.iterdir())


def list_references(folder: Path, web: WebServer) -> list[str]:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 20))

    web.answers["/endless.png"] = pour
    return [
        *write_files(folder),
        f"{folder}/../../etc/passwd",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
        f"{folder}/gone.png",
        f"{folder}/fox.png\0.jpg",
        f"{folder}/{'x' * 300}.png",
        f"{folder}/{'deep/' * 700}x.png",
        f"file://{folder}/%2e%2e/%2e%2e/etc/passwd",
        "file:///etc/passwd%00.png",
        "../../etc/passwd",
        "~nobody/fox.png",
        "data:image/png;base64,",
        "data:image/png;base64,!!!!",
        "data:image/png",
        f"data:image/svg+xml;base64,{b64encode(b'<svg/>').decode()}",
        f"data:image/png;base64,{b64encode(build_png(60_000, 60_000)).decode()}",
        "data:image/png;base64," + "A" * 40_000_000,
        "http://example.com/fox.png",
        "https://127.0.0.2/fox.png",
        "https://[::1]/fox.png",
        "https://169.254.169.254/latest/meta-data",
        "https://u:p@example.com/fox.png",
        web.put("/redirect", b"", status=302, Location="https://10.0.0.1/fox.png"),
        web.put("/down", b"", status=302, Location="http://localhost/fox.png"),
        web.put("/file", b"", status=302, Location="file:///etc/passwd"),
        web.put("/page", b"<html>", "text/html"),
        web.put("/drawing.svg", b"<svg/>", "image/svg+xml"),
        web.put("/bomb.png", build_png(60_000, 60_000)),
        web.url("/endless.png"),
        "v99",
        "v99999999999999999999",
        "latest:x",
        "x" * 100_000,
    ]


def run(folder: Path, references: list[str], certificate: Path) -> tuple[list[dict[str, str]], float]:
    """The answers, and the most memory that the process took, in megabytes."""
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(certificate)],
        input=json.dumps(references) + "\n",
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert finished.returncode == 0, finished.stderr
    *answers, peak = finished.stdout.splitlines()
    return [json.loads(line) for line in answers], float(peak)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def test_every_hostile_reference_gets_one_sentence_and_memory_stays_small(
    folder: Path, web: WebServer, tmp_path: Path
) -> None:
    references = list_references(folder, web)
    assert len(references) >= 50
    answers, megabytes = run(tmp_path, references, web.certificate)
    for reference, answer in zip(references, answers, strict=True):
        text = answer["text"]
        assert "refused" in answer, (reference[:100], answer)
        assert text.isprintable(), (reference[:100], answer)
        assert text.endswith("."), answer
        assert not re.search(r"[.!?] +[A-Z]", text), answer
        assert 20 < len(text) < 500, answer
        assert "root:" not in text
    assert megabytes < MAX_MEGABYTES
    assert not (tmp_path / "state" / "inputs").exists()


def test_large_and_unusual_pictures_are_taken_with_one_sentence_in_little_memory(
    folder: Path, web: WebServer, tmp_path: Path
) -> None:
    red = Image.new("RGB", (64, 64), "red")
    save(folder / "1.tif", Image.new("CMYK", (3000, 2000)), "TIFF", compression="tiff_lzw")
    save(folder / "2.jpg", Image.new("CMYK", (3000, 2000)), "JPEG")
    save(folder / "3.png", Image.new("I;16", (4000, 4000)), "PNG", compress_level=1)
    save(folder / "4.gif", Image.new("RGB", (64, 64)), "GIF", save_all=True, append_images=[red])
    save(folder / "5.png", Image.new("RGB", (64, 64)), "PNG", save_all=True, append_images=[red])
    answers, megabytes = run(tmp_path, [str(path) for path in sorted(folder.iterdir())], web.certificate)
    assert [answer.get("taken") for answer in answers] == ["a1", "a2", "a3", "a4", "a5"]
    assert all(answer["text"] and ";" not in answer["text"] for answer in answers)
    assert megabytes < MAX_MEGABYTES
