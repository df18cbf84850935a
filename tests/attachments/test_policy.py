"""Policies: limits that make sense, and what is known of each client."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from drawthings_mcp.attachments.policy import Policy, find_policy
from drawthings_mcp.attachments.tokens import DEFAULT, find_counting
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


LARGE = {"max_tokens": 8_000, "window_tokens": 40_000}
MEDIUM = {"max_tokens": 4_000, "window_tokens": 16_000}
NEVER = {"shows_pictures": False, "model_sees": False}


@pytest.mark.parametrize(
    ("name", "version", "changes"),
    [
        ("lmstudio-mcp-bridge", "1.0.0", {"model_sees": False, "timeout": 60}),
        ("LM STUDIO", "", {"model_sees": False, "timeout": 60}),
        ("Cherry Studio", "1.8", {"model_sees": False}),
        ("lobehub-mcp-client", "1.0.0", {"model_sees": False}),
        ("drawthings", "1.0.0", NEVER),
        ("claude-ai", "0.1.0", {"max_characters": 500_000, "is_late": True, "timeout": 60, **LARGE}),
        (
            "claude-ai (via mcp-remote 0.1.37)",
            "0.1.0",
            {"max_characters": 500_000, "is_late": True, "timeout": 60, **LARGE},
        ),
        ("claude-code", "2.1.96", {"model_sees": True, "timeout": 300, **LARGE}),
        ("codex-mcp-client", "0.169.0", {"model_sees": True, "timeout": 300, **LARGE}),
        ("gemini-cli-mcp-client", "0.61.0", {"model_sees": True, "timeout": 300, **LARGE}),
        ("qwen-cli-mcp-client-drawthings", "0.0.1", {"timeout": 300, **MEDIUM}),
        ("qwen-cli-mcp-client-my pictures", "0.0.1", {"timeout": 300, **MEDIUM}),
        ("opencode", "1.18.33", {"timeout": 60, **LARGE}),
        ("cursor-vscode", "1.0.0", {"model_sees": True, "timeout": 60, **LARGE}),
        ("continue-cli-client", "1.0.0", {"timeout": 60, **NEVER}),
        ("@cline/core", "0.0.0", NEVER),
        ("google-adk", "2.13.0", NEVER),
        ("copilot-cli", "1.0.102", {"timeout": 120, **NEVER}),
        ("Visual Studio Code", "1.99.3", {"timeout": 300, **NEVER}),
        ("Visual-Studio-Code", "1.100.0-insider", {"timeout": 300, **LARGE}),
        ("Visual Studio Code", "1.103.0", {"takes_links": True, "timeout": 300, **LARGE}),
        ("visual studio code", "unknown", {"takes_links": True, "timeout": 300, **LARGE}),
    ],
)
def test_a_known_client_gets_what_is_known_of_its_version(name: str, version: str, changes: dict[str, Any]) -> None:
    known = find_policy(name, version)
    assert known.replace(counting=DEFAULT) == Policy(is_known=True).replace(**changes)


def test_only_a_name_with_a_star_stands_for_longer_names() -> None:
    assert find_policy("qwen-cli-mcp-client-x").is_known
    assert not find_policy("qwen-cli-mcp-client").is_known
    assert not find_policy("claude-code-router").is_known


def test_a_client_is_waited_for_four_fifths_of_its_patience_and_an_unknown_one_fifty_seconds() -> None:
    names = ("codex-mcp-client", "opencode", "continue-cli-client", "somebody's script")
    assert [find_policy(name).patience for name in names] == [240, 48, 48, 50]


@pytest.mark.parametrize(
    ("client", "model", "tokens"),
    [
        ("somebody's script", "", 1399),
        ("claude-code", "", 1369),
        ("codex-mcp-client", "", 1229),
        ("codex-mcp-client", "gpt-5-codex", 630),
        ("codex-mcp-client", "openai/gpt-4o", 765),
        ("codex-mcp-client", "somebody's model", 1399),
        ("gemini-cli-mcp-client", "", 1032),
        ("gemini-cli-mcp-client", "gemini-3-pro", 1120),
        ("qwen-cli-mcp-client-x", "", 1371),
        ("somebody's script", "Qwen3-VL-8B-Instruct", 1026),
    ],
)
def test_pictures_are_counted_as_the_model_behind_the_client_counts_them(client: str, model: str, tokens: int) -> None:
    assert find_policy(client, model=model).counting.count((1024, 1024)) == tokens


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("claude-opus-4-6", (1000, 1000), 1296),
        ("claude-opus-4-6", (4000, 4000), 1568),
        ("claude-opus-4-7", (1568, 1568), 3136),
        ("claude-fable-5", (4000, 4000), 4784),
        ("gpt-4o", (2048, 4096), 1105),
        ("gpt-4o", (512, 512), 255),
        ("gpt-4.1-mini", (1800, 2400), 2489),
        ("gemini-2.5-pro", (960, 540), 1548),
        ("gemini-2.5-pro", (384, 300), 258),
        ("qwen2.5-vl-7b", (280, 56), 22),
        ("gemma-3-12b", (64, 64), 258),
    ],
)
def test_the_rules_of_vendors_count_as_their_pages_do(model: str, size: tuple[int, int], tokens: int) -> None:
    assert find_counting(model).count(size) == tokens


def test_results_of_a_session_share_a_window_of_which_each_takes_half_of_what_is_left() -> None:
    policy = Policy(max_tokens=4_000, window_tokens=10_000)
    assert [policy.narrow(spent, 200).max_tokens for spent in (0, 4_000, 8_000, 9_900, 20_000)] == [
        3_800,
        2_800,
        800,
        100,
        100,
    ]
    assert Policy(max_tokens=50).narrow(20_000, 200).max_tokens == 50


def test_care_narrows_what_is_allowed_and_widens_nothing() -> None:
    careful = Policy(max_edge=200).with_care()
    assert (careful.max_inputs, careful.max_outputs, careful.max_edge, careful.max_characters) == (0, 1, 200, 14_000)
    assert careful.is_careful


def test_the_user_outvotes_what_is_known_of_a_client() -> None:
    old = find_policy("Visual Studio Code", "1.90")
    assert [old.with_preview(mode).shows_pictures for mode in ("auto", "always", "never")] == [False, True, False]
    assert not Policy().with_preview("never").shows_pictures


def test_every_entry_of_the_data_file_says_how_it_is_known() -> None:
    for client in json.loads((find_configs() / "clients.json").read_text(encoding="utf-8"))["clients"]:
        assert client.keys() <= {"names", "since", "before", "policy", "model", "known", "checked", "sources"}
        assert client["known"]
        assert client["sources"]
        assert date.fromisoformat(client["checked"]["date"])
        assert client["checked"]["how"] in {"measured", "reported"}
        assert client["checked"]["version"] or client["checked"]["how"] == "reported"
        for name in client["names"]:
            assert find_policy(name.replace("*", "any"), "9999").is_known or "before" in client


def test_every_rule_for_counting_has_a_source_and_costs_something() -> None:
    for row in json.loads((find_configs() / "picture_tokens.json").read_text(encoding="utf-8"))["countings"]:
        assert row["source"]
        assert all(find_counting(model).count((64, 64)) > 0 for model in row["models"])
