"""Projects to read and processes that write them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.search.projects.builder import Builder

ROOT = Path(__file__).parents[3]
Writer = Callable[[str], None]
StartWriter = Callable[..., Writer]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Builder]:
    """An empty project in a folder of its own, open for writing."""
    (tmp_path / "app").mkdir()
    builder = Builder(tmp_path / "app" / "Füchse #1.sqlite3")
    yield builder
    builder.close()


@pytest.fixture
def start_writer() -> Iterator[StartWriter]:
    """Starts a process that has a project open; what it returns makes the process do something and waits for it."""
    with ExitStack() as stack:

        def start(path: Path, *options: str) -> Writer:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.search.projects.writer", str(path), *options],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert process.stdin is not None
            assert process.stdout is not None
            stdin, stdout = process.stdin, process.stdout
            stack.callback(process.kill)

            def order(line: str) -> None:
                stdin.write(f"{line}\n")
                stdin.flush()
                assert stdout.readline() == ("" if line == "die" else "done\n")
                if line == "die":
                    process.wait(30)

            assert stdout.readline() == "done\n"
            return order

        yield start
