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
    assert load_settings({"server": "a:1, [::1]:7859 ,"}, environment={}).servers == ("a:1", "[::1]:7859")


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(load_settings(environment={"DRAWTHINGS_SHARED_SECRET": "hunter2"}))


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
