"""Where values come from, and which are refused."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.settings import load_settings


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('server = "file:1"\ntls = "on"\npreview = "never"\n')
    settings = load_settings(
        {"server": "line:3", "tls": None},
        environment={"DRAWTHINGS_SERVER": "env:2", "DRAWTHINGS_TLS": "off", "DRAWTHINGS_CA_FILE": ""},
        config_file=file,
    )
    assert (settings.server, settings.tls, settings.preview, settings.ca_file) == ("line:3", "off", "never", None)
    assert {name: settings.origins[name] for name in ("server", "tls", "preview", "ca_file")} == {
        "server": "command line",
        "tls": "environment",
        "preview": "config.toml",
        "ca_file": "default",
    }


def test_several_servers_are_told_apart() -> None:
    servers = load_settings({"server": "a:1, [::1]:7859 ,a:1"}, environment={}).list_servers()
    assert [server.address for server in servers] == ["a:1", "[::1]:7859"]


TABLES = """
[servers.mini]
address = "mini.local:7859"
shared_secret = "minis-own"
[servers.studio]
address = "studio.local:7860"
tls = "off"
"""


def _list_servers(folder: Path, **options: str) -> list[tuple[str, str, str | None, str]]:
    (folder / "config.toml").write_text(TABLES)
    settings = load_settings(options, environment={}, config_file=folder / "config.toml")
    return [(one.name, one.address, one.tls, one.shared_secret.get_secret_value()) for one in settings.list_servers()]


MINI = ("mini", "mini.local:7859", "auto", "minis-own")
STUDIO = ("studio", "studio.local:7860", "off", "")


def test_servers_with_names_are_used_unless_others_are_chosen(tmp_path: Path) -> None:
    assert _list_servers(tmp_path) == [MINI, STUDIO]
    assert _list_servers(tmp_path, server="studio") == [STUDIO]
    assert _list_servers(tmp_path, server="b:1,mini") == [("b:1", "b:1", "auto", ""), MINI]


def test_a_secret_goes_to_no_server_that_it_was_not_given_for(tmp_path: Path) -> None:
    together = _list_servers(tmp_path, server="b:1,mini,studio", shared_secret="general")
    assert [secret for *_, secret in together] == ["general", "minis-own", ""]
    assert _list_servers(tmp_path, server="studio", shared_secret="for this")[0][3] == "for this"


def test_what_is_said_with_one_server_wins_over_its_own_table(tmp_path: Path) -> None:
    assert _list_servers(tmp_path, server="studio", tls="on")[0][2] == "on"
    assert _list_servers(tmp_path, server="studio,mini", tls="on")[0][2] == "off"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[servers.mini]\naddress = "http://x"', "[servers.mini] address: write the address without"),
        ('[servers.mini]\ntls = "on"', "[servers.mini] address"),
        ('[servers.mini]\naddress = "a:1"\nsecret = "hunter2"', "shared_secret"),
        ('[servers."a b"]\naddress = "a:1"', "'a b' is no name for a server"),
        ('servers = "a:1"', "must be tables"),
    ],
)
def test_a_wrong_server_table_is_refused_by_its_name(tmp_path: Path, table: str, words: str) -> None:
    (tmp_path / "config.toml").write_text(table)
    with pytest.raises(InvalidInputError) as caught:
        load_settings(environment={}, config_file=tmp_path / "config.toml")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_is_not_shown() -> None:
    settings = load_settings(environment={"DRAWTHINGS_SHARED_SECRET": "hunter2"})
    assert "hunter2" not in repr(settings) + repr(settings.list_servers())


def test_a_home_folder_is_expanded() -> None:
    assert load_settings(environment={"DRAWTHINGS_OUTPUT_DIR": "~/x"}).output_dir == Path.home() / "x"


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ({"tls": "maybe"}, {}, "--tls"),
        ({}, {"DRAWTHINGS_TLS": "maybe"}, "DRAWTHINGS_TLS"),
        ({}, {"DRAWTHINGS_PREVIEW": "x"}, "'auto', 'always' or 'never'"),
        ({"server": " , "}, {}, "names no server"),
        ({}, {"DRAWTHINGS_SERVER": "mac:7859,mac:x"}, "DRAWTHINGS_SERVER: server: the port in 'mac:x'"),
        ({}, {"DRAWTHINGS_OUTPUT_DIR": "~nobody-at-all/x"}, "home folder"),
        ({"ca_file": 5}, {}, "must be a path, got 5"),
        ({}, {"DRAWTHINGS_VISION_URL": "localhost:1234"}, "DRAWTHINGS_VISION_URL: vision_url: must begin with http"),
        ({"input_dirs": 5}, {}, "must be folders"),
        ({}, {"DRAWTHINGS_ATTACHMENTS": "max_edg=5"}, "there is no limit 'max_edg'. Did you mean 'max_edge'"),
        ({}, {"DRAWTHINGS_ATTACHMENTS": "quality=100"}, "quality must be a whole number from 1 to 95, got '100'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_origin(
    options: dict[str, object], environment: dict[str, str], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        load_settings(options, environment=environment)


def test_folders_are_separated_as_in_a_search_path_or_listed_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('search_dirs = ["/a", "/b"]\n')
    settings = load_settings(environment={"DRAWTHINGS_INPUT_DIRS": f"~/x{os.pathsep}/y"}, config_file=file)
    assert settings.input_dirs == (Path.home() / "x", Path("/y"))
    assert settings.search_dirs == (Path("/a"), Path("/b"))


def test_pictures_may_be_read_from_the_home_folder_unless_told_otherwise() -> None:
    assert load_settings(environment={}).input_dirs == (Path.home(),)


def test_the_apps_presets_can_be_switched_off_or_looked_for_elsewhere() -> None:
    def load(value: str) -> object:
        return load_settings(environment={"DRAWTHINGS_CUSTOM_CONFIGS": value}).custom_configs

    assert (load("None"), load("~/c.json"), load("")) == ("none", Path.home() / "c.json", None)


def test_limits_of_a_result_are_pairs_or_a_table_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[attachments]\nmax_edge = 512\n")
    assert load_settings(environment={}, config_file=file).attachments == {"max_edge": 512}
    environment = {"DRAWTHINGS_ATTACHMENTS": "max_edge=768, max_outputs=2"}
    assert load_settings(environment=environment).attachments == {"max_edge": 768, "max_outputs": 2}


def test_a_variable_that_other_programs_share_keeps_its_name() -> None:
    settings = load_settings(environment={"BRAVE_API_KEY": "hunter2"})
    assert settings.brave_api_key.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("server = ")
    with pytest.raises(InvalidInputError, match=r"config\.toml cannot be read"):
        load_settings(environment={}, config_file=file)


def test_an_unknown_name_in_the_file_is_pointed_out_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "config.toml"
    file.write_text('servr = "x:1"\n')
    with caplog.at_level(logging.WARNING):
        settings = load_settings(environment={}, config_file=file)
    assert settings.origins["server"] == "default"
    assert "'server'" in caplog.text
