"""What the classes of a mask do to a canvas (protocol §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawthings_mcp.simulator import Simulator

if TYPE_CHECKING:
    from tests.simulator.conftest import Pixels, Wire

pytestmark = pytest.mark.anyio

KEPT, REPAINTED, NOISE = "kept", "repainted", "noise"
STRENGTH = 0.25

TABLE: list[tuple[tuple[int, ...], dict[int, str]]] = [
    ((0, 1), {0: REPAINTED, 1: NOISE}),
    ((0, 2), {0: KEPT, 2: REPAINTED}),
    ((0, 3), {0: REPAINTED, 3: KEPT}),
    ((0, 1, 2), {0: KEPT, 1: NOISE, 2: REPAINTED}),
    ((0, 1, 3), {0: REPAINTED, 1: NOISE, 3: KEPT}),
    ((0, 2, 3), {0: KEPT, 2: REPAINTED, 3: KEPT}),
    ((0, 1, 2, 3), {0: REPAINTED, 1: NOISE, 2: REPAINTED, 3: KEPT}),
    ((2, 3), {2: REPAINTED, 3: KEPT}),
    ((1, 3), {1: NOISE, 3: KEPT}),
    ((0, 4), {0: KEPT, 4: REPAINTED}),
    ((3, 4, 7), {3: KEPT, 4: REPAINTED, 7: KEPT}),
    ((2, 5, 6), {2: REPAINTED, 5: KEPT, 6: KEPT}),
]


def stripes(classes: tuple[int, ...], size: int = 256) -> Pixels:
    """One horizontal stripe per class."""
    edges = np.linspace(0, size, len(classes) + 1).astype(int)
    mask = np.zeros((size, size), np.uint8)
    for top, bottom, value in zip(edges, edges[1:], classes, strict=False):
        mask[top:bottom] = value
    return mask


def rows_of(mask: Pixels, value: int) -> slice:
    rows = np.nonzero(mask[:, 0] == value)[0]
    return slice(int(rows[0]) + 2, int(rows[-1]) - 1)


async def paint(wire: Wire, simulator: Simulator, canvas: Pixels, mask: Pixels, **fields: Any) -> Pixels:
    size = {"startWidth": canvas.shape[1] // 64, "startHeight": canvas.shape[0] // 64}
    chosen = {"strength": STRENGTH, "maskBlur": 0.0, **size, **fields}
    return (await wire.run(simulator, "an orange cat", image=canvas, mask=mask, **chosen)).picture


@pytest.fixture
def grey() -> Pixels:
    return np.full((256, 256, 3), (70, 75, 80), np.uint8)


@pytest.mark.parametrize(("classes", "meanings"), TABLE, ids=[str(classes) for classes, _ in TABLE])
async def test_classes_mean_what_the_table_says(
    wire: Wire, simulator: Simulator, grey: Pixels, classes: tuple[int, ...], meanings: dict[int, str]
) -> None:
    mask = stripes(classes)
    picture = await paint(wire, simulator, grey, mask)
    change = np.abs(picture.astype(int) - grey).mean(axis=(1, 2))
    repainted = [change[rows_of(mask, value)].mean() for value, meaning in meanings.items() if meaning == REPAINTED]
    for value, meaning in meanings.items():
        rows = rows_of(mask, value)
        if meaning == KEPT:
            assert np.array_equal(picture[mask == value], grey[mask == value])
        else:
            assert change[rows].mean() > 4
        if meaning == NOISE and repainted:
            # Noise takes nothing from the canvas, so it is much farther from it than at a quarter of the strength.
            assert change[rows].mean() > 1.8 * max(repainted)


async def test_only_class_one_makes_the_whole_image_from_text(wire: Wire, simulator: Simulator, grey: Pixels) -> None:
    picture = await paint(wire, simulator, grey, stripes((1,)))
    free = await wire.run(simulator, "an orange cat", startWidth=4, startHeight=4, strength=STRENGTH)
    assert np.array_equal(picture, free.picture)


@pytest.mark.parametrize("classes", [(0,), (3,), (7,), (0, 7)])
async def test_a_mask_that_marks_nothing_is_ignored(
    wire: Wire, simulator: Simulator, grey: Pixels, classes: tuple[int, ...]
) -> None:
    picture = await paint(wire, simulator, grey, stripes(classes))
    plain = await wire.run(
        simulator, "an orange cat", image=grey, startWidth=4, startHeight=4, strength=STRENGTH, maskBlur=0.0
    )
    assert np.array_equal(picture, plain.picture)


@pytest.mark.parametrize("blur", [0.0, 1.5, 12.0])
@pytest.mark.parametrize("strength", [0.4, 1.0])
async def test_what_is_kept_is_kept_bit_by_bit_whatever_the_blur(
    wire: Wire, simulator: Simulator, canvas: Pixels, blur: float, strength: float
) -> None:
    mask = np.zeros(canvas.shape[:2], np.uint8)
    mask[30:100, 20:90] = 2
    picture = await paint(wire, simulator, canvas, mask, strength=strength, maskBlur=blur)
    assert np.array_equal(picture[mask == 0], canvas[mask == 0])
    assert (picture[mask == 2] != canvas[mask == 2]).any(axis=-1).mean() > 0.8


async def test_the_blur_lets_the_canvas_shine_into_the_repainted_side(
    wire: Wire, simulator: Simulator, grey: Pixels
) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[64:192, 64:192] = 2
    sharp = await paint(wire, simulator, grey, mask, strength=1.0)
    soft = await paint(wire, simulator, grey, mask, strength=1.0, maskBlur=8.0)
    edge, middle = np.s_[100:150, 64:67], np.s_[120:136, 120:136]
    assert np.abs(soft[edge].astype(int) - grey[edge]).mean() < np.abs(sharp[edge].astype(int) - grey[edge]).mean() / 2
    assert np.array_equal(soft[middle], sharp[middle])


async def test_strength_zero_with_a_mask_returns_the_canvas(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    mask = np.full((128, 128), 2, np.uint8)
    assert np.array_equal(await paint(wire, simulator, canvas, mask, strength=0.0), canvas)


async def test_without_preserving_whole_latent_cells_are_repainted(
    wire: Wire, simulator: Simulator, grey: Pixels
) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[67, 133] = 2
    mask[128:, 128:] = 2
    picture = await paint(wire, simulator, grey, mask, strength=1.0, preserveOriginalAfterInpaint=False)
    changed = (picture != grey).any(axis=-1)
    assert changed[64:72, 128:136].mean() > 0.9
    assert not changed[64:72, :128].any()
    assert not changed[72:128, :128].any()


@pytest.mark.parametrize(("outset", "changed_at", "kept_at"), [(10, 120, 110), (-10, 140, 130), (0, 130, 126)])
async def test_an_outset_moves_the_edge_of_what_is_kept(
    wire: Wire, simulator: Simulator, grey: Pixels, outset: int, changed_at: int, kept_at: int
) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[:, 128:] = 2
    picture = await paint(wire, simulator, grey, mask, strength=1.0, maskBlur=0.6, maskBlurOutset=outset)
    changed = (picture != grey).any(axis=(0, 2))
    assert changed[changed_at]
    assert not changed[kept_at]


async def test_alpha_lets_the_original_through_noise(wire: Wire, simulator: Simulator, grey: Pixels) -> None:
    mask = stripes((3, 1))
    clear = await paint(wire, simulator, grey, mask)
    veiled = await paint(wire, simulator, grey, np.where(mask == 1, np.uint8(1 | 0xF8), mask))
    rows = rows_of(mask, 1)
    near, far = (np.abs(p[rows].astype(int) - grey[rows]).mean() for p in (veiled, clear))
    assert near < far / 4


async def test_the_word_simulated_stands_inside_the_hole(wire: Wire, simulator: Simulator) -> None:
    black = np.zeros((512, 512, 3), np.uint8)
    mask = np.zeros((512, 512), np.uint8)
    mask[200:400, 100:360] = 2
    picture = await paint(wire, simulator, black, mask, strength=1.0)
    assert np.array_equal(picture[mask == 0], black[mask == 0])
    hole = picture[200:400, 100:360]
    assert (hole[:60, 130:].max(axis=-1) < 120).mean() > 0.08  # the plate at its upper right
