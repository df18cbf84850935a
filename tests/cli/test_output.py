"""What the output does with other scripts, and on terminals that know few characters."""

from __future__ import annotations

from typing import Any

import pytest

from drawthings_mcp.cli.output import format_table


def test_columns_are_aligned_also_with_wide_letters() -> None:
    table = format_table([("name", "file"), ("水彩", "a.ckpt"), ("e\u0301tude", "b.ckpt")])
    assert table.splitlines() == ["name   file", "水彩   a.ckpt", "e\u0301tude  b.ckpt"]


@pytest.mark.anyio
async def test_a_terminal_without_the_symbols_gets_plain_words(run: Any, closed_port: str) -> None:
    outcome = await run("doctor", "--server", closed_port, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert "  * problem  address " in outcome.stdout
    assert "-> Start Draw Things" in outcome.stdout
    assert outcome.code == 1
