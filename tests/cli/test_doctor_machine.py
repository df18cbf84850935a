"""What the doctor says about this machine, and how it says it."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.doctor.finding import Finding
from drawthings_mcp.doctor.machine import MACHINE_CHECKS
from drawthings_mcp.library.catalog import ImageCatalog

Examine = Callable[..., Awaitable[dict[str, Finding]]]
Invoke = Callable[..., Any]


@pytest.fixture
def doctor(invoke: Invoke, closed_port: str) -> Invoke:
    """``doctor("--json")``, with no server."""

    def start(*arguments: str, **variables: str) -> Any:
        return invoke("doctor", "--server", closed_port, *arguments, **variables)

    return start


def test_every_setting_is_shown_with_its_origin_and_no_secret(doctor: Invoke, tmp_path: Path) -> None:
    outcome = doctor("--json", "--shared-secret", "top-secret", DRAWTHINGS_PREVIEW="never")
    settings = outcome.document["settings"]
    assert settings["shared_secret"] == {
        "value": "set",
        "origin": "command line",
        "variable": "DRAWTHINGS_SHARED_SECRET",
    }
    assert settings["preview"] == {"value": "never", "origin": "environment", "variable": "DRAWTHINGS_PREVIEW"}
    assert settings["tls"] == {"value": "auto", "origin": "default", "variable": "DRAWTHINGS_TLS"}
    assert settings["ca_file"]["value"] is None
    assert settings["output_dir"]["value"] == str(tmp_path / "pictures")
    assert "top-secret" not in outcome.stdout + outcome.stderr


def test_a_misspelt_variable_is_reported_with_the_nearest_name(doctor: Invoke) -> None:
    settings = doctor("--json", DRAWTHINGS_SERVR="mac.local").findings["settings"]
    assert settings.status == "warning"
    assert "DRAWTHINGS_SERVR" in settings.detail
    assert "'DRAWTHINGS_SERVER'" in settings.remedy


def test_versions_and_the_decoder_are_reported(doctor: Invoke) -> None:
    findings = doctor("--json").findings
    assert findings["Python"].detail == f"{sys.version.split()[0]} at {sys.executable}"
    assert all(name in findings["packages"].detail for name in ("drawthings-mcp ", "grpcio ", "fpzip ", "numpy "))
    assert findings["decoder"].status == "ok"


@pytest.mark.parametrize(
    ("name", "variable"), [("output folder", "DRAWTHINGS_OUTPUT_DIR"), ("state folder", "DRAWTHINGS_STATE_DIR")]
)
def test_a_file_in_place_of_a_folder_is_a_problem(doctor: Invoke, tmp_path: Path, name: str, variable: str) -> None:
    path = tmp_path / "file"
    path.touch()
    finding = doctor("--json", **{variable: str(path / "pictures")}).findings[name]
    assert finding.status == "problem"
    assert finding.detail == f"{path} is a file, not a folder"
    assert variable in finding.remedy


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_folder_that_cannot_be_written_is_a_problem(doctor: Invoke) -> None:
    finding = doctor("--json", DRAWTHINGS_OUTPUT_DIR="/proc/pictures").findings["output folder"]
    assert finding.status == "problem"
    assert finding.detail.startswith("/proc/pictures cannot be written: ")
    assert "Change its permissions, or set DRAWTHINGS_OUTPUT_DIR" in finding.remedy


def test_a_folder_is_left_as_it_was(doctor: Invoke, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    findings = doctor("--json").findings
    assert findings["output folder"].detail == f"{pictures} can be written"
    assert findings["state folder"].detail == f"{tmp_path / 'state'} is not there yet; it can be made when needed"
    assert [path for path in tmp_path.rglob("*") if path != pictures] == []


def test_the_catalog_is_read_through(doctor: Invoke, tmp_path: Path) -> None:
    catalog = ImageCatalog(tmp_path / "state")
    for number in range(300):
        catalog.add("v", tmp_path / f"{number}.png", created=datetime.now(UTC), width=64, height=64, prompt="x" * 200)
    assert "sound, 300 pictures" in doctor("--json").findings["catalog"].detail
    path = tmp_path / "state" / "catalog.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    path.write_bytes(data)
    finding = doctor("--json").findings["catalog"]
    assert finding.status == "problem"
    assert "is damaged" in finding.detail
    assert "Restart drawthings-mcp" in finding.remedy


def test_a_check_that_fails_itself_hides_no_other(doctor: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> Finding:
        raise RuntimeError("a mistake")

    monkeypatch.setitem(MACHINE_CHECKS, "Python", fail)
    findings = doctor("--json").findings
    assert findings["Python"].status == "problem"
    assert findings["Python"].detail == "this check itself failed: RuntimeError: a mistake"
    assert findings["packages"].status == "ok"
    assert findings["address"].status == "problem"


@pytest.mark.parametrize(
    ("module", "finding"),
    [("drawthings_mcp.doctor.machine", "installation"), ("drawthings_mcp.doctor.server", "server")],
)
def test_a_broken_installation_is_a_finding(
    doctor: Invoke, monkeypatch: pytest.MonkeyPatch, module: str, finding: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # importing it now fails
    findings = doctor("--json").findings
    assert findings[finding].status == "problem"
    assert "a part of the installation is missing or broken" in findings[finding].detail
    assert "pip install --force-reinstall drawthings-mcp" in findings[finding].remedy
    assert len(findings) > 1


def test_people_get_groups_with_words_and_the_remedy_below(doctor: Invoke, closed_port: str) -> None:
    outcome = doctor()
    lines = outcome.stdout.splitlines()
    assert outcome.code == 1
    assert [line for line in lines if line and not line.startswith(" ")][:4] == [
        "Settings",
        "This machine",
        "What you added",
        f"Server {closed_port}",
    ]
    place = next(place for place, line in enumerate(lines) if line.startswith("  ✗ problem  address "))
    assert lines[place + 1].strip().startswith("→ Start Draw Things")
    assert lines[place + 2].startswith("  – skipped  protocol, encryption, certificate, ")
    assert lines[-2] == "1 problem to solve, no warnings."
    assert lines[-1].startswith('Begin with "address": Start Draw Things')
    assert outcome.stderr == f"Looking at {closed_port} …\n"


@pytest.mark.parametrize("arguments", [("--tls", "maybe"), ("--timeout", "0"), ("--nothing",)])
def test_wrong_usage_has_an_exit_code_of_its_own(doctor: Invoke, arguments: tuple[str, ...]) -> None:
    assert doctor(*arguments).code == 2
