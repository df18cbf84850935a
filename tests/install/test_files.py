"""What a file may look like, and what must not happen to it."""

from __future__ import annotations

import json
import os
import stat
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.install.change import back_up, describe_change, read_config_file, write_config_file
from drawthings_mcp.install.formats import FORMATS, BrokenFileError, FormatName
from tests.install.conftest import Home

PATH = ("servers", "drawthings")
ENTRY = {"command": "/opt/drawthings-mcp", "args": ["--server", "demo"], "env": {"A": "b"}}

TEXTS: list[tuple[FormatName, str]] = [
    ("json", '{"servers": {}}'),
    ("json", '{\n\t"servers": {\n\t\t"a": {\n\t\t\t"b": 1\n\t\t}\n\t}\n}'),
    ("json", '{"servers":{"a":{}},"x":1}'),
    ("json", '// head\n{\n    "servers": {\n        "a": {}, // tail\n        // end\n    },\n}\n// foot\n'),
    ("json", '{\n  "servers": {\n    "a": {} /* tail */ // more\n  }\n}\n'),
    ("json", '{\n  "servers": {\n    // only this\n  }\n}\n'),
    ("json", '{"ä\\n": "// no comment /* none */", "servers": {"a": "\\"}"}}'),
    ("toml", "[servers.a]\nb = 1\n"),
    ("toml", "servers = { a = { b = 1 } } # in braces\n"),
    ("toml", "[servers.a]\nb = 1\n\n[x]\ny = [\n  1, # one\n]\n\n[servers.c]\nd = 2\n"),
    ("toml", "servers.a.b = 1\nz = 2\n"),
    ("toml", 'x = """\n[servers]\n"""\n'),
    ("toml", "[servers.a]\nb = 1\n\n[[x]]\ny = 1\n"),
    ("toml", "[servers.a]\nb = 1\n\n[[x]]\ny = 1\n\n# mine\n[servers.c]\nd = 2\n\n[z]\n"),
    ("yaml", "servers:\n  a: 1\n"),
    (
        "yaml",
        "a:   1  # one\nservers:\n    # first\n    b: {c: 2}\n    d: |\n      text\n\n      more\n\n# foot\ne: 3\n",
    ),
    ("yaml", "servers: {a: {b: 1}}\n"),
    ("yaml", "x: &x\n  y: 1\nservers:\n  a: *x\nz: 'q'\n"),
    ("yaml", "servers: {}\nb: 1\n"),
    ("yaml", "servers:\n  a:\n  - 1\n  -   2\nb: 1\n"),
]


@pytest.mark.parametrize(("format", "text"), TEXTS)
def test_an_entry_goes_in_and_out_without_a_trace(format: FormatName, text: str) -> None:
    edit = FORMATS[format]
    added = edit.set(text, PATH, ENTRY)
    before = edit.read(text)
    assert edit.read(added) == {**before, "servers": {**before.get("servers", {}), "drawthings": ENTRY}}
    assert edit.set(added, PATH, ENTRY) == added
    assert edit.remove(added, PATH) == text


