"""The tables of the documents say what the schema and the code say."""

from __future__ import annotations

import re
from pathlib import Path

from drawthings_mcp import ImageGenerationConfig, SamplerType, SeedMode

ROOT = Path(__file__).parents[2]
_FIELD = re.compile(r"^  (\w+): (\[?\w+\]?)(?: = ([\w.-]+))?", re.MULTILINE)
_SLOT = re.compile(r"^\| (\d+) \| (\d+) \| (\w+) \| (\[?\w+\]?) \| ([^ ]+) \|", re.MULTILINE)
_KEY = re.compile(r"^\| (\w+) \| \S+ \| (\w+) \([^|]*\) \| (\d+)@(\d+) \|", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def list_schema_fields() -> list[tuple[str, str]]:
    """Name and default of every field of the configuration, in the order of the slots."""
    schema = read("fbs/generation_configuration.fbs")
    root = schema[schema.index("table GenerationConfiguration") :]
    return [(name, plain(default or "0", kind)) for name, kind, default in _FIELD.findall(root)]


def plain(default: str, kind: str) -> str:
    """A default as text; how long a number is written makes no difference, and what can be absent has none."""
    if kind in ("string", "name") or kind.startswith("["):
        return "absent"
    return f"{float(default):g}" if re.fullmatch(r"-?[\d.]+", default) else default


def test_the_protocols_table_of_slots_is_that_of_the_schema() -> None:
    slots = [
        (int(slot), int(vt), name, plain(value, kind))
        for slot, vt, name, kind, value in _SLOT.findall(read("docs/protocol.md"))
    ]
    assert slots == [(slot, 4 + 2 * slot, *field) for slot, field in enumerate(list_schema_fields())]


def test_the_protocols_names_of_samplers_and_seed_modes_are_those_of_the_enumerations() -> None:
    text = read("docs/protocol.md")
    for kind in (SamplerType, SeedMode):
        (row,) = re.findall(rf"^\| {kind.__name__} \| (.*) \|$", text, re.MULTILINE)
        assert row == " · ".join(f"{member.value} {member.name}" for member in kind)
    names = ", ".join(f'"{member.display_name}"' for member in SamplerType)
    assert names.replace("Euler Ancestral", "Euler a") in text


def test_every_key_of_a_configuration_stands_in_the_table_of_the_formats_with_its_slot() -> None:
    names = [name for name, _ in list_schema_fields()]
    rows = _KEY.findall(read("docs/formats.md"))
    assert {key for key, *_ in rows} >= set(ImageGenerationConfig().to_app_json())
    assert all(names[int(slot)] == field and int(vt) == 4 + 2 * int(slot) for _, field, slot, vt in rows)
