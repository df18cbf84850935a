"""What LoRAs, controls and a moodboard leave in the picture, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.simulator.painting.traces import badge_box, print_box, ribbon_box, ribbon_color, tile_boxes
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.tensor import encode_tensor

if TYPE_CHECKING:
    from tests.simulator.conftest import Pixels, Wire

pytestmark = pytest.mark.anyio

SIZE = (512, 512)
LARGE: dict[str, Any] = {"startWidth": 8, "startHeight": 8}
EDIT = "qwen_image_edit_2511_q6p.ckpt"
SD, FLUX, SDXL = "sd_v1.5_f16.ckpt", "flux_1_dev_q8p.ckpt", "sd_xl_base_1.0_f16.ckpt"
COLORS = [(200, 30, 30), (30, 160, 60), (40, 60, 200), (230, 200, 40), (150, 40, 160)]


def plain(color: tuple[int, int, int], side: int = 64) -> Pixels:
    return np.full((side, side, 3), color, np.uint8)


def middle_of(picture: Pixels, box: tuple[int, int, int, int]) -> Pixels:
    """The middle third of a box."""
    left, top, right, bottom = box
    third = ((right - left) // 3, (bottom - top) // 3)
    return picture[top + third[1] : bottom - third[1], left + third[0] : right - third[0]]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
async def test_references_are_tiles_in_their_order(wire: Wire, simulator: Simulator, count: int) -> None:
    payloads = [encode_image(plain(color)) for color in COLORS[:count]]
    answer = await wire.run(simulator, model=EDIT, hints=[("shuffle", payloads)], **LARGE)
    boxes = tile_boxes(SIZE, count, is_edit=True, has_print=False)
    assert len({box[:2] for box in boxes}) == count
    for box, color in zip(boxes, COLORS, strict=False):
        assert np.abs(middle_of(answer.picture, box).astype(int) - color).max() <= 2


async def test_references_by_hash_keep_their_order_and_may_repeat(wire: Wire, simulator: Simulator) -> None:
    contents = [encode_image(plain(color)) for color in COLORS[:2]]
    wanted = [1, 0, 1]
    hints = [("shuffle", [wire.reference(contents[index]) for index in wanted])]
    answer = await wire.run(simulator, model=EDIT, hints=hints, contents=contents, **LARGE)
    for box, index in zip(tile_boxes(SIZE, 3, is_edit=True, has_print=False), wanted, strict=True):
        assert np.abs(middle_of(answer.picture, box).astype(int) - COLORS[index]).max() <= 2


async def test_a_canvas_stands_above_its_references(wire: Wire, simulator: Simulator) -> None:
    canvas = plain((250, 220, 20), 512)
    payloads = [encode_image(plain(color)) for color in COLORS[:2]]
    answer = await wire.run(simulator, "purple hills", model=EDIT, image=canvas, hints=[("shuffle", payloads)], **LARGE)
    for box, color in zip(tile_boxes(SIZE, 2, is_edit=True, has_print=True), COLORS, strict=False):
        assert np.abs(middle_of(answer.picture, box).astype(int) - color).max() <= 2
    shown = middle_of(answer.picture, print_box(SIZE, SIZE, has_tiles=True)).reshape(-1, 3).mean(axis=0)
    assert np.abs(shown - (250, 220, 20)).max() < 60
    assert shown[0] > 2 * shown[2]


async def test_an_adapter_takes_the_moodboard_as_a_strip(wire: Wire, simulator: Simulator) -> None:
    hints = [("shuffle", [encode_image(plain(COLORS[0])), encode_image(plain(COLORS[1]))], [1.0, 0.5])]
    controls = [fbs.ControlT(file="flux_1_redux_f16.ckpt")]
    answer = await wire.run(simulator, model=FLUX, sampler=10, controls=controls, hints=hints, **LARGE)
    for box, color in zip(tile_boxes(SIZE, 2, is_edit=False, has_print=False), COLORS, strict=False):
        assert np.abs(middle_of(answer.picture, box).astype(int) - color).max() <= 2


async def test_references_of_no_weight_are_left_out(wire: Wire, simulator: Simulator) -> None:
    payloads = [encode_image(plain(color)) for color in COLORS[:2]]
    both = await wire.run(simulator, model=EDIT, hints=[("shuffle", payloads, [0.0, 1.0])], **LARGE)
    one = await wire.run(simulator, model=EDIT, hints=[("shuffle", payloads[1:])], **LARGE)
    assert both.payloads == one.payloads
    assert simulator.degradations == ["references of weight 0 are left out"]


async def test_a_lora_is_a_ribbon_with_its_name_and_weight(wire: Wire, simulator: Simulator) -> None:
    file, other = "papercut_sdxl_lora_f16.ckpt", "pixel_art_xl_v1.1_lora_f16.ckpt"
    bare = (await wire.run(simulator, model=SDXL, **LARGE)).picture
    loras = [fbs.LoRAT(file=file, weight=0.8), fbs.LoRAT(file=other, weight=1.0)]
    both = (await wire.run(simulator, model=SDXL, loras=loras, **LARGE)).picture
    for row, name in enumerate((file, other)):
        left, top, right, bottom = ribbon_box(SIZE, row)
        ribbon = both[top + 2 : bottom - 2, left:right]
        assert (np.abs(ribbon.astype(int) - ribbon_color(name)).max(axis=-1) < 25).mean() > 0.5
        assert (ribbon.min(axis=-1) > 240).any()  # letters
        assert not np.array_equal(ribbon, bare[top + 2 : bottom - 2, left:right])
    heavier = [fbs.LoRAT(file=file, weight=0.9), loras[1]]
    assert not np.array_equal(both, (await wire.run(simulator, model=SDXL, loras=heavier, **LARGE)).picture)


async def test_a_control_shows_its_hint_in_a_badge_and_over_the_picture(wire: Wire, simulator: Simulator) -> None:
    lines = np.zeros((512, 512, 3), np.uint8)
    lines[:256] = 255
    controls = [fbs.ControlT(file="controlnet_canny_1.x_v1.1_f16.ckpt", weight=0.8)]
    hints = [("custom", [encode_image(lines)])]
    bare = (await wire.run(simulator, model=SD, **LARGE)).picture
    guided = (await wire.run(simulator, model=SD, controls=controls, hints=hints, **LARGE)).picture
    left, top, right, bottom = badge_box(SIZE, 0)
    badge = guided[top:bottom, left:right]
    assert badge[: badge.shape[0] // 3].min() > 250
    assert badge[-badge.shape[0] // 3 :].max() < 5
    sky = np.s_[60:200, 20:300]
    assert (guided[sky].astype(int) - bare[sky]).mean() > 10
    foot = np.s_[420:, :300]
    assert np.abs(guided[foot].astype(int) - bare[foot]).mean() < 1


def ramp(*shape: int, dtype: Any = np.float16) -> bytes:
    values = np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    return encode_tensor(values.astype(dtype))


DEPTH = fbs.ControlInputType.Depth
UNION = "controlnet_xinsir_union_promax_sdxl_1.0_f16.ckpt"
IMAGE = encode_image(np.arange(512 * 512 * 3, dtype=np.uint32).reshape(512, 512, 3).astype(np.uint8))


@pytest.mark.parametrize(
    ("model", "control", "fields"),
    [
        (SD, {"file": "controlnet_canny_1.x_v1.1_f16.ckpt"}, {"image": IMAGE}),
        (SD, {"file": "controlnet_depth_1.x_v1.1_f16.ckpt"}, {"hints": [("depth", [ramp(1, 512, 512, 1)])]}),
        (SD, {"file": "controlnet_depth_1.x_v1.1_f16.ckpt"}, {"image": IMAGE}),
        (SD, {"file": "controlnet_openpose_1.x_v1.1_f16.ckpt"}, {"hints": [("pose", [ramp(1, 512, 512, 3)])]}),
        (SD, {"file": "controlnet_scribble_1.x_v1.1_f16.ckpt"}, {"hints": [("scribble", [ramp(1, 256, 256, 3)])]}),
        (SD, {"file": "controlnet_lineart_1.x_v1.1_f16.ckpt"}, {"hints": [("custom", [IMAGE])]}),
        (SD, {"file": "controlnet_tile_1.x_v1.1_f16.ckpt"}, {"image": IMAGE}),
        (SD, {"file": "t2iadapter_color_1.x_f16.ckpt"}, {"hints": [("color", [ramp(1, 8, 8, 3)])]}),
        (SDXL, {"file": UNION, "inputOverride": DEPTH}, {"hints": [("depth", [ramp(1, 512, 512, 1)])]}),
        (SDXL, {"file": UNION}, {"hints": [("custom", [IMAGE])]}),
    ],
)  # fmt: skip
async def test_each_control_reads_its_own_sources(
    wire: Wire, simulator: Simulator, model: str, control: dict[str, Any], fields: dict[str, Any]
) -> None:
    bare = await wire.run(simulator, model=model, **LARGE)
    guided = await wire.run(simulator, model=model, controls=[fbs.ControlT(**control)], **fields, **LARGE)
    assert not any("has no input" in noted for noted in simulator.degradations)
    assert not np.array_equal(guided.picture, bare.picture)
    assert "imageEncoded" in guided.totals


@pytest.mark.parametrize(
    ("control", "fields", "wanted"),
    [
        ("controlnet_openpose_1.x_v1.1_f16.ckpt", {"image": IMAGE}, "pose or custom"),
        ("controlnet_lineart_1.x_v1.1_f16.ckpt", {"image": IMAGE}, "custom"),
        ("controlnet_inpaint_1.x_v1.1_f16.ckpt", {"hints": [("custom", [IMAGE])]}, "image"),
        ("controlnet_canny_1.x_v1.1_f16.ckpt", {"hints": [("canny", [IMAGE])]}, "image or custom"),
    ],
)
async def test_a_control_without_its_source_is_skipped(
    wire: Wire, simulator: Simulator, control: str, fields: dict[str, Any], wanted: str
) -> None:
    bare = await wire.run(simulator, model=SD, **LARGE)
    guided = await wire.run(simulator, model=SD, controls=[fbs.ControlT(file=control)], **fields, **LARGE)
    assert any(f"has no input, it wants {wanted}: skipped" in noted for noted in simulator.degradations)
    assert np.array_equal(guided.picture, bare.picture)


async def test_a_depth_model_reads_depth_without_a_control(wire: Wire, simulator: Simulator) -> None:
    model = "flux_1_depth_dev_q8p.ckpt"
    hints = [("depth", [ramp(1, 512, 512, 1)])]
    bare = await wire.run(simulator, model=model, sampler=10, **LARGE)
    assert "the model wants a depth map or an image, there is neither" in simulator.degradations
    guided = await wire.run(simulator, model=model, sampler=10, hints=hints, **LARGE)
    assert not np.array_equal(guided.picture, bare.picture)


async def test_a_modifier_of_a_lora_counts_when_the_model_has_none(wire: Wire, simulator: Simulator) -> None:
    loras = [fbs.LoRAT(file="flux_1_canny_dev_lora_f16.ckpt", weight=1.0)]
    await wire.run(simulator, model=FLUX, sampler=10, loras=loras, **LARGE)
    assert simulator.degradations == ["the model wants a canny map or an image, there is neither"]
