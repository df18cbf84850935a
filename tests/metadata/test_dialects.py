"""Every dialect: the metadata of a picture that carries the golden texts are the golden metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.metadata.reading import read_image_metadata

MakePng = Callable[..., Path]
GOLDEN = Path(__file__).parents[1] / "golden" / "metadata"
SAMPLES = sorted(GOLDEN.glob("*/*.json"))


def _read_sample(path: Path) -> tuple[dict[str, str], ImageMetadata]:
    sample = json.loads(path.read_text(encoding="utf-8"))
    metadata: dict[str, Any] = sample["facts"]
    if "loras" in metadata:
        metadata["loras"] = tuple((name, weight) for name, weight in metadata["loras"])
    if "created" in metadata:
        metadata["created"] = datetime.fromisoformat(metadata["created"]).astimezone()
    return sample["texts"], ImageMetadata(path.parent.name, 1, 1, **metadata)


def _text_chunk(keyword: str, text: str) -> tuple[bytes, bytes]:
    return b"iTXt", keyword.encode() + b"\0\0\0\0\0" + text.encode()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("after", [False, True], ids=["before pixels", "after pixels"])
def test_a_picture_tells_what_its_golden_texts_say(make_png: MakePng, sample: Path, after: bool) -> None:
    texts, expected = _read_sample(sample)
    metadata = read_image_metadata(make_png(*(_text_chunk(*text) for text in texts.items()), after=after))
    if sample.stem == "text_only":  # completed by defaults, which are not the text's
        assert metadata.configuration.items() >= {"seed": 12, "steps": 8, "sampler": 17}.items()
        metadata = replace(metadata, configuration={})
    assert metadata == expected


def test_every_dialect_has_samples() -> None:
    assert {path.parent.name for path in SAMPLES} == {
        *("draw-things", "comfyui", "a1111", "invokeai", "swarmui", "fooocus", "plain"),
        *("novelai", "stability-matrix", "ruined-fooocus", "civitai"),
    }
