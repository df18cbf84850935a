"""Policies: limits that make sense, and what is known of each client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from drawthings_mcp.attachments.policy import Policy, find_policy
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.packaged import find_configs


@pytest.mark.parametrize(
    "fields",
    [{"max_outputs": -1}, {"max_characters": -1}, {"max_edge": 0}, {"quality": 0}, {"quality": 96}, {"timeout": 0}],
)
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(fields))):
        Policy(**fields)
    with pytest.raises(InvalidInputError, match=next(iter(fields))):
        Policy().replace(**fields)


def test_a_limit_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidInputError, match=r"max_edges: a policy has no such limit\. Did you mean 'max_edge'"):
        Policy().replace(max_edges=512)


def test_an_unknown_client_gets_the_default() -> None:
    assert find_policy("somebody's script", "0.1") == find_policy("") == Policy()
    assert (Policy().max_inputs, Policy().max_outputs, Policy().max_characters) == (2, 3, 900_000)


@pytest.mark.parametrize(
    ("name", "version", "changes"),
    [
        ("lmstudio-mcp-bridge", "1.0.0", {"model_sees": False}),
        ("LM STUDIO", "", {"model_sees": False}),
        ("claude-ai", "0.1.0", {"max_characters": 500_000}),
        ("claude-ai (via mcp-remote 0.1.37)", "0.1.0", {"max_characters": 500_000}),
        ("claude-code", "2.1.96", {}),
        ("cursor-vscode", "1.0.0", {}),
        ("mcp-inspector", "0.21.1", {}),
        ("Visual Studio Code", "1.99.3", {"shows_pictures": False, "model_sees": False}),
        ("Visual-Studio-Code", "1.100.0-insider", {}),
        ("Visual Studio Code", "1.103.0", {"takes_links": True}),
        ("visual studio code", "unknown", {"takes_links": True}),
    ],
)
def test_a_known_client_gets_what_is_known_of_its_version(name: str, version: str, changes: dict[str, Any]) -> None:
    assert find_policy(name, version) == Policy().replace(**changes)


def test_the_user_outvotes_what_is_known_of_a_client() -> None:
    old = find_policy("Visual Studio Code", "1.90")
    assert [old.with_preview(mode).shows_pictures for mode in ("auto", "always", "never")] == [False, True, False]
    assert not Policy().with_preview("never").shows_pictures


def test_every_entry_of_the_data_file_has_names_and_sources() -> None:
    for client in json.loads((find_configs() / "clients.json").read_text(encoding="utf-8"))["clients"]:
        assert client.keys() <= {"names", "since", "before", "policy", "known", "sources"}
        assert client["known"]
        assert client["sources"]
        for name in client["names"]:
            assert isinstance(find_policy(name, "9999"), Policy)
