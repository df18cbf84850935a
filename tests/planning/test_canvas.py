"""The input image and its mask become canvas and classes of the size of the configuration."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig, LoRAConfig
from drawthings_mcp.limits import Fit
from drawthings_mcp.planning.compose import Plan
from drawthings_mcp.planning.compose import compose as compose_plan
from drawthings_mcp.tensors.fitting import fit_pixels
from drawthings_mcp.wire.request import build_request

Pixels = NDArray[np.uint8]
GENERATE, REPAINT, KEEP, KEEP_UNLESS_MARKED = 1, 2, 3, 0
SD = "sd_v1.5_f16.ckpt"


def compose(width: int = 128, height: int = 128, **given: Any) -> Plan:
    config = {"model": SD, "strength": 0.6, **given.pop("config", {})}
    return compose_plan("a fox", ImageGenerationConfig(width=width, height=height, **config), **given)


def request(*args: Any, **given: Any) -> GenerationRequest:
    (composed,) = compose(*args, **given).requests
    return composed


def canvas(*args: Any, **given: Any) -> Pixels:
    found = request(*args, **given).canvas
    assert found is not None
    return found


def mask(*args: Any, **given: Any) -> Pixels:
    found = request(*args, **given).mask
    assert found is not None
    return found


def test_a_picture_of_the_right_size_travels_as_it_is(picture: Callable[..., Pixels]) -> None:
    assert np.array_equal(canvas(canvas=picture()), picture())


def test_a_picture_may_be_a_path_or_bytes_or_a_pillow_image(picture: Callable[..., Pixels], tmp_path: Path) -> None:
    drawn = Image.fromarray(picture())
    data = io.BytesIO()
    drawn.save(data, "PNG")
    path = tmp_path / "picture.png"
    path.write_bytes(data.getvalue())
    for form in (path, str(path), data.getvalue(), drawn):
        assert np.array_equal(canvas(canvas=form), picture())


def test_a_picture_is_turned_upright_before_it_is_fitted(sideways: bytes) -> None:
    upright = canvas(128, 192, canvas=sideways)
    # Red grew rightwards as it was stored.
    assert upright[5, 64, 0] < 20 < 230 < upright[-5, 64, 0]


def test_a_wide_picture_is_cropped_around_its_middle_by_default(picture: Callable[..., Pixels]) -> None:
    cropped = canvas(canvas=picture(256, 128))
    assert np.array_equal(cropped, picture(256, 128)[:, 64:192])


def test_a_wide_picture_can_be_padded(picture: Callable[..., Pixels]) -> None:
    padded = canvas(canvas=picture(256, 128), fit="pad")
    assert np.unique(padded[:32]).tolist() == [128]
    assert padded[32:96, 0, 0].max() < 10


def test_a_wide_picture_can_be_stretched(picture: Callable[..., Pixels]) -> None:
    stretched = canvas(canvas=picture(256, 128), fit="stretch")
    assert stretched[64, 0, 0] < 3 < 252 < stretched[64, -1, 0]


def test_padding_an_opaque_picture_makes_no_mask(picture: Callable[..., Pixels]) -> None:
    assert request(canvas=picture(256, 128), fit="pad").mask is None


def test_white_is_repainted_and_black_is_kept(picture: Callable[..., Pixels], half: Callable[..., Pixels]) -> None:
    classes = mask(canvas=picture(), mask=half())
    assert np.unique(classes[:, :64]).tolist() == [KEEP_UNLESS_MARKED]
    assert np.unique(classes[:, 64:]).tolist() == [REPAINT]


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_a_mask_of_the_pictures_size_stays_in_place(
    fit: Fit, picture: Callable[..., Pixels], half: Callable[..., Pixels]
) -> None:
    size = (320, 192)
    classes = mask(256, 128, canvas=picture(*size), mask=half(*size), fit=fit)
    # Where the picture's own right half lies: red is beyond its middle there.
    fitted = fit_pixels(np.dstack([picture(*size), np.full(size[::-1], 255, np.uint8)]), (256, 128), fit)
    is_right = (fitted[..., 0] >= 128) & (fitted[..., 3] == 255)
    assert np.mean((classes == REPAINT) == is_right) > 0.99


def test_a_mask_of_the_canvas_size_is_not_fitted(picture: Callable[..., Pixels], half: Callable[..., Pixels]) -> None:
    classes = mask(canvas=picture(512, 128), mask=half(128, 128))
    assert np.array_equal(classes == REPAINT, half(128, 128)[..., 0] == 255)


def test_a_mask_of_any_other_size_is_refused(picture: Callable[..., Pixels], half: Callable[..., Pixels]) -> None:
    with pytest.raises(InvalidImageError, match="is 64x64; it must have the size of input_image, 256x128, or the size"):
        compose(canvas=picture(256, 128), mask=half(64, 64))


def test_a_picture_in_colours_as_a_mask_is_noted(picture: Callable[..., Pixels], half: Callable[..., Pixels]) -> None:
    (note,) = compose(canvas=picture(), mask=picture()).notes
    assert note == "mask_image is a picture in colours, of which what is light was repainted; a mask is white and black"
    assert compose(canvas=picture(), mask=half()).notes == ()
    with pytest.raises(InvalidImageError, match=r"the size of input_image, 128x128\. Make"):
        compose(canvas=picture(), mask=half(64, 64))


def test_a_mask_without_white_is_refused(picture: Callable[..., Pixels]) -> None:
    with pytest.raises(InvalidImageError, match="black all over"):
        compose(canvas=picture(), mask=np.zeros((128, 128), np.uint8))


def test_a_mask_whose_white_is_cropped_away_is_refused(picture: Callable[..., Pixels]) -> None:
    levels = np.zeros((128, 512), np.uint8)
    levels[:, :32] = 255
    with pytest.raises(InvalidImageError, match="nothing white is left of it once the picture is fitted by 'crop'"):
        compose(canvas=picture(512, 128), mask=levels)
    assert (mask(canvas=picture(512, 128), mask=levels, fit="pad") == REPAINT).any()


def test_a_mask_without_a_picture_is_refused(half: Callable[..., Pixels]) -> None:
    with pytest.raises(InvalidImageError, match="masks a canvas, of which there is none"):
        compose(mask=half())


def test_clear_parts_are_painted_and_that_is_said(clear_left: Pixels) -> None:
    composed = compose(canvas=clear_left)
    (sent,) = composed.requests
    assert sent.mask is not None
    assert sent.canvas is not None
    assert np.unique(sent.mask[:, :64]).tolist() == [GENERATE]
    assert np.unique(sent.mask[:, 64:]).tolist() == [KEEP]
    assert np.unique(sent.canvas[:, :64]).tolist() == [128]
    assert "Parts of input_image are clear: they are painted, all else is kept" in composed.notes[0]


def test_what_padding_adds_to_a_picture_with_clear_parts_is_painted(clear_left: Pixels) -> None:
    assert np.unique(mask(256, 128, canvas=clear_left, fit="pad")[:, :64]).tolist() == [GENERATE]


def test_a_mask_and_clear_parts_both_count(clear_left: Pixels) -> None:
    levels = np.zeros((128, 128), np.uint8)
    levels[:64] = 255
    classes = mask(canvas=clear_left, mask=levels)
    assert np.unique(classes[:, :64]).tolist() == [GENERATE]
    assert np.unique(classes[:64, 64:]).tolist() == [REPAINT]
    # Class 0 would be repainted where only class 1 occurs as well, so what is kept says so.
    assert np.unique(classes[64:, 64:]).tolist() == [KEEP]


def test_a_picture_that_is_clear_all_over_is_refused() -> None:
    with pytest.raises(InvalidImageError, match="input_image: is clear all over"):
        compose(canvas=np.zeros((128, 128, 4), np.uint8))


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"model": "svd_i2v_xt_1.1_q6p_q8p.ckpt", "strength": 1}, id="a video"),
        pytest.param(
            {"model": "flux_1_dev_q8p.ckpt", "loras": (LoRAConfig(file="layer_flux_1_transparent_lora_f16.ckpt"),)},
            id="a transparent decoder",
        ),
    ],
)
def test_clear_parts_become_grey_where_masks_do_nothing_for_them(config: dict[str, Any], clear_left: Pixels) -> None:
    composed = compose(canvas=clear_left, config=config)
    assert composed.requests[0].mask is None
    assert "clear; they become grey" in composed.notes[0]


@settings(max_examples=60)
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    columns=st.integers(2, 5),
    rows=st.integers(2, 5),
    fit=st.sampled_from(["crop", "pad", "stretch"]),
    channels=st.sampled_from([1, 3, 4]),
    is_masked=st.booleans(),
)
def test_any_picture_becomes_a_request_that_can_be_built(
    width: int, height: int, columns: int, rows: int, fit: Fit, channels: int, is_masked: bool
) -> None:
    pixels = np.full((height, width, channels), 200, np.uint8)
    given: dict[str, Any] = {"mask": np.full((height, width), 255, np.uint8)} if is_masked else {}
    sent = request(columns * 64, rows * 64, canvas=pixels, fit=fit, **given)
    assert sent.canvas is not None
    assert sent.canvas.shape == (rows * 64, columns * 64, 3)
    assert (sent.mask is not None) >= is_masked
    assert sent.mask is None or sent.mask.shape == (rows * 64, columns * 64)
    build_request(sent)


@settings(max_examples=40)
@given(alpha=st.integers(0, 255), level=st.integers(0, 255))
def test_nothing_that_is_opaque_and_unmarked_is_ever_repainted(alpha: int, level: int) -> None:
    pixels = np.full((128, 128, 4), (10, 20, 30, 255), np.uint8)
    pixels[:, :64, 3] = alpha
    levels = np.zeros((128, 128), np.uint8)
    levels[:32] = level
    levels[0, 0] = 255
    classes = mask(canvas=pixels, mask=levels)
    kept = classes[32:, 64:] & 7
    present = {int(value) for value in np.unique(classes & 7)}
    # Class 0 is kept next to class 2 unless 1 and 3 occur as well (protocol §4.2).
    assert (kept == KEEP).all() or ((kept == KEEP_UNLESS_MARKED).all() and present == {0, 2})
