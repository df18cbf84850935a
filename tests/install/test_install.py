"""What the commands ask, say, refuse and take back."""

from __future__ import annotations

import base64
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import pytest

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.install.entries import Written, add_entry, find_entry
from drawthings_mcp.install.launch import Launch, find_launch
from drawthings_mcp.install.trial import try_entry
from tests.install.conftest import Home, get_client
from tests.web_servers import HttpService

PutProgram = Callable[[str, str], Path]
DEMO = ["--server", "demo"]


@pytest.fixture(autouse=True)
def _same_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started for a trial gets the home of this process."""
    monkeypatch.setenv("HOME", str(home.folder))
    monkeypatch.setenv("PATH", str(home.folder / "bin"))


def read_entry(home: Home, name: str = "cursor", key: str = "mcpServers") -> Any:
    return json.loads(home.read(name))[key]["drawthings"]


def add(home: Home, name: str) -> Written:
    """Add the entry without starting it."""
    client = get_client(name)
    entry = find_entry(client, home.machine)
    return add_entry(entry, client.build_entry(find_launch(), {}, entry.value), home.machine)


def test_every_client_that_is_found_is_asked_for(home: Home) -> None:
    home.put("cursor", "{}")
    home.put("windsurf", "{}")
    said = home.run("install", *DEMO, answers="n\ny\n")
    assert [line for line in said.stderr.splitlines() if line.startswith("Change")] == [
        "Change Cursor? [y/N]: n",
        "Change Windsurf? [y/N]: y",
    ]
    assert home.read("cursor") == "{}"
    assert read_entry(home, "windsurf") == {"command": find_launch().command, "args": DEMO}


def test_without_an_answer_nothing_changes(home: Home) -> None:
    home.put("cursor", "{}")
    said = home.run("install", *DEMO)
    assert said.code == 1
    assert "Nobody answered, so nothing was changed. --yes answers for you." in said.stderr
    assert home.list_files() == {".cursor/mcp.json": b"{}"}


def test_a_dry_run_shows_and_changes_nothing(home: Home) -> None:
    home.put("cursor", "{}")
    said = home.run("install", "cursor", "codex", *DEMO, "--shared-secret", "sesame", "--dry-run")
    assert said.code == 0
    assert '+    "drawthings": {' in said.stdout
    assert "+[mcp_servers.drawthings]" in said.stdout
    assert "sesame" not in said.stdout + said.stderr
    assert home.list_files() == {".cursor/mcp.json": b"{}"}


def test_without_any_client_the_known_ones_are_named(home: Home) -> None:
    said = home.run("install", "--yes")
    assert said.code == 1
    assert "No chat client was found. Name one: lm-studio, claude-desktop, " in said.stderr


def test_the_server_is_asked_for_with_what_is_wrong_and_becomes_an_option(home: Home) -> None:
    said = home.run("install", "cursor", answers="http://here\ndemo\n\ny\n")
    assert "localhost:7859 refuses connections" in said.stderr
    assert "write the address without 'http://'" in said.stderr
    assert "Draw Things answers at demo." in said.stderr
    assert read_entry(home)["args"] == DEMO


def test_a_bare_start_carries_no_options_and_says_what_does_not_answer(home: Home) -> None:
    said = home.run("install", "cursor", "--yes", DRAWTHINGS_PREVIEW="never")
    assert said.code == 0
    assert "Set in this shell only, so chat clients will not have it: DRAWTHINGS_PREVIEW." in said.stderr
    assert read_entry(home)["args"] == []
    assert "8 tools, Draw Things not reached: localhost:7859 refuses connections" in said.stdout


def test_a_server_of_the_shells_variables_becomes_an_option(home: Home) -> None:
    said = home.run("install", "codex", "--dry-run", DRAWTHINGS_SERVER="mini:7859", DRAWTHINGS_TLS="off")
    assert '+args = ["--server", "mini:7859", "--tls", "off"]' in said.stdout
    assert "Codex was not found on this machine; its file is made for when it comes." in said.stderr


def test_a_secret_goes_into_our_own_file_for_its_owner_alone(home: Home) -> None:
    own = home.folder / ".config" / "drawthings-mcp" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('# mine\ntls = "auto"\n', encoding="utf-8")
    own.chmod(0o644)
    said = home.run("install", "cursor", *DEMO, "--shared-secret", "open sesame", "--yes")
    assert said.code == 0
    assert own.read_text(encoding="utf-8") == '# mine\ntls = "auto"\nshared_secret = "open sesame"\n'
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert "open sesame" not in said.stdout + said.stderr
    assert b"open sesame" not in b"".join(
        data for name, data in home.list_files().items() if not name.startswith(".config/drawthings-mcp/config.toml")
    )


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("/old/drawthings-mcp", []),
        ("uvx", ["drawthings-mcp"]),
        ("/x/python", ["-m", "drawthings_mcp"]),
        ("C:\\x\\drawthings-mcp.exe", []),
    ],
)
def test_what_the_user_added_to_an_entry_stays_however_it_starts(home: Home, command: str, args: list[str]) -> None:
    mine = {"command": command, "args": [*args, "--tls", "off"], "env": {"DRAWTHINGS_TOOLS": "simple"}, "x": 1}
    home.put("cursor", json.dumps({"mcpServers": {"drawthings": mine}}))
    add(home, "cursor")
    assert read_entry(home) == {**mine, "command": find_launch().command, "args": ["--tls", "off"]}


def test_what_the_user_set_wins_over_what_a_client_needs(home: Home) -> None:
    mine = {"command": "drawthings-mcp", "env": {"DRAWTHINGS_PREVIEW": "auto"}}
    home.put("anythingllm", json.dumps({"mcpServers": {"drawthings": mine}}))
    add(home, "anythingllm")
    assert read_entry(home, "anythingllm")["env"] == {"DRAWTHINGS_PREVIEW": "auto"}


def test_an_entry_for_something_else_is_replaced_only_by_a_person(home: Home) -> None:
    before = '{"mcpServers": {"drawthings": {"url": "http://paint.example", "command": "paint"}}}'
    path = home.put("cursor", before)
    said = home.run("install", "cursor", *DEMO, "--yes")
    assert said.code == 1
    assert "Cursor has an entry 'drawthings' for something else (paint), which stays." in said.stderr
    assert home.read("cursor") == before
    said = home.run("uninstall", "cursor", "--yes")
    assert "Cursor: the entry starts something else (paint), so it stays." in said.stdout
    assert home.list_files() == {".cursor/mcp.json": before.encode()}
    said = home.run("install", "cursor", *DEMO, answers="y\n")
    assert "Replace the entry of Cursor, which starts something else? [y/N]: y" in said.stderr
    assert read_entry(home) == {"command": find_launch().command, "args": DEMO}
    assert Path(f"{path}.before-drawthings").read_text(encoding="utf-8") == before


@pytest.mark.parametrize(("name", "switch"), [("cline", {"disabled": True}), ("opencode", {"enabled": False})])
def test_an_entry_that_the_user_switched_off_stays_off_and_is_named(
    home: Home, name: str, switch: dict[str, bool]
) -> None:
    client = get_client(name)
    mine: dict[str, Any] = {client.keys[0]: {"drawthings": client.build_entry(find_launch(), {}, switch)}}
    mine[client.keys[0]]["drawthings"] |= switch
    home.put(name, json.dumps(mine))
    for said in (home.run("install", name, *DEMO, "--yes"), home.run("install", name, "--yes")):
        assert said.code == 0
        assert f"Draw Things reached; switched off in {client.title}, so switch it on there" in said.stdout
    assert read_entry(home, name, client.keys[0]).items() >= switch.items()


def test_a_trial_gets_what_a_client_gives_and_not_what_this_shell_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWTHINGS_OUTPUT_DIR", "of this shell")
    heard = tmp_path / "heard"
    trial = anyio.run(try_entry, ["/bin/sh", "-c", f"/usr/bin/env > {heard}"], {"DRAWTHINGS_TOOLS": "simple"})
    assert trial.failure
    lines = heard.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("DRAWTHINGS_")] == ["DRAWTHINGS_TOOLS=simple"]


def test_an_entry_that_calls_an_address_is_named_by_it(home: Home) -> None:
    home.put("cursor", '{"mcpServers": {"drawthings": {"url": "http://me:hidden@paint.example/mcp"}}}')
    for command in ("install", "uninstall"):
        said = home.run(command, "cursor", "--yes")
        assert "for something else" in said.stderr or "something else" in said.stdout
        assert "paint.example/mcp)" in said.stdout + said.stderr
        assert "hidden" not in said.stdout + said.stderr


BROKEN = {"drawthings": {"command": "drawthings-mcp", "env": {"DRAWTHINGS_MAX_WAIT": "soon"}}}


def test_an_entry_that_does_not_start_is_taken_back(home: Home) -> None:
    before = json.dumps({"mcpServers": BROKEN})
    path = home.put("cursor", before)
    said = home.run("install", "cursor", "--yes")
    assert said.code == 1
    assert f"Cursor: {path} is as it was, for the entry does not start: Error: DRAWTHINGS_MAX_WAIT: " in said.stderr
    assert home.read("cursor") == before


def test_a_person_may_keep_an_entry_that_does_not_start(home: Home) -> None:
    home.put("cursor", json.dumps({"mcpServers": BROKEN}))
    said = home.run("install", "cursor", *DEMO, answers="y\nn\n")
    assert "Have the file as it was? [Y/n]: n" in said.stderr
    assert said.code == 1
    assert read_entry(home)["args"] == DEMO


def test_without_an_answer_an_entry_that_does_not_start_is_taken_back(home: Home) -> None:
    before = json.dumps({"mcpServers": BROKEN})
    home.put("cursor", before)
    said = home.run("install", "cursor", *DEMO, answers="y\n")
    assert said.code == 1
    assert "is as it was, for the entry does not start" in said.stderr
    assert home.read("cursor") == before


def test_an_entry_that_is_there_already_and_does_not_start_is_a_failure(home: Home) -> None:
    command = {"command": find_launch().command, "args": []}
    before = json.dumps({"mcpServers": {"drawthings": {**BROKEN["drawthings"], **command}}})
    home.put("cursor", before)
    said = home.run("install", "cursor", "--yes")
    assert said.code == 1
    assert "Cursor: the entry is there already, but does not start: Error: DRAWTHINGS_MAX_WAIT: " in said.stderr
    assert home.read("cursor") == before


def test_what_was_written_can_be_taken_back_unless_somebody_else_was_at_it(home: Home) -> None:
    add(home, "cursor").undo()
    assert home.list_files() == {}
    home.put("cursor", "{ }")
    written = add(home, "cursor")
    written.undo()
    assert home.read("cursor") == "{ }"
    written = add(home, "cursor")
    home.put("cursor", "{}")
    with pytest.raises(StorageError, match="changed by another program meanwhile"):
        written.undo()
    assert home.read("cursor") == "{}"


def test_taking_out_asks_and_says_when_there_is_nothing(home: Home) -> None:
    home.put("cursor", '{"mcpServers": {"drawthings": {"command": "drawthings-mcp"}, "a": {}}}')
    assert home.run("uninstall", answers="n\n").code == 0
    assert "drawthings" in home.read("cursor")
    said = home.run("uninstall", "cursor", "zed", answers="y\n")
    assert home.read("cursor") == '{"mcpServers": {"a": {}}}'
    assert "Zed: there is no entry." in said.stdout
    assert home.run("uninstall").stdout == "No chat client on this machine has the entry.\n"


def test_an_entry_of_another_name_for_this_program_is_named_and_stays(home: Home) -> None:
    before = '{"mcpServers": {"paint": {"command": "/opt/drawthings-mcp"}, "a": {"command": "drawthings"}}}'
    home.put("cursor", before)
    said = home.run("install", "cursor", *DEMO, "--dry-run")
    assert "Cursor has “paint” as well, which starts drawthings-mcp, too. It stays; keep one of both.\n" in said.stderr
    said = home.run("uninstall", "cursor", "--yes")
    assert "Cursor: “paint” starts drawthings-mcp, too, and stays; take it out by hand.\n" in said.stdout
    assert said.stdout.count("too") == 1
    assert home.read("cursor") == before


ADDS = """
printf '%s ' "$@" > "$HOME/called"
{
    printf '\\n[mcp_servers.drawthings]\\n'
    printf 'command = "%s"\\nargs = ["%s", "%s"]\\n' "$5" "$6" "$7"
} >> "$HOME/.codex/config.toml"
"""


def test_a_clients_own_command_is_used_where_it_is_on_the_machine(home: Home, put_program: PutProgram) -> None:
    home.put("codex", "x = 1\n")
    put_program("codex", ADDS)
    said = home.run("install", "codex", *DEMO, "--yes")
    command = find_launch().command
    assert (home.folder / "called").read_text(encoding="utf-8") == f"mcp add drawthings -- {command} --server demo "
    assert "Added by `codex mcp add`." in said.stderr
    added = f'command = "{command}"\nargs = ["--server", "demo"]\ntool_timeout_sec = 300\n'
    assert home.read("codex") == f"x = 1\n\n[mcp_servers.drawthings]\n{added}"


def test_what_a_clients_own_command_loses_is_put_back(home: Home, put_program: PutProgram) -> None:
    before = "# mine\nx = 1 # one\n"
    home.put("codex", before)
    put_program("codex", 'printf "x = 1\\n[mcp_servers.drawthings]\\ncommand = 1\\n" > "$HOME/.codex/config.toml"')
    written = add(home, "codex")
    assert written.note == "`codex mcp add` would have changed other lines of the file, so it was written directly."
    assert home.read("codex").startswith(f"{before}\n[mcp_servers.drawthings]\n")
    assert home.run("uninstall", "codex", "--yes").code == 0
    assert home.read("codex") == before


def test_a_clients_own_command_that_fails_is_made_up_for(home: Home, put_program: PutProgram) -> None:
    put_program("gemini", "exit 3")
    assert add(home, "gemini").note == "`gemini mcp add` did not add it, so the file was written directly."
    assert read_entry(home, "gemini") == {"command": find_launch().command, "args": []}


def put_lm_studio(home: Home, service: HttpService, *models: dict[str, str]) -> None:
    home.put("lm-studio", "{}")
    port = int(service.url.rpartition(":")[2])
    settings = home.folder / ".lmstudio" / ".internal" / "http-server-config.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"port": port}), encoding="utf-8")
    service.answers["/api/v0/models"] = (200, {"object": "list", "data": list(models)})


def test_lm_studios_model_that_sees_is_offered_to_describe_pictures(home: Home, http_service: HttpService) -> None:
    models = [{"id": "qwen3-8b", "type": "llm"}, {"id": "gemma-vl", "type": "vlm", "state": "not-loaded"}]
    put_lm_studio(home, http_service, *models, {"id": "qwen3-vl", "type": "vlm", "state": "loaded"})
    said = home.run("install", "lm-studio", *DEMO, answers="y\ny\n")
    assert "These of its models can see, and one could describe them: qwen3-vl, gemma-vl." in said.stderr
    assert "Have qwen3-vl describe pictures? [Y/n]: y" in said.stderr
    assert read_entry(home, "lm-studio")["env"] == {
        "DRAWTHINGS_VISION_URL": f"{http_service.url}/v1",
        "DRAWTHINGS_VISION_MODEL": "qwen3-vl",
    }
    again = home.run("install", "lm-studio", "--yes")
    assert "LM Studio: the entry is there already" in again.stdout
    assert [path for _, path, _, _ in http_service.requests] == ["/api/v0/models"]


def test_without_a_model_that_sees_lm_studio_gets_a_hint(home: Home, http_service: HttpService) -> None:
    put_lm_studio(home, http_service, {"id": "qwen3-8b", "type": "llm"})
    said = home.run("install", "lm-studio", *DEMO, "--yes")
    assert "could describe them, but it has no model that can see." in said.stderr
    assert "env" not in read_entry(home, "lm-studio")


def test_links_carry_the_entry_in_each_clients_manner(home: Home) -> None:
    said = home.run("install", "--links", "--server", "mini:7859")
    links = dict(line.split(": ", 1) for line in said.stdout.splitlines())
    entry = {"command": find_launch().command, "args": ["--server", "mini:7859"]}
    for title, start, needed in (
        ("LM Studio", "lmstudio://add_mcp", {"timeout": 300_000}),
        ("Cursor", "cursor://anysphere.cursor-deeplink/mcp/install", {}),
    ):
        assert links[title].startswith(f"{start}?name=drawthings&config=")
        query = parse_qs(urlsplit(links[title]).query)
        assert json.loads(base64.b64decode(query["config"][0])) == {**entry, **needed}
        assert links[title].count("=") == 2
    for title, scheme in {"VS Code": "vscode", "VS Code Insiders": "vscode-insiders"}.items():
        start, _, packed = links[title].partition("?")
        assert start == f"{scheme}:mcp/install"
        assert json.loads(unquote(packed)) == {"name": "drawthings", "type": "stdio", **entry}


def test_the_command_is_that_of_the_installed_program() -> None:
    command = Path(find_launch({}).command)
    assert command.is_absolute()
    assert command.name.startswith("drawthings-mcp")
    assert os.access(command, os.X_OK)


def test_a_link_on_the_search_path_outlives_a_version(tmp_path: Path) -> None:
    link = tmp_path / "drawthings-mcp"
    link.symlink_to(find_launch({}).command)
    assert find_launch({"PATH": str(tmp_path)}).command == str(link)


def test_a_program_in_a_cache_is_started_by_what_put_it_there(tmp_path: Path) -> None:
    cached = {"UV_CACHE_DIR": sys.prefix, "PATH": str(tmp_path)}
    with pytest.raises(InvalidInputError, match=r"which may be emptied any time\. Install it first"):
        find_launch(cached)
    uvx = tmp_path / "uvx"
    uvx.write_text("#!/bin/sh\n", encoding="utf-8")
    uvx.chmod(0o755)
    # It came from this folder, not from the index, so its name alone would start somebody else's program.
    root = Path(__file__).parents[2]
    assert find_launch(cached) == Launch(str(uvx), ("--from", str(root), "drawthings-mcp"))
