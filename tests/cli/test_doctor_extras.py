"""What the doctor says about presets, folders and endpoints of the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web_servers import HttpService

Invoke = Callable[..., Any]


@pytest.fixture
def doctor(invoke: Invoke, closed_port: str) -> Invoke:
    """``doctor(**variables)``: the findings, with no server."""
    return lambda **variables: invoke("doctor", "--json", "--server", closed_port, **variables).findings


def test_presets_of_the_user_are_counted_and_a_broken_file_is_reported(doctor: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "custom_configs.json"
    file.write_text('[{"name": "edit.flux", "configuration": {"steps": 4}}]')
    found = doctor(DRAWTHINGS_CUSTOM_CONFIGS=str(file))["presets"]
    assert (found.status, found.detail) == ("ok", "1 of your own, 61 built in")
    file.write_text('[{"name": "edit.fl')
    broken = doctor(DRAWTHINGS_CUSTOM_CONFIGS=str(file))["presets"]
    assert broken.status == "warning"
    assert f"{file} is not whole JSON" in broken.detail
    assert "DRAWTHINGS_CUSTOM_CONFIGS" in broken.remedy


def test_folders_that_are_not_there_are_named_with_their_setting(doctor: Invoke, tmp_path: Path) -> None:
    found = doctor(DRAWTHINGS_SEARCH_DIRS=str(tmp_path / "nowhere"))["folders"]
    assert found.status == "warning"
    assert found.detail == f"not there: {tmp_path / 'nowhere'} (DRAWTHINGS_SEARCH_DIRS)"


def test_chat_clients_that_have_the_entry_are_counted(
    doctor: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor()["chat clients"].detail.startswith("none of those that `drawthings-mcp install` knows is on")
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".lmstudio").mkdir()
    file = tmp_path / ".cursor" / "mcp.json"
    file.write_text('{"mcpServers": {"drawthings": {"command": "drawthings-mcp"}}}', encoding="utf-8")
    add = "to add it to LM Studio: drawthings-mcp install lm-studio"
    assert doctor()["chat clients"].detail == f"1 of 2 that were found have it (Cursor); {add}"
    file.write_text("{", encoding="utf-8")
    broken = doctor()["chat clients"]
    assert broken.status == "warning"
    assert f"{file} cannot be read: line 1, column 2" in broken.detail


def test_endpoints_are_asked_for_their_models(doctor: Invoke, http_service: HttpService, closed_port: str) -> None:
    http_service.answers = {"/v1/models": (200, {"data": [{"id": "tiny-vision"}]})}
    findings = doctor(DRAWTHINGS_VISION_URL=http_service.url, DRAWTHINGS_EMBEDDING_URL=f"http://{closed_port}")
    assert (findings["vision endpoint"].status, findings["vision endpoint"].detail) == ("ok", "it serves tiny-vision")
    assert findings["embeddings"].status == "warning"
    named = doctor(DRAWTHINGS_VISION_URL=http_service.url, DRAWTHINGS_VISION_MODEL="other")["vision endpoint"]
    assert named.status == "warning"
    assert "does not list other; it has: tiny-vision" in named.detail


def test_what_is_not_set_is_in_order(doctor: Invoke) -> None:
    findings = doctor()
    assert (findings["presets"].status, findings["vision endpoint"].status) == ("ok", "ok")


def test_passwords_in_addresses_are_not_printed(invoke: Invoke, closed_port: str) -> None:
    urls = {
        "DRAWTHINGS_VISION_URL": f"http://me:hush@{closed_port}/v1",
        "DRAWTHINGS_EMBEDDING_URL": f"http://me:sec/ret@{closed_port}",
        "DRAWTHINGS_SEARXNG_URL": f"http://hush@{closed_port}",
    }
    for arguments in ((), ("--json",)):
        result = invoke("doctor", *arguments, "--server", closed_port, **urls)
        printed = result.stdout + result.stderr
        assert "hush" not in printed
        assert "sec/ret" not in printed
        assert f"http://***@{closed_port}" in printed
