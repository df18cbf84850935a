"""Passes, references and overrides of composed requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drawthings_mcp.catalog import Catalog, ServerInventory
from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.generation import (
    ControlNetConfig,
    Hint,
    HintType,
    ImageGenerationConfig,
    LoRAConfig,
    SamplerType,
    list_batch_seeds,
)
from drawthings_mcp.limits import MAX_SEED
from drawthings_mcp.planning.compose import compose as compose_plan
from drawthings_mcp.planning.compose import list_passes
from drawthings_mcp.planning.guard import list_files
from drawthings_mcp.planning.known import build_override
from drawthings_mcp.tensors.layout import pixels_to_tensor

Pixels = NDArray[np.uint8]
KLEIN = "flux_2_klein_9b_q8p.ckpt"


def config(model: str = KLEIN, **fields: Any) -> ImageGenerationConfig:
    small: dict[str, Any] = {"model": model, "width": 128, "height": 128}
    return ImageGenerationConfig(**{**small, **fields})


def references(*moodboard: Pixels, width: int = 128, height: int = 128) -> list[NDArray[np.floating]]:
    (sent,) = compose_plan("a fox", config(width=width, height=height), moodboard=moodboard).requests
    (hint,) = sent.hints
    assert hint.type is HintType.Shuffle
    return [item.tensor for item in hint.tensors]


def test_each_pass_begins_with_the_seed_after_the_last_image_of_the_one_before() -> None:
    sent = compose_plan("a fox", config(seed=7, batch_count=3, batch_size=2), negative_prompt="fog").requests
    seeds = list_batch_seeds(7, 6)
    assert [one.configuration.seed for one in sent] == [seeds[0], seeds[2], seeds[4]]
    assert {(one.configuration.batch_count, one.prompt, one.negative_prompt) for one in sent} == {(1, "a fox", "fog")}


def test_a_seed_of_minus_one_is_drawn_again_each_time() -> None:
    drawn = {list_passes(config(seed=-1))[0].seed for _ in range(5)}
    assert len(drawn) == 5
    assert all(0 <= seed <= MAX_SEED for seed in drawn)


def test_all_passes_share_their_pictures(picture: Callable[..., Pixels]) -> None:
    sent = compose_plan("x", config(batch_count=2), canvas=picture(), moodboard=[picture()]).requests
    assert sent[0].canvas is sent[1].canvas
    assert sent[0].hints is sent[1].hints


def test_moodboard_pictures_keep_their_order_and_their_size(picture: Callable[..., Pixels]) -> None:
    given = [picture(64, 32), picture(30, 100), picture(100, 30)]
    tensors = references(*given)
    assert len(tensors) == 3
    for tensor, pixels in zip(tensors, given, strict=True):
        assert np.array_equal(tensor, pixels_to_tensor(pixels))


def test_a_moodboard_picture_with_more_pixels_than_the_canvas_is_scaled_down(picture: Callable[..., Pixels]) -> None:
    (tensor,) = references(picture(800, 200))
    height, width = tensor.shape[:2]
    assert width * height <= 128 * 128 < (width + 4) * (height + 1)
    assert width / height == pytest.approx(4, rel=0.02)


def test_clear_parts_of_a_moodboard_picture_become_grey(clear_left: Pixels) -> None:
    (tensor,) = references(clear_left)
    assert tensor.shape == (128, 128, 3)
    assert np.abs(tensor[:, :64]).max() < 0.01


def test_pictures_given_as_shuffle_follow_the_moodboard(picture: Callable[..., Pixels]) -> None:
    (sent,) = compose_plan(
        "x", config(), moodboard=[picture(64, 64)], hints={"shuffle": [picture(32, 32), picture(16, 16)]}
    ).requests
    (hint,) = sent.hints
    assert [item.tensor.shape[0] for item in hint.tensors] == [64, 32, 16]


CANVAS = np.full((64, 64, 3), 90, np.uint8)


def test_a_broken_moodboard_picture_is_refused() -> None:
    with pytest.raises(InvalidImageError, match=r"^moodboard: .*not a picture"):
        compose_plan("x", config(), moodboard=[b"no picture"])
    with pytest.raises(InvalidImageError, match=r"^moodboard: picture 2 of 3: .*not a picture"):
        compose_plan("x", config(), moodboard=[CANVAS, b"no picture", CANVAS])


def test_one_step_is_valid_where_the_spacing_leads() -> None:
    for sampler in (SamplerType.DDIM, SamplerType.PLMS):
        (sent,) = compose_plan("x", config(model="sd_v1.5_f16.ckpt", steps=1, sampler=sampler)).requests
        assert sent.configuration.steps == 1


def test_without_pictures_nothing_but_text_is_sent() -> None:
    (sent,) = compose_plan("x", config()).requests
    assert (sent.canvas, sent.mask, sent.hints) == (None, None, ())


@settings(max_examples=50)
@given(width=st.integers(1, 2000), height=st.integers(1, 2000))
def test_no_moodboard_picture_is_larger_than_the_canvas(width: int, height: int) -> None:
    (tensor,) = references(np.zeros((height, width, 3), np.uint8))
    assert tensor.shape[0] * tensor.shape[1] <= max(128 * 128, width, height)


REDUX = ControlNetConfig(file="flux_1_redux_f16.ckpt")
MOXIN = LoRAConfig(file="moxin_v1.0_lora_f16.ckpt")


def test_what_a_server_may_not_know_is_sent_along_when_it_lists_nothing() -> None:
    override = build_override(config("flux_1_dev_q8p.ckpt", controls=(REDUX,), loras=(MOXIN,)), ServerInventory())
    assert {kind: [entry["file"] for entry in entries] for kind, entries in override.items()} == {
        "models": ["flux_1_dev_q8p.ckpt"],
        "loras": ["moxin_v1.0_lora_f16.ckpt"],
        "controlNets": ["flux_1_redux_f16.ckpt"],
    }


def test_nothing_is_sent_along_for_what_the_server_lists(catalog: Catalog) -> None:
    assert (
        build_override(config("flux_1_dev_q8p.ckpt", controls=(REDUX,), loras=(MOXIN,)), ServerInventory(catalog)) == {}
    )


def test_nothing_is_made_up_for_what_is_not_known_in_full() -> None:
    built_in = config("z_image_turbo_1.0_q6p.ckpt", refiner_model="sd_xl_refiner_1.0_f16.ckpt", upscaler="new.ckpt")
    assert build_override(built_in, ServerInventory()) == {}
    assert build_override(config("home_made.ckpt"), ServerInventory()) == {}


def test_a_file_that_is_named_twice_is_described_once() -> None:
    override = build_override(config(refiner_model=KLEIN, loras=(MOXIN, MOXIN)), ServerInventory())
    assert [len(entries) for entries in override.values()] == [1, 1]


def test_the_override_cannot_spoil_what_is_known() -> None:
    first = build_override(config(), ServerInventory())
    first["models"][0]["objective"]["u"] = {}
    again = build_override(config(), ServerInventory())
    assert again["models"][0]["objective"] == {"u": {"condition_scale": 1000}}


def test_the_override_goes_with_every_composed_request() -> None:
    sent = compose_plan("x", config(batch_count=2)).requests
    assert [one.override["models"][0]["file"] for one in sent] == [KLEIN, KLEIN]


def test_the_files_to_ask_for_are_all_that_a_configuration_names() -> None:
    asked = config(upscaler="u.ckpt", loras=(MOXIN,), face_restoration="f.ckpt", refiner_model="r.ckpt")
    assert list_files(asked) == (KLEIN, "r.ckpt", "u.ckpt", "f.ckpt", MOXIN.file)
    assert list_files(config(controls=(REDUX, REDUX)))[1:] == (
        REDUX.file,
        "depth_anything_v2.0_f16.ckpt",
        "hed_f16.ckpt",
    )


def test_a_composed_hint_is_frozen(picture: Callable[..., Pixels]) -> None:
    (sent,) = compose_plan("x", config(), moodboard=[picture()]).requests
    (same,) = compose_plan("x", config(), moodboard=picture()).requests
    assert len(same.hints[0].tensors) == len(sent.hints[0].tensors) == 1
    assert isinstance(sent.hints, tuple)
    assert all(isinstance(hint, Hint) for hint in sent.hints)
