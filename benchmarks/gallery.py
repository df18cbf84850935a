"""The gallery's page at 100,000 pictures: first paint, search while typing, scrolling and memory. Needs Chromium."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from benchmarks.collection import COMMON, FIRST, make_facts
from benchmarks.measurement import Measurement
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.records import ImageRecord

if TYPE_CHECKING:
    from playwright.sync_api import Page

COUNT = 100_000
_PER_FOLDER = 1_000
_SCROLLED = 5_000
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
_SEARCH = """async (query) => {
  const before = performance.now();
  await (await fetch(`/gallery/pictures?${new URLSearchParams({ query, sort: "best", source: "all" })}`)).json();
  return performance.now() - before;
}"""
_FRAMES = 300
_GLIDE = """async (count) => {
  const wall = document.querySelector(".wall"), times = [];
  const frame = () => new Promise(requestAnimationFrame);
  for (let last = await frame(); times.length < count;) {
    wall.scrollTop += 48;
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times;
}"""
_SCROLL = """async (count) => {
  const wall = document.querySelector(".wall"), seen = new Set();
  while (seen.size < count) {
    wall.scrollTop += wall.clientHeight * 0.8;
    await new Promise((done) => setTimeout(done, 60));
    for (const one of document.querySelectorAll(".tile a")) seen.add(one.dataset.id);
  }
  return [seen.size, document.querySelectorAll(".tile").length];
}"""


def run() -> Iterator[Measurement]:
    """Figures of the page."""
    count = int(os.environ.get("GALLERY_PICTURES", COUNT))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_library(folder, count)
        environment = {
            **os.environ,
            "HOME": name,
            "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
            "DRAWTHINGS_STATE_DIR": str(folder / "state"),
        }
        program = [sys.executable, "-m", "drawthings_mcp", "--server", "demo"]
        subprocess.run([*program, "index"], env=environment, check=True, capture_output=True)
        command = [*program, "gallery", "--no-browser"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            try:
                assert server.stdout is not None
                yield from _measure(server.stdout.readline().decode().strip(), count)
            finally:
                server.terminate()


def make_library(folder: Path, count: int) -> None:
    """Pictures of a few pixels, each with a prompt, and the catalog that knows them."""
    records = []
    for number in range(count):
        facts = make_facts(number)
        place = folder / "pictures" / f"{number // _PER_FOLDER:03}"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number}.png"
        about = PngInfo()
        about.add_text("parameters", f"{facts.prompt}\nSteps: 8, Sampler: Euler a, Seed: {number}, Size: 64x48")
        stream = io.BytesIO()
        colour = (number % 251, number // 251 % 251, number % 83)
        Image.new("RGB", (64, 48), colour).save(stream, "PNG", pnginfo=about, compress_level=1)
        path.write_bytes(stream.getvalue())
        made = FIRST + timedelta(minutes=number)
        records.append(ImageRecord(f"v{number + 1}", path, made, facts.prompt, seed=number, width=64, height=48))
    ImageCatalog(folder / "state").restore(records)


def _measure(link: str, count: int) -> Iterator[Measurement]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        path = shutil.which("chromium") or "/usr/bin/chromium"
        browser = driver.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(link)
        page.wait_for_selector(".tile.loaded")
        paints = [_paint(page) for _ in range(5)]
        yield Measurement("first paint of the page", statistics.median(paints), "ms", 500, f"{count} pictures")
        pictures = [_load(page) for _ in range(5)]
        yield Measurement("first pictures are there", statistics.median(pictures), "ms", None)
        words = [f"{first} {second}" for first, second in zip(COMMON[:12], COMMON[20:32], strict=True)]
        typed = [word[:length] for word in words for length in range(2, len(word) + 1, 2)]
        times = sorted(page.evaluate(_SEARCH, text) for text in typed)
        yield Measurement(
            "search as it is typed, p95", times[int(len(times) * 0.95)], "ms", 100, f"{len(times)} queries"
        )
        # In a page of its own: those that were loaded before leave what the browser has not collected yet.
        address = page.url
        page.close()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector(".tile.loaded")
        frames = sorted(page.evaluate(_GLIDE, _FRAMES))
        yield Measurement(
            "time between frames while scrolling, p95",
            frames[int(len(frames) * 0.95)],
            "ms",
            34,
            f"{len(frames)} frames",
        )
        seen, kept = page.evaluate(_SCROLL, min(_SCROLLED, count - 500))
        yield Measurement(
            "memory of the page", _measure_page(browser), "MiB", 300, f"{seen} scrolled, {kept} tiles kept"
        )
        browser.close()


def _paint(page: Page) -> float:
    page.reload()
    page.wait_for_selector(".tile.loaded")
    page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
    return float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))


def _load(page: Page) -> float:
    begun = time.perf_counter()
    page.reload()
    page.wait_for_selector(".tile.loaded")
    return (time.perf_counter() - begun) * 1e3


def _measure_page(browser: object) -> float:
    """MiB of the largest renderer, its share of what processes have in common included."""
    session = browser.new_browser_cdp_session()  # type: ignore[attr-defined]
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    sizes = []
    for process in processes:
        if process["type"] == "renderer":
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{process['id']}/smaps_rollup").read_text(encoding="ascii")
                found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
                sizes.append(int(found[1]) / 1024 if found else 0)
    return max(sizes)
