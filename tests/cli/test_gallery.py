"""``drawthings-mcp gallery``: a link into a server that runs, or into one of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.http_process import serve_http
from tests.warm_start import list_command

LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/#code=([\w-]{22})")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"), "DRAWTHINGS_STATE_DIR": str(tmp_path / "state")}


def open_gallery(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = list_command("-m", "drawthings_mcp", "--server", "demo", "gallery", "--no-browser")
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def sign_in(port: int, code: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        body = json.dumps({"code": code})
        connection.request("POST", "/sign-in", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_prints_a_link_into_the_server_that_runs_and_ends(environment: dict[str, str], tmp_path: Path) -> None:
    with serve_http(environment) as server:
        gallery = open_gallery(environment)
        said, errors = gallery.communicate(timeout=60)
        match = LINK.fullmatch(said.strip())
        assert match, errors
        assert (gallery.returncode, int(match[1])) == (0, server.port)
        assert [sign_in(server.port, match[2]) for _ in range(2)] == [200, 401]
        assert stat.S_IMODE((tmp_path / "state" / "server.json").stat().st_mode) == 0o600
        server.end()
    assert not (tmp_path / "state" / "server.json").exists()


def test_without_a_server_it_runs_one_until_it_is_stopped(environment: dict[str, str]) -> None:
    gallery = open_gallery(environment)
    assert gallery.stdout is not None
    try:
        match = LINK.fullmatch(gallery.stdout.readline().strip())
        assert match
        assert sign_in(int(match[1]), match[2]) == 200
        gallery.send_signal(signal.SIGINT)
        _, errors = gallery.communicate(timeout=30)
        assert gallery.returncode == 0
        assert match[2] not in errors
    finally:
        gallery.kill()
        gallery.wait()
