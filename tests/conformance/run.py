"""The official conformance suite against the product and against the fixture server, for both eras of the protocol.

Each run has a file of failures that are expected, with the reason; one that passes all the same fails the run, too.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
NODE = HERE / "node_modules" / ".bin" / "node"
PRODUCT = ("drawthings_mcp", "serve", "--http", "127.0.0.1:0", "--server", "demo")
FIXTURES = ("tests.conformance.fixture_server",)
SUITES: dict[str, tuple[str, ...]] = {
    "2025-11-25": ("conformance-2025", "--spec-version", "2025-11-25", "--suite", "all"),
    "2026-07-28": ("conformance-2026", "--requirements", "2026-07-28"),
}
"""By revision of the protocol: the pinned version of the suite that goes with it, and what of it is run."""


@contextlib.contextmanager
def serve(module: str, *arguments: str, folder: Path) -> Iterator[str]:
    """The address of a server process."""
    settings = {"DRAWTHINGS_STATE_DIR": str(folder / "state"), "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures")}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **settings},
        cwd=HERE.parents[1],
    )
    assert process.stderr is not None
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.terminate)
        for line in process.stderr:
            if line.startswith("Serving MCP at "):
                yield line.split()[-1]
                return
        raise SystemExit(f"{module} did not start")


def run(revision: str, name: str, url: str, results: Path) -> bool:
    """Runs a suite; whether it went as expected."""
    package, *options = SUITES[revision]
    expected = HERE / "expected" / f"{name}-{revision}.yml"
    script, output = HERE / "node_modules" / package / "dist" / "index.js", results / f"{name}-{revision}"
    baseline = ["--expected-failures", str(expected), "--output-dir", str(output)]
    command = [str(NODE), str(script), "server", "--url", url, *options, *baseline]
    sys.stdout.write(f"\n##### {revision}: {name}\n")
    sys.stdout.flush()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    sys.stdout.write(done.stdout[max(done.stdout.find("=== SUMMARY ==="), 0) :] + done.stderr)
    return done.returncode == 0


def main() -> int:
    """The exit code: 0 when all went as expected."""
    verdicts = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, server in {"product": PRODUCT, "fixtures": FIXTURES}.items():
            own = folder / name
            own.mkdir()
            arguments = server[1:] if server is PRODUCT else (str(own),)
            with serve(server[0], *arguments, folder=own) as url:
                for revision in SUITES:
                    verdicts[f"{revision}, {name}"] = run(revision, name, url, folder)
    for what, is_good in verdicts.items():
        sys.stdout.write(f"{what}: {'as expected' if is_good else 'NOT as expected'}\n")
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
