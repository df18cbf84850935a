"""Whatever is asked for, in any combination: what is not refused is survived, what is not warned about is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drawthings_mcp.catalog import Catalog, ServerInventory
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import (
    ControlInputType,
    ControlNetConfig,
    ImageGenerationConfig,
    LoRAConfig,
    SamplerType,
)
from drawthings_mcp.planning.compose import compose as compose_plan
from drawthings_mcp.simulator.catalog import Inventory, list_specifications
from drawthings_mcp.simulator.parsing import Journal
from drawthings_mcp.simulator.plan import plan_run
from drawthings_mcp.wire.request import build_request

INVENTORY = Inventory()


def list_files(kind: str) -> list[str]:
    return [str(specification["file"]) for specification in list_specifications(kind)]


MODELS, LORAS, CONTROLS = (list_files(kind) for kind in ("models", "loras", "controlNets"))
ROWS, COLUMNS = np.mgrid[:128, :192]
PICTURE = np.stack([ROWS, COLUMNS, ROWS], axis=-1).astype(np.uint8)
CUTOUT = np.dstack([PICTURE, np.where(COLUMNS < 60, 0, 255).astype(np.uint8)])
MASK = np.where(ROWS < 60, 0, 255).astype(np.uint8)
SIDES = st.sampled_from([128, 192, 256])
KINDS = [kind.name.lower() for kind in ControlInputType if kind is not ControlInputType.Unspecified]

VERSIONS = {
    str(entry["file"]): entry["version"]
    for kind in ("models", "loras", "controlNets")
    for entry in list_specifications(kind)
}

TOLD: Mapping[str, str] = {
    "hires fix has no effect": "hires_fix has no effect",
    "without an image has no effect": "strength has no effect without input_image",
    "has the weight 0": "has weight 0 and no effect",
}
"""What the simulator notes, and what has been said of it beforehand."""
UNTOLD = ("at strength 1 nothing of the image is left in the result", "the simulator does not apply masks to")
"""Notes about what only serves controls, and about the simulator's own limits."""


@st.composite
def configurations(draw: st.DrawFn) -> ImageGenerationConfig:
    # Names that are not there or do not fit have tests of their own, and would keep most examples from being sent.
    model = draw(st.sampled_from(MODELS))
    loras, controls = ([file for file in files if VERSIONS[file] == VERSIONS[model]] for files in (LORAS, CONTROLS))
    fields: dict[str, Any] = {
        "model": model,
        "width": draw(SIDES),
        "height": draw(SIDES),
        "steps": draw(st.sampled_from([4, 1])),
        "sampler": draw(st.sampled_from([SamplerType.EulerATrailing, SamplerType.DPMPP2MKarras])),
        "strength": draw(st.sampled_from([1.0, 1.0, 0.5, 0.0])),
        "batch_size": draw(st.sampled_from([1, 2])),
        "hires_fix": draw(st.booleans()),
        "hires_fix_width": draw(st.sampled_from([0, 64, 128])),
        "hires_fix_height": draw(st.sampled_from([64, 128])),
        "refiner_model": draw(st.sampled_from(["", "sd_xl_refiner_1.0_f16.ckpt"])),
        "upscaler": draw(st.sampled_from(["", "remacri_4x_f16.ckpt"])),
        "loras": tuple(
            LoRAConfig(file=file, weight=draw(st.sampled_from([0.8, 0.0])))
            for file in draw(st.lists(st.sampled_from(loras), max_size=1) if loras else st.just([]))
        ),
        "controls": tuple(
            ControlNetConfig(
                file=file,
                weight=draw(st.sampled_from([1.0, 1.0, 0.0])),
                input_override=draw(st.sampled_from(ControlInputType)),
            )
            for file in draw(st.lists(st.sampled_from(controls), max_size=2) if controls else st.just([]))
        ),
    }
    return ImageGenerationConfig(**fields)


@st.composite
def pictures(draw: st.DrawFn) -> dict[str, Any]:
    given: dict[str, Any] = {"fit": draw(st.sampled_from(["crop", "pad", "stretch"]))}
    if draw(st.booleans()):
        given["canvas"] = draw(st.sampled_from([PICTURE, CUTOUT]))
        given["mask"] = draw(st.sampled_from([None, MASK]))
    given["moodboard"] = [PICTURE] * draw(st.sampled_from([0, 0, 2]))
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=1))
    given["hints"] = dict.fromkeys(kinds, PICTURE)
    return given


def judge(config: ImageGenerationConfig, asked: dict[str, Any], catalog: Catalog | None) -> None:
    """Sends what is not refused to the simulator's judgement, and compares that with what was warned about."""
    try:
        composed = compose_plan("a fox", config, inventory=ServerInventory(catalog), **asked)
    except InvalidInputError:
        return
    journal = Journal()
    plan_run(build_request(composed.requests[0]), INVENTORY, journal)
    for note in journal.degradations:
        if not any(text in note for text in UNTOLD):
            (told,) = (warning for text, warning in TOLD.items() if text in note)
            assert any(told in warning for warning in composed.notes), note


@settings(max_examples=400)
@given(config=configurations(), asked=pictures())
def test_a_composed_request_is_survived_and_answered_as_asked_or_warned_about(
    config: ImageGenerationConfig, asked: dict[str, Any], catalog: Catalog
) -> None:
    judge(config, asked, catalog)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("image", [None, PICTURE, CUTOUT], ids=["nothing", "a picture", "a cutout"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["no mask", "a mask"])
def test_every_model_with_and_without_pictures_is_survived(model: str, image: Any, mask: Any, catalog: Catalog) -> None:
    config = ImageGenerationConfig(model=model, width=128, height=128, steps=4, num_frames=13)
    judge(config, {"canvas": image, "mask": mask}, catalog)
    judge(config, {"canvas": image, "mask": mask, "moodboard": [PICTURE]}, None)
