"""What is said of the project where it is released."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from drawthings_mcp.cli import main
from drawthings_mcp.settings import NAMES, variable
from release.bundle import ROOT, read_manifest, read_project, read_registry_entry, stage
from release.check import read_dockerfile
from release.licences import FOR_DEVELOPERS, name_libraries

VARIABLES = set(map(variable, NAMES))


def test_the_version_comes_from_one_place() -> None:
    entry = read_registry_entry()
    released = {read_manifest()["version"], entry["version"], *(package["version"] for package in entry["packages"])}
    assert released == {version("drawthings-mcp")}


def test_a_bundle_asks_for_settings_that_exist_and_uses_every_answer() -> None:
    manifest = read_manifest()
    environment: dict[str, str] = manifest["server"]["mcp_config"]["env"]
    assert set(environment) <= VARIABLES
    assert set(environment.values()) == {f"${{user_config.{name}}}" for name in manifest["user_config"]}
    # A client puts nothing in place of an answer without a default, and the text would be taken for a secret.
    assert all("default" in answer for answer in manifest["user_config"].values())


def test_a_bundle_holds_what_it_is_started_with(tmp_path: Path) -> None:
    stage(tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text("utf-8"))
    for name in (manifest["server"]["entry_point"], manifest["icon"], "pyproject.toml", "configs/families.json"):
        assert (tmp_path / "bundle" / name).is_file()
    assert not list((tmp_path / "bundle").rglob("__pycache__"))


def test_the_registry_entry_asks_for_settings_that_exist() -> None:
    (package,) = read_registry_entry()["packages"]
    assert {field["name"] for field in package["environmentVariables"]} <= VARIABLES
    assert [field["name"] for field in package["environmentVariables"] if field.get("isSecret")] == [
        "DRAWTHINGS_SHARED_SECRET"
    ]


def test_the_page_of_licences_names_what_the_project_asks_for() -> None:
    project = read_project()
    asked = {"Default": project["dependencies"]} | {
        f"Extra `{extra}`": needs
        for extra, needs in project["optional-dependencies"].items()
        if extra not in FOR_DEVELOPERS
    }
    parts = (ROOT / "docs" / "licences.md").read_text("utf-8").split("\n## ")
    for title, needs in asked.items():
        (part,) = (part for part in parts if part.startswith(title))
        missing = [name for need in needs if f"\n| {(name := canonicalize_name(Requirement(need).name))} |" not in part]
        assert missing == []


def test_libraries_inside_a_wheel_are_found_by_name() -> None:
    files = ["av.libs/libmp3lame-8f9e436f.so.0.0.0", "av/.dylibs/libx265.216.dylib", "numpy.libs/libgfortran-1d-2.so.5"]
    assert name_libraries([*files, "av/lib.py", "x/libavcodec-1.so"]) == {"mp3lame", "x265", "gfortran"}


def test_the_image_copies_all_that_the_build_context_lets_in() -> None:
    copied = {
        name
        for instruction, argument in read_dockerfile(ROOT / "Dockerfile")
        if instruction == "COPY"
        for name in argument.split()[:-1]
    }
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_as_nobody_special_with_a_command_that_exists() -> None:
    image = dict(read_dockerfile(ROOT / "Dockerfile"))
    user, _, group = image["USER"].partition(":")
    assert int(user) > 1000
    assert int(group) > 1000
    assert json.loads(image["ENTRYPOINT"]) == ["drawthings-mcp"]
    name, *arguments = json.loads(image["CMD"])
    command: Any = main.get_command(main.make_context("drawthings-mcp", ["--help"], resilient_parsing=True), name)
    command.make_context(name, arguments, resilient_parsing=False).close()
