"""Every client, before and after, in one home that has them all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.install.clients import CLIENTS, Machine
from tests.install.conftest import Home, Said, get_client, make_home, read_golden

NAMES = [client.name for client in CLIENTS]
BEFORE = {name: read_golden(name, "before") for name in NAMES}


@dataclass(frozen=True)
class Stay:
    """What was said and written when everything was installed, installed again and taken out."""

    home: Home
    said: tuple[Said, Said, Said]
    files: tuple[dict[str, str], dict[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def stay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stay]:
    home = make_home(tmp_path_factory.mktemp("stay") / "home", BEFORE)
    with pytest.MonkeyPatch.context() as patch:
        # What is started for a trial gets the home of this process.
        patch.setenv("HOME", str(home.folder))
        said, files = [], []
        for arguments in (("install", "--server", "demo"), ("install", "--server", "demo"), ("uninstall",)):
            said.append(home.run(*arguments, "--yes"))
            files.append({name: home.read(name) for name in NAMES})
        yield Stay(home, (said[0], said[1], said[2]), (files[0], files[1], files[2]))


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_is_added_and_all_else_stays_as_it_was(stay: Stay, name: str) -> None:
    assert stay.files[0][name] == read_golden(name, "after")


@pytest.mark.parametrize("name", NAMES)
def test_a_second_time_changes_nothing(stay: Stay, name: str) -> None:
    assert stay.files[1][name] == stay.files[0][name]
    assert f"{get_client(name).title}: the entry is there already (handshake " in stay.said[1].stdout


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("gemini", "opencode")])
def test_taken_out_again_the_file_is_what_it_was(stay: Stay, name: str) -> None:
    assert stay.files[2][name] == BEFORE[name]


@pytest.mark.parametrize(("name", "key"), [("gemini", "mcpServers"), ("opencode", "mcp")])
def test_where_there_was_no_place_for_servers_an_empty_one_stays(stay: Stay, name: str, key: str) -> None:
    added = f',\n  "{key}": {{}}'
    assert stay.files[2][name].replace(added, "") == BEFORE[name]


def test_each_start_is_tried_once_and_reported_for_every_client(stay: Stay) -> None:
    # AnythingLLM's has a variable of its own.
    assert stay.said[0].stderr.count("Starting ") == 2
    reports = [line for line in stay.said[0].stdout.splitlines() if line.startswith("  handshake ")]
    assert len(reports) == len(NAMES)
    assert all(line.endswith(" s, 8 tools, Draw Things reached") for line in reports)
    assert [said.code for said in stay.said] == [0, 0, 0]


def test_a_copy_of_each_state_is_kept(stay: Stay) -> None:
    copies = {name: data for name, data in stay.home.list_files().items() if "before-drawthings" in name}
    assert sorted(map(bytes.decode, copies.values())) == sorted([*BEFORE.values(), *stay.files[0].values()])


def test_keys_of_others_are_not_shown(stay: Stay) -> None:
    shown = stay.said[0].stdout + stay.said[2].stdout
    assert "a key of somebody" not in shown
    assert "a token of somebody" not in shown
    assert "me:hidden" not in shown
    assert '"FETCH_KEY": "***"' in shown


PLACES: dict[str, tuple[str, str, str]] = {
    "lm-studio": (".lmstudio/mcp.json",) * 3,
    "claude-desktop": (
        ".config/Claude/claude_desktop_config.json",
        "Library/Application Support/Claude/claude_desktop_config.json",
        "AppData/Roaming/Claude/claude_desktop_config.json",
    ),
    "claude-code": (".claude.json",) * 3,
    "cursor": (".cursor/mcp.json",) * 3,
    "vscode": (
        ".config/Code/User/mcp.json",
        "Library/Application Support/Code/User/mcp.json",
        "AppData/Roaming/Code/User/mcp.json",
    ),
    "vscode-insiders": (
        ".config/Code - Insiders/User/mcp.json",
        "Library/Application Support/Code - Insiders/User/mcp.json",
        "AppData/Roaming/Code - Insiders/User/mcp.json",
    ),
    "codex": (".codex/config.toml",) * 3,
    "gemini": (".gemini/settings.json",) * 3,
    "qwen": (".qwen/settings.json",) * 3,
    "goose": (
        ".config/goose/config.yaml",
        ".config/goose/config.yaml",
        "AppData/Roaming/Block/goose/config/config.yaml",
    ),
    "zed": (".config/zed/settings.json", ".config/zed/settings.json", "AppData/Roaming/Zed/settings.json"),
    "opencode": (".config/opencode/opencode.jsonc",) * 3,
    "windsurf": (".codeium/windsurf/mcp_config.json",) * 3,
    "devin": (
        ".config/devin/mcp_config.json",
        ".config/devin/mcp_config.json",
        "AppData/Roaming/devin/mcp_config.json",
    ),
    "antigravity": (".gemini/config/mcp_config.json",) * 3,
    "cline": (
        ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        "Library/Application Support/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        "AppData/Roaming/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
    ),
    "cline-cli": (".cline/data/settings/cline_mcp_settings.json",) * 3,
    "copilot": (".copilot/mcp-config.json",) * 3,
    "anythingllm": (
        ".config/anythingllm-desktop/storage/plugins/anythingllm_mcp_servers.json",
        "Library/Application Support/anythingllm-desktop/storage/plugins/anythingllm_mcp_servers.json",
        "AppData/Roaming/anythingllm-desktop/storage/plugins/anythingllm_mcp_servers.json",
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_system_has_its_place_for_a_clients_file(name: str, tmp_path: Path) -> None:
    systems: Any = ("linux", "darwin", "win32")
    found = [get_client(name).find_file(Machine(system, tmp_path, {})) for system in systems]
    assert found == [tmp_path / place for place in PLACES[name]]


@pytest.mark.parametrize(
    ("name", "variables", "place"),
    [
        ("codex", {"CODEX_HOME": "elsewhere"}, "elsewhere/config.toml"),
        ("claude-code", {"CLAUDE_CONFIG_DIR": "elsewhere"}, "elsewhere/.claude.json"),
        ("goose", {"XDG_CONFIG_HOME": "elsewhere"}, "elsewhere/goose/config.yaml"),
        ("gemini", {"GEMINI_CLI_HOME": "elsewhere"}, "elsewhere/.gemini/settings.json"),
        ("qwen", {"QWEN_HOME": "elsewhere"}, "elsewhere/settings.json"),
        ("copilot", {"COPILOT_HOME": "elsewhere"}, "elsewhere/mcp-config.json"),
        ("cline-cli", {"CLINE_DIR": "elsewhere"}, "elsewhere/data/settings/cline_mcp_settings.json"),
        ("cline-cli", {"CLINE_DATA_DIR": "elsewhere"}, "elsewhere/settings/cline_mcp_settings.json"),
    ],
)
def test_variables_that_move_a_client_are_followed(
    name: str, variables: dict[str, str], place: str, tmp_path: Path
) -> None:
    moved = {variable: str(tmp_path / folder) for variable, folder in variables.items()}
    assert get_client(name).find_file(Machine("linux", tmp_path, moved)) == tmp_path / place


def test_lm_studios_pointer_names_its_home(home: Home) -> None:
    moved = home.folder / "disk" / "LM Studio"
    moved.mkdir(parents=True)
    (home.folder / ".lmstudio-home-pointer").write_text(f"{moved}\n", encoding="utf-8")
    assert get_client("lm-studio").find_file(home.machine) == moved / "mcp.json"


def test_the_home_of_an_older_lm_studio_is_found(home: Home) -> None:
    (home.folder / ".cache" / "lm-studio").mkdir(parents=True)
    assert get_client("lm-studio").find_file(home.machine) == home.folder / ".cache" / "lm-studio" / "mcp.json"


def test_claude_of_windows_store_is_found_where_it_looks(tmp_path: Path) -> None:
    usual = tmp_path / "AppData" / "Roaming" / "Claude"
    folder = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    for path in (usual, folder):
        path.mkdir(parents=True)
    client = get_client("claude-desktop")
    assert client.find_file(Machine("win32", tmp_path, {})) == folder / "claude_desktop_config.json"
    assert client.find_file(Machine("linux", tmp_path, {})).parent == tmp_path / ".config" / "Claude"


def test_zed_on_a_mac_is_found_where_others_write_it(tmp_path: Path) -> None:
    folder = tmp_path / "Library" / "Application Support" / "Zed"
    folder.mkdir(parents=True)
    assert get_client("zed").find_file(Machine("darwin", tmp_path, {})) == folder / "settings.json"


def test_the_list_says_which_clients_are_here_and_have_the_entry(home: Home) -> None:
    home.put("cursor", json.dumps({"mcpServers": {"drawthings": {"command": "/opt/drawthings-mcp"}}}))
    home.put("windsurf", json.dumps({"mcpServers": {"drawthings": {"command": "paint"}}}))
    home.put("copilot", "{")
    lines = home.run("install", "--list").stdout.splitlines()
    rows = {line.split()[0]: " ".join(line.split()) for line in lines}
    assert list(rows) == NAMES
    folder = home.folder
    assert rows["cursor"] == f"cursor Cursor found installed {folder}/.cursor/mcp.json"
    assert rows["windsurf"] == f"windsurf Windsurf found another entry {folder}/.codeium/windsurf/mcp_config.json"
    assert rows["copilot"] == f"copilot Copilot CLI found cannot be read {folder}/.copilot/mcp-config.json"
    assert rows["zed"] == f"zed Zed – – {folder}/.config/zed/settings.json"


def test_keys_among_the_arguments_of_others_are_not_shown(home: Home) -> None:
    args = ["--api-key", "sk-first", "--token=sk-second", "--verbose", "visible"]
    home.put("cursor", json.dumps({"mcpServers": {"other": {"command": "x", "args": args}}}))
    said = home.run("install", "cursor", "--server", "demo", "--dry-run")
    assert "sk-" not in said.stdout
    assert "--token=***" in said.stdout
    assert "visible" in said.stdout
