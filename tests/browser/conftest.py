"""A real browser, and a chat in it that shows views. ``make web-test`` prepares both."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

ROOT = Path(__file__).parents[2]
HOST = ROOT / "build" / "host" / "bundle.js"
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The machine's Chromium, with a fresh profile."""
    playwright = pytest.importorskip("playwright.async_api", reason="Playwright is not installed: make web-test")
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium: apt-get install chromium")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest.fixture
async def chat(browser: Browser) -> AsyncIterator[Page]:
    """A page with the host part of MCP Apps; see ``host.js``."""
    if not HOST.exists():
        pytest.skip("the host page is not built: make web-test")
    context = await browser.new_context(viewport={"width": 800, "height": 1000})
    page = await context.new_page()
    await page.set_content("<!doctype html><html><body style='margin: 20px'></body></html>")
    await page.add_script_tag(path=HOST)
    yield page
    await context.close()