@pytest.mark.parametrize(("format", "text"), TEXTS)
def test_of_an_entry_that_is_there_only_what_differs_is_changed(format: FormatName, text: str) -> None:
    edit = FORMATS[format]
    added = edit.set(text, PATH, {**ENTRY, "extra": {"mine": [1]}})
    changed = edit.set(added, PATH, {"args": ["--server", "b:1"], "env": {"C": "d"}})
    assert edit.read(changed)["servers"]["drawthings"] == {
        "command": "/opt/drawthings-mcp",
        "args": ["--server", "b:1"],
        "env": {"A": "b", "C": "d"},
        "extra": {"mine": [1]},
    }


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(
    data=st.dictionaries(st.text(), _VALUES, max_size=4),
    servers=st.dictionaries(st.text(), _VALUES, max_size=3),
    indent=st.sampled_from([None, 1, 4, "\t"]),
    ascii_only=st.booleans(),
)
def test_any_json_gets_an_entry_and_loses_it_again(
    data: dict[str, Any], servers: dict[str, Any], indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps({**data, "servers": servers}, indent=indent, ensure_ascii=ascii_only)
    edit = FORMATS["json"]
    added = edit.set(text, PATH, ENTRY)
    assert json.loads(added) == {**data, "servers": {**servers, "drawthings": ENTRY}}
    if "drawthings" not in servers:
        assert edit.remove(added, PATH) == text


def test_of_members_with_one_name_the_last_counts_and_none_is_left() -> None:
    text = '{"servers": {"drawthings": {"command": "a"}, "x": 1, "drawthings": {"command": "b"}}}'
    assert FORMATS["json"].read(text)["servers"]["drawthings"] == {"command": "b"}
    changed = FORMATS["json"].set(text, PATH, {"command": "c"})
    assert changed == text.replace('"b"', '"c"')
    assert FORMATS["json"].remove(text, PATH) == '{"servers": {"x": 1}}'


def test_a_folder_in_the_place_of_a_file_is_one_sentence(home: Home) -> None:
    (home.folder / ".cursor" / "mcp.json").mkdir(parents=True)
    said = home.run("install", "cursor", "--yes")
    assert said.code == 1
    assert "mcp.json cannot be read: Is a directory. Put that right, then try again." in said.stderr


def test_a_file_in_the_place_of_a_clients_folder_is_not_blamed_on_where_pictures_go(home: Home) -> None:
    (home.folder / ".codex").write_text("", encoding="utf-8")
    said = home.run("install", "codex", "--yes")
    assert said.code == 1
    folder = home.folder / ".codex"
    reason = "File exists. Put that right, then try again."
    assert f"Codex: The configuration cannot be saved in {folder}: {reason}\n" in said.stderr
    assert "DRAWTHINGS_OUTPUT_DIR" not in said.stderr


@pytest.mark.parametrize("place", [0, 1, 2, 15, 29, 30])
@pytest.mark.parametrize("lines", [0, 30])
def test_a_change_is_shown_as_a_whole_comparison_shows_it(tmp_path: Path, place: int, lines: int) -> None:
    path = tmp_path / "mcp.json"
    before = [f"// {number}" for number in range(lines)]
    path.write_text("\n".join(before), encoding="utf-8")
    changes = (
        [*before[:place], "// new", "// 1", *before[place:]],
        [*before[:place], *before[place + 4 :]],
        [*before[:place], "// new", *before[place + 1 : place + 9], "// 0", *before[place + 9 :]],
    )
    for after in changes:
        whole = unified_diff(before, after, str(path), str(path), lineterm="", n=2)
        shown = describe_change(read_config_file(path, "json"), "\n".join(after).encode(), "drawthings")
        assert list(shown) == list(whole)


def test_words_that_old_readers_of_yaml_take_for_switches_stand_in_quotes() -> None:
    entry = {"cmd": "x", "args": ["--tls", "off", "No"], "enabled": True}
    for before in ("", "extensions: {}\n", "extensions:\n  drawthings:\n    cmd: x\n    args: []\n"):
        text = FORMATS["yaml"].set(before, ("extensions", "drawthings"), entry)
        assert YAML(typ="safe", pure=True).load(f"%YAML 1.1\n---\n{text}") == {"extensions": {"drawthings": entry}}


def test_comments_within_an_entry_stay_when_it_changes() -> None:
    json_text = (
        '{"servers": {\n  "drawthings": {\n    // mine\n    "command": "old", // here\n    "args": []\n  }\n}}\n'
    )
    assert FORMATS["json"].set(json_text, PATH, {"command": "new"}) == json_text.replace("old", "new")
    toml_text = '[servers.drawthings]\n# mine\ncommand = "old" # here\n'
    assert FORMATS["toml"].set(toml_text, PATH, {"command": "new"}) == toml_text.replace("old", "new")
    yaml_text = "servers:\n    drawthings:\n        # mine\n        command: old  # here\n    b: 1\n"
    assert FORMATS["yaml"].set(yaml_text, PATH, {"command": "new"}) == yaml_text.replace("old", "new")


@pytest.mark.parametrize(
    ("format", "text", "line", "column"),
    [
        ("json", '{\n  "a": 1\n  "b": 2\n}', 3, 3),
        ("json", '{"a": tru}', 1, 7),
        ("json", '{\n  "a": [1, 2\n}', 3, 1),
        ("json", "{\n  'a': 1\n}", 2, 3),
        ("json", '{\n  "a": "b\n}', 2, 10),
        ("json", "{} // end\nx", 2, 1),
        ("json", "{\n/* no end", 2, 1),
        ("json", "[]", 1, 1),
        ("json", '{"a": ' + "[" * 100_000, 1, 1),
        ("json", '{"a": ' + "1" * 10_000 + "}", 1, 7),
        ("toml", "a = 1\nb = \n", 2, 5),
        ("toml", "a = 1\na = 2\n", 2, 1),
        ("yaml", "a: 1\n b: 2\n", 2, 3),
        ("yaml", "a: [1,\n", 2, 1),
        ("yaml", "- a\n", 1, 1),
        ("yaml", "a: 1\nb:\n\t- c\n", 3, 1),
    ],
)
def test_a_broken_file_is_refused_with_line_and_column(format: FormatName, text: str, line: int, column: int) -> None:
    with pytest.raises(BrokenFileError) as caught:
        FORMATS[format].read(text)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_broken_file_stays_as_it_is_and_the_others_go_on(home: Home) -> None:
    path = home.put("cursor", '{\n  "mcpServers": {,}\n}\n')
    home.put("codex", "")
    said = home.run("install", "cursor", "codex", "--yes")
    assert said.code == 1
    assert (
        f"Cursor: {path} cannot be read: line 2, column 18: a name in double quotes, or }} is expected here."
        in said.stderr
    )
    assert "Nothing was changed; repair it, then try again." in said.stderr
    assert home.read("cursor") == '{\n  "mcpServers": {,}\n}\n'
    assert "[mcp_servers.drawthings]" in home.read("codex")


@pytest.mark.parametrize(
    ("name", "text"), [("codex", "mcp_servers = 3\n"), ("goose", "extensions: 3\n"), ("goose", "extensions:\n- a\n")]
)
def test_where_servers_should_stand_and_something_else_does_is_said_in_one_sentence(
    home: Home, name: str, text: str
) -> None:
    path = home.put(name, text)
    said = home.run("install", name, "--yes")
    assert said.code == 1
    assert f"{path} is written in a way that cannot be changed without harm. Change it by hand." in said.stderr
    assert home.read(name) == text


@pytest.mark.parametrize("text", ['{"mcpServers": []}', '{"mcpServers": 3}', '{"mcpServers": {"drawthings": "x"}}'])
def test_what_has_another_shape_is_left_alone(home: Home, text: str) -> None:
    home.put("cursor", text)
    assert home.run("install", "cursor", "--yes").code == 1
    assert home.list_files() == {".cursor/mcp.json": text.encode()}


def test_links_are_followed_and_modes_kept(tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles" / "cursor.json"
    kept.parent.mkdir()
    kept.write_text("{}", encoding="utf-8")
    kept.chmod(0o640)
    link = tmp_path / ".cursor" / "mcp.json"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(kept, link.parent))
    file = read_config_file(link, "json")
    copy = back_up(file)
    write_config_file(file, file.set(PATH, ENTRY))
    assert link.is_symlink()
    assert json.loads(kept.read_text(encoding="utf-8")) == {"servers": {"drawthings": ENTRY}}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert copy == kept.parent / "cursor.json.before-drawthings"
    assert copy.read_text(encoding="utf-8") == "{}"
    assert sorted(path.name for path in kept.parent.iterdir()) == ["cursor.json", "cursor.json.before-drawthings"]


def test_a_file_that_was_not_there_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mcp.json"
    file = read_config_file(path, "json")
    write_config_file(file, file.set(PATH, ENTRY))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["mcp.json"]


def test_a_file_that_another_program_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    for before, meanwhile in (("{}", '{"a": 1}'), ("{}", None), (None, "{}")):
        if before is not None:
            path.write_text(before, encoding="utf-8")
        file = read_config_file(path, "json")
        if meanwhile is None:
            path.unlink()
        else:
            path.write_text(meanwhile, encoding="utf-8")
        with pytest.raises(StorageError, match="changed by another program meanwhile"):
            write_config_file(file, file.set(PATH, ENTRY))
        if before is not None:
            with pytest.raises(StorageError, match="changed by another program meanwhile"):
                back_up(file)
        assert list(tmp_path.iterdir()) == ([] if meanwhile is None else [path])
        assert (path.read_text(encoding="utf-8") if path.exists() else None) == meanwhile
        path.unlink(missing_ok=True)


def test_a_copy_never_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    for text in ("{}", '{"a": 1}'):
        path.write_text(text, encoding="utf-8")
        back_up(read_config_file(path, "json"))
    copies = [tmp_path / "mcp.json.before-drawthings", tmp_path / "mcp.json.before-drawthings-2"]
    assert [copy.read_text(encoding="utf-8") for copy in copies] == ["{}", '{"a": 1}']
    assert {stat.S_IMODE(copy.stat().st_mode) for copy in copies} == {0o600}


@pytest.mark.parametrize("format", ["json", "toml", "yaml"])
def test_a_mark_at_the_beginning_and_line_ends_of_windows_stay(tmp_path: Path, format: FormatName) -> None:
    texts: dict[Any, str] = {"json": '{\n  "x": 1\n}\n', "toml": "x = 1\n", "yaml": "x: 1\n"}
    path = tmp_path / "file"
    data = b"\xef\xbb\xbf" + texts[format].replace("\n", "\r\n").encode()
    path.write_bytes(data)
    file = read_config_file(path, format)
    changed = file.set(PATH, ENTRY)
    assert changed.startswith(b"\xef\xbb\xbf")
    assert changed.count(b"\r\n") == changed.count(b"\n") > data.count(b"\n")
    assert FORMATS[format].read(changed.decode("utf-8-sig").replace("\r\n", "\n"))["x"] == 1


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_bytes('{\n  "a": "é"\n}'.encode("latin-1"))
    with pytest.raises(InvalidInputError, match=r"line 2, column 9: it is not UTF-8"):
        read_config_file(path, "json").parse()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_write_protected_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o444)
    file = read_config_file(path, "json")
    with pytest.raises(StorageError, match="write-protected"):
        write_config_file(file, file.set(PATH, ENTRY))
    with pytest.raises(StorageError, match="write-protected"):
        back_up(file)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mcp.json"]
