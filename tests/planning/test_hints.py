"""Ready maps travel in the form that a server reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from drawthings_mcp.catalog import Catalog, ServerInventory
from drawthings_mcp.errors import InvalidImageError, InvalidInputError, UnknownNameError
from drawthings_mcp.generation import ControlInputType, ControlNetConfig, Hint, HintType, ImageGenerationConfig
from drawthings_mcp.planning.compose import compose as compose_plan
from drawthings_mcp.wire.request import build_request

Pixels = NDArray[np.uint8]
SD = "sd_v1.5_f16.ckpt"
CONTROLS = {
    "canny": "controlnet_canny_1.x_v1.1_f16.ckpt",
    "lineart": "controlnet_lineart_1.x_v1.1_f16.ckpt",
    "softedge": "controlnet_softedge_1.x_v1.1_f16.ckpt",
    "seg": "controlnet_seg_1.x_v1.1_f16.ckpt",
    "normalbae": "controlnet_normalbae_1.x_v1.1_f16.ckpt",
    "mlsd": "controlnet_mlsd_1.x_v1.1_f16.ckpt",
    "tile": "controlnet_tile_1.x_v1.1_f16.ckpt",
    "depth": "controlnet_depth_1.x_v1.1_f16.ckpt",
    "pose": "controlnet_openpose_1.x_v1.1_f16.ckpt",
    "scribble": "controlnet_scribble_1.x_v1.1_f16.ckpt",
    "color": "t2iadapter_color_1.x_f16.ckpt",
    "inpaint": "controlnet_inpaint_1.x_v1.1_f16.ckpt",
    "ip2p": "controlnet_ip2p_1.x_v1.1_f16.ckpt",
}
UNION = "controlnet_xinsir_union_promax_sdxl_1.0_f16.ckpt"


def read(
    kind: str, image: Any, controls: Sequence[ControlNetConfig] | None = None, model: str = SD, **given: Any
) -> tuple[list[Hint], tuple[str, ...]]:
    fields = {"width": 128, "height": 128, "model": model, **given.pop("config", {})}
    chosen = [ControlNetConfig(file=CONTROLS[kind])] if controls is None else controls
    config = ImageGenerationConfig(controls=tuple(chosen), **fields)
    composed = compose_plan("a fox", config, hints={kind: image}, **given)
    build_request(composed.requests[0])
    return list(composed.requests[0].hints), composed.notes


def tensor(kind: str, image: Any, **given: Any) -> NDArray[Any]:
    ((hint,), _) = read(kind, image, **given)
    (item,) = hint.tensors
    return item.tensor


@pytest.mark.parametrize("kind", ["canny", "lineart", "softedge", "seg", "normalbae", "mlsd", "tile"])
def test_maps_that_have_no_name_of_their_own_travel_as_custom(kind: str, picture: Callable[..., Pixels]) -> None:
    ((hint,), _) = read(kind, picture())
    assert hint.type is HintType.Custom
    (item,) = hint.tensors
    assert item.tensor.dtype == np.float16
    assert np.allclose(item.tensor, picture() / 127.5 - 1, atol=1e-3)


@pytest.mark.parametrize("kind", [ControlInputType.Blur, ControlInputType.Gray, ControlInputType.Lowquality])
def test_a_union_control_reads_the_kind_that_it_is_given(
    kind: ControlInputType, picture: Callable[..., Pixels]
) -> None:
    union = [ControlNetConfig(file=UNION, input_override=kind)]
    ((hint,), _) = read(kind.name.lower(), picture(), union, model="sd_xl_base_1.0_f16.ckpt")
    assert hint.type is HintType.Custom


def test_a_map_without_a_kind_serves_any_control_that_reads_custom(picture: Callable[..., Pixels]) -> None:
    ((hint,), _) = read("custom", picture(), [ControlNetConfig(file=CONTROLS["tile"])])
    assert hint.type is HintType.Custom


def test_kinds_may_be_given_as_enum_members(picture: Callable[..., Pixels]) -> None:
    config = ImageGenerationConfig(
        model=SD, width=128, height=128, controls=(ControlNetConfig(file=CONTROLS["depth"]),)
    )
    (sent,) = compose_plan("x", config, hints={ControlInputType.Depth: picture()}).requests
    assert sent.hints[0].type is HintType.Depth


def test_depth_is_one_channel_over_the_whole_range_with_near_on_top(half: Callable[..., Pixels]) -> None:
    faint = (half() // 8 + 60).astype(np.uint8)
    depth = tensor("depth", faint)
    assert depth.shape == (128, 128, 1)
    assert np.unique(depth[:, :64]).tolist() == [-1]
    assert np.unique(depth[:, 64:]).tolist() == [1]


def test_a_depth_map_of_one_level_is_refused() -> None:
    with pytest.raises(InvalidImageError, match="one level all over"):
        read("depth", np.full((128, 128), 77, np.uint8))


def test_a_depth_model_reads_depth_without_any_control(half: Callable[..., Pixels]) -> None:
    assert tensor("depth", half(), controls=[], model="flux_1_depth_dev_q8p.ckpt").shape == (128, 128, 1)


def test_a_pose_runs_from_0_to_1(picture: Callable[..., Pixels]) -> None:
    pose = tensor("pose", picture())
    assert (float(pose.min()), float(pose.max())) == (0, 1)


def test_a_pose_for_two_passes_comes_in_both_sizes(picture: Callable[..., Pixels]) -> None:
    config = {"width": 256, "hires_fix": True, "hires_fix_width": 128, "hires_fix_height": 64}
    ((hint,), _) = read("pose", picture(256, 128), config=config)
    assert [item.tensor.shape for item in hint.tensors] == [(64, 128, 3), (128, 256, 3)]


def test_a_pose_comes_once_when_hires_fix_has_no_effect(picture: Callable[..., Pixels]) -> None:
    config = {"hires_fix": True, "hires_fix_width": 64, "hires_fix_height": 64, "strength": 0.5}
    ((hint,), _) = read("pose", picture(), config=config, canvas=picture())
    assert [item.tensor.shape for item in hint.tensors] == [(128, 128, 3)]


def test_a_scribble_is_1_where_its_lines_are(half: Callable[..., Pixels]) -> None:
    scribble = tensor("scribble", half())
    assert scribble.shape == (128, 128, 3)
    assert scribble.dtype == np.float16
    assert np.unique(scribble[:, :64]).tolist() == [0]
    assert np.unique(scribble[:, 64:]).tolist() == [1]


def test_colours_run_from_minus_1_to_1(picture: Callable[..., Pixels]) -> None:
    ((hint,), _) = read("color", picture())
    assert hint.type is HintType.Color
    assert (float(hint.tensors[0].tensor.min()), float(hint.tensors[0].tensor.max())) == (-1, 1)


def test_a_map_is_fitted_like_the_picture_that_it_was_made_of(picture: Callable[..., Pixels]) -> None:
    seen = tensor("tile", picture(256, 128))
    assert np.allclose(seen, picture(256, 128)[:, 64:192] / 127.5 - 1, atol=1e-3)


@pytest.mark.parametrize(("kind", "level"), [("canny", -1), ("lineart", 1), ("pose", 0), ("scribble", 0)])
def test_what_padding_adds_to_a_map_is_background(kind: str, level: float) -> None:
    seen = tensor(kind, np.full((64, 128, 3), 128, np.uint8), fit="pad")
    assert np.unique(seen[:32]).tolist() == [level]


def test_clear_parts_of_a_map_are_background(clear_left: Pixels) -> None:
    assert np.unique(tensor("lineart", clear_left)[:, :64]).tolist() == [1]


@pytest.mark.parametrize(
    ("kind", "level", "text"),
    [("canny", 250, "white on black"), ("scribble", 250, "white on black"), ("lineart", 5, "dark on white")],
)
def test_a_map_of_the_wrong_polarity_is_warned_about(kind: str, level: int, text: str) -> None:
    _, warnings = read(kind, np.full((128, 128), level, np.uint8))
    assert [warning for warning in warnings if text in warning and "Invert it." in warning]
    assert read(kind, np.full((128, 128), 255 - level, np.uint8))[1] == ()


def test_two_maps_that_would_travel_as_one_are_refused(picture: Callable[..., Pixels]) -> None:
    controls = tuple(ControlNetConfig(file=CONTROLS[kind]) for kind in ("canny", "tile"))
    config = ImageGenerationConfig(model=SD, width=128, height=128, controls=controls)
    with pytest.raises(InvalidInputError, match="canny and tile travel as one map"):
        compose_plan("x", config, hints={"canny": picture(), "tile": picture()})


def test_maps_of_different_types_travel_together(picture: Callable[..., Pixels]) -> None:
    controls = tuple(ControlNetConfig(file=CONTROLS[kind]) for kind in ("canny", "depth", "pose"))
    config = ImageGenerationConfig(model=SD, width=128, height=128, controls=controls)
    maps = {"canny": picture(), "depth": picture(), "pose": picture()}
    (sent,) = compose_plan("x", config, hints=maps).requests
    assert [hint.type for hint in sent.hints] == [HintType.Custom, HintType.Depth, HintType.Pose]


def test_several_maps_of_one_kind_are_refused(picture: Callable[..., Pixels]) -> None:
    with pytest.raises(InvalidInputError, match="a server reads one canny map, 2 were given"):
        read("canny", [picture(), picture()])


def test_a_list_of_one_map_is_a_map(picture: Callable[..., Pixels]) -> None:
    assert tensor("canny", [picture()]).shape == (128, 128, 3)


@pytest.mark.parametrize("kind", ["inpaint", "ip2p"])
def test_a_map_for_a_control_that_looks_at_the_picture_is_refused(kind: str, picture: Callable[..., Pixels]) -> None:
    with pytest.raises(InvalidInputError, match=f"a control for {kind} looks at input_image only"):
        read(kind, picture())


def test_maps_without_their_kinds_are_refused_in_a_sentence(picture: Callable[..., Pixels]) -> None:
    maps: Any = [picture()]
    with pytest.raises(InvalidInputError, match=r"hint_images: must name the kind of each map, such as .* got a list"):
        compose_plan("a fox", ImageGenerationConfig(model="m.ckpt", width=128, height=128), hints=maps)


def test_an_unknown_kind_is_refused_with_the_nearest(picture: Callable[..., Pixels]) -> None:
    with pytest.raises(UnknownNameError, match="there is no kind 'dephts'") as refusal:
        read("dephts", picture(), [])
    assert refusal.value.nearest[0] == "depth"
    with pytest.raises(UnknownNameError, match="there is no kind 'unspecified'"):
        read("unspecified", picture(), [])


def test_a_map_without_a_control_is_refused_with_one_that_would_do(
    picture: Callable[..., Pixels], catalog: Catalog
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        read("depth", picture(), [ControlNetConfig(file=CONTROLS["tile"])], inventory=ServerInventory(catalog))
    assert str(refusal.value) == (
        f"hint_images: no control reads depth maps; {CONTROLS['tile']} reads tile. "
        f"Add one to controls: {CONTROLS['depth']}."
    )


def test_a_map_without_a_control_is_refused_with_a_union_that_would_do(
    picture: Callable[..., Pixels], catalog: Catalog
) -> None:
    with pytest.raises(InvalidInputError, match=f"Add {UNION} to controls, with input_override 'pose'"):
        read("pose", picture(), [], model="sd_xl_base_1.0_f16.ckpt", inventory=ServerInventory(catalog))


def test_a_map_without_a_control_is_refused_when_nothing_is_known_to_do(picture: Callable[..., Pixels]) -> None:
    with pytest.raises(InvalidInputError, match="Add one for z_image models to controls, or leave the map out"):
        read("pose", picture(), [], model="z_image_turbo_1.0_q8p.ckpt")


def test_a_control_of_weight_0_does_not_read_a_map(picture: Callable[..., Pixels]) -> None:
    with pytest.raises(InvalidInputError, match="no control reads canny maps"):
        read("canny", picture(), [ControlNetConfig(file=CONTROLS["canny"], weight=0)])


@settings(max_examples=40)
@given(npst.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3, 4]))))
def test_every_map_stays_within_its_range(pixels: Pixels) -> None:
    for kind, low in (("canny", -1), ("pose", 0), ("scribble", 0)):
        seen = tensor(kind, pixels)
        assert seen.shape == (128, 128, 3)
        assert low <= float(seen.min()) <= float(seen.max()) <= 1
