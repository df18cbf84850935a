"""What the painter makes of prompts, seeds, sizes and a canvas."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from drawthings_mcp.simulator import Simulator
from drawthings_mcp.simulator.painting.lettering import stamp
from drawthings_mcp.tensors import encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.tensor import decode_tensor, encode_tensor

if TYPE_CHECKING:
    from tests.simulator.conftest import Pixels, Wire

pytestmark = pytest.mark.anyio

LARGE: dict[str, Any] = {"startWidth": 8, "startHeight": 8}
EDIT = "qwen_image_edit_2511_q6p.ckpt"


async def test_the_same_request_gives_the_same_bytes(wire: Wire, simulator: Simulator) -> None:
    async with Simulator() as other:
        answers = [await wire.run(server, "a fox", negativePrompt="text") for server in (simulator, simulator, other)]
    assert answers[0].messages == answers[1].messages == answers[2].messages


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 43},
        {"prompt": "a cat"},
        {"startWidth": 4, "startHeight": 4},
        {"steps": 12},
        {"guidanceScale": 7.0},
        {"negativePrompt": "fox"},
        {"model": "flux_2_klein_4b_q6p.ckpt"},
        {"sampler": 10},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_every_setting_leaves_a_trace(wire: Wire, simulator: Simulator, change: dict[str, Any]) -> None:
    base: dict[str, Any] = {"prompt": "a red fox", "startWidth": 6, "startHeight": 6}
    first, second = [await wire.run(simulator, **fields) for fields in (base, {**base, **change})]
    assert not np.array_equal(first.picture, second.picture)


@pytest.mark.parametrize("size", [(2, 2), (1, 1), (1, 16), (16, 1), (12, 8), (7, 13)])
async def test_any_size_is_painted(wire: Wire, simulator: Simulator, size: tuple[int, int]) -> None:
    answer = await wire.run(simulator, "a red fox and a boat at sea, rain", startWidth=size[0], startHeight=size[1])
    assert answer.picture.shape == (size[1] * 64, size[0] * 64, 3)
    assert answer.picture.std() > 10


@pytest.mark.parametrize(
    ("word", "hue"),
    [
        ("red", 0.0), ("orange", 0.08), ("yellow", 0.14), ("green", 0.36),
        ("teal", 0.5), ("blue", 0.61), ("purple", 0.77), ("magenta", 0.9),
    ],
)  # fmt: skip
async def test_a_colour_word_rules_the_picture(wire: Wire, simulator: Simulator, word: str, hue: float) -> None:
    answer = await wire.run(simulator, f"{word} hills", **LARGE)
    hues, saturations = measure_hues(answer.picture)
    distance = np.abs((hues - hue + 0.5) % 1 - 0.5)
    assert (distance[saturations > 0.15] < 0.11).mean() > 0.75
    assert (saturations > 0.15).mean() > 0.5


async def test_white_is_bright_black_is_dark_and_neither_has_a_hue(wire: Wire, simulator: Simulator) -> None:
    white = (await wire.run(simulator, "white", **LARGE)).picture
    black = (await wire.run(simulator, "black", **LARGE)).picture
    assert white.mean() > 185
    assert black.mean() < 75
    for picture in (white, black):
        assert np.ptp(picture.astype(int), axis=-1).mean() < 12


async def test_a_colour_before_a_subject_is_the_subjects(wire: Wire, simulator: Simulator) -> None:
    fox = (await wire.run(simulator, "a red fox in a green forest", **LARGE)).picture
    forest = (await wire.run(simulator, "a green forest", **LARGE)).picture
    assert share_of(fox, lambda r, g, b: (r > 150) & (g < 90) & (b < 90)) > 0.03
    assert share_of(forest, lambda r, g, b: (r > 150) & (g < 90) & (b < 90)) == 0
    assert share_of(fox, lambda r, g, b: (g > r) & (g > b)) > 0.6


async def test_a_number_before_a_subject_is_how_often_it_is_drawn(wire: Wire, simulator: Simulator) -> None:
    red = lambda r, g, b: (r > 150) & (g < 90) & (b < 90)  # noqa: E731
    one, three = [
        (await wire.run(simulator, f"{words} in a green forest", **LARGE)).picture
        for words in ("a red fox", "three red foxes")
    ]
    thirds = [three[:, left : left + 170] for left in (0, 171, 342)]
    assert all(share_of(third, red) > 0.01 for third in thirds)
    assert share_of(one[:, :100], red) == share_of(one[:, -100:], red) == 0


async def test_a_colour_that_is_not_wanted_is_left_out(wire: Wire, simulator: Simulator) -> None:
    answer = await wire.run(simulator, "red and blue", negativePrompt="red", **LARGE)
    hues, saturations = measure_hues(answer.picture)
    assert (np.abs(hues[saturations > 0.2] - 0.61) < 0.12).mean() > 0.9


async def test_prompts_of_any_kind_are_painted(wire: Wire, simulator: Simulator) -> None:
    for prompt in ("", " ", "一只红色的狐狸", "a" * 10_000, "word " * 2000, "\0\n\t(fox:1.2), <lora:x:1>", "🦊"):
        assert (await wire.run(simulator, prompt, **LARGE)).picture.shape == (512, 512, 3)


async def test_each_image_of_a_batch_can_be_had_alone_by_its_own_seed(wire: Wire, simulator: Simulator) -> None:
    batch = (await wire.run(simulator, seed=42, batchSize=4)).payloads
    # xorshift32 from 42, as the protocol has it.
    seeds = [42, 11355432, 2836018348, 476557059]
    alone = [(await wire.run(simulator, seed=seed)).payloads[0] for seed in seeds]
    assert batch == alone
    assert len(set(batch)) == 4


async def test_a_batch_of_seed_zero_goes_on_from_the_substitute(wire: Wire, simulator: Simulator) -> None:
    batch = (await wire.run(simulator, seed=0, batchSize=2)).payloads
    assert batch[0] == (await wire.run(simulator, seed=0)).payloads[0]
    assert batch[1] == (await wire.run(simulator, seed=xorshift(0x0BAD5EED))).payloads[0]


async def test_other_seed_modes_give_only_the_first_image_alone(wire: Wire, simulator: Simulator) -> None:
    batch = (await wire.run(simulator, batchSize=2, seedMode=0)).payloads
    assert batch[0] == (await wire.run(simulator, seedMode=0)).payloads[0]
    assert batch[1] != (await wire.run(simulator, seed=xorshift(42), seedMode=0)).payloads[0]


async def test_strength_zero_returns_the_canvas_bit_by_bit(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    answer = await wire.run(simulator, image=canvas, strength=0.0)
    assert np.array_equal(answer.picture, canvas)


async def test_the_canvas_survives_in_proportion_to_strength(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    painting = (await wire.run(simulator)).picture.astype(float)
    for strength in (0.2, 0.5, 0.8):
        mixed = (await wire.run(simulator, image=canvas, strength=strength)).picture
        wanted = canvas + (painting - canvas) * strength
        off = np.abs(mixed - wanted).max(axis=-1)
        assert (off <= 1).mean() > 0.85  # all but the plate with the word, which is not blended
        assert off[40:].max() <= 1


async def test_at_full_strength_nothing_of_the_canvas_is_left(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    assert np.array_equal((await wire.run(simulator, image=canvas)).picture, (await wire.run(simulator)).picture)


async def test_an_edit_shows_the_canvas_large_and_tinted(wire: Wire, simulator: Simulator) -> None:
    yellow = np.full((512, 512, 3), (250, 220, 20), np.uint8)
    edited = (await wire.run(simulator, "purple hills", image=yellow, model=EDIT, **LARGE)).picture
    free = (await wire.run(simulator, "purple hills", model=EDIT, **LARGE)).picture
    yellowish = lambda r, g, b: (r > 150) & (g > 140) & (b < 110)  # noqa: E731
    assert share_of(free, yellowish) < 0.05
    assert share_of(edited, yellowish) > 0.35
    assert not (edited == (250, 220, 20)).all(axis=-1).any()


@pytest.mark.parametrize(
    "words", ["make it night", "es ist Nacht", "il fait nuit", "es de noche", "夜にして", "сделай ночь"]
)
async def test_an_edit_that_asks_for_night_is_night(wire: Wire, simulator: Simulator, words: str) -> None:
    bright = np.full((512, 512, 3), (250, 220, 160), np.uint8)
    edit: dict[str, Any] = {"image": bright, "model": EDIT, **LARGE}
    night = (await wire.run(simulator, words, **edit)).picture
    noon = (await wire.run(simulator, "at noon", **edit)).picture
    print_ = np.s_[60:340, 120:400]  # where the canvas hangs
    assert night.mean() < 80 < 150 < noon.mean()
    assert night[print_].mean() < 90
    assert (night[print_][..., 2] >= night[print_][..., 0] - 8).mean() > 0.9, "moonlight is blue"
    again = (await wire.run(simulator, "turn the night into day", **edit)).picture
    assert again.mean() > 150


@pytest.mark.parametrize("words", ["keep the red fox", "behalte den roten Fuchs", "garde le renard rouge"])
async def test_what_an_edit_keeps_is_not_painted_again(wire: Wire, simulator: Simulator, words: str) -> None:
    edit: dict[str, Any] = {"image": np.full((512, 512, 3), 128, np.uint8), "model": EDIT, **LARGE}
    red = lambda r, g, b: (r > 150) & (g < 90) & (b < 90)  # noqa: E731
    added = (await wire.run(simulator, "add a red fox; keep the sky", **edit)).picture
    kept = (await wire.run(simulator, f"add a whale; {words}", **edit)).picture
    assert share_of(added, red) > 0.02
    assert share_of(kept, red) < 0.002


@pytest.mark.parametrize(
    "prompt",
    [
        "zwei rote Füchse im grünen Wald",
        "deux renards rouges dans la forêt verte",
        "dos zorros rojos en el bosque verde",
        "緑の森に二匹の赤い狐",
        "绿色的森林里有两只红色的狐狸",
        "две красные лисы в зелёном лесу",
    ],
)
async def test_the_words_of_a_picture_may_be_in_other_languages(wire: Wire, simulator: Simulator, prompt: str) -> None:
    foxes = (await wire.run(simulator, prompt, **LARGE)).picture
    red = lambda r, g, b: (r > 150) & (g < 90) & (b < 90)  # noqa: E731
    assert share_of(foxes[:, :256], red) > 0.01
    assert share_of(foxes[:, 256:], red) > 0.01
    assert share_of(foxes, lambda r, g, b: (g > r) & (g > b)) > 0.6


async def test_english_words_that_others_have_as_well_stay_english(wire: Wire, simulator: Simulator) -> None:
    blue = lambda r, g, b: (b > r + 40) & (b > g)  # noqa: E731
    boot = (await wire.run(simulator, "a red boot, yellow", **LARGE)).picture
    boat = (await wire.run(simulator, "ein blaues Boot, gelb", **LARGE)).picture
    assert share_of(boot, blue) < 0.02 < share_of(boat, blue)


async def test_a_canvas_may_come_in_any_codec_and_float_inline_or_by_hash(
    wire: Wire, simulator: Simulator, canvas: Pixels
) -> None:
    payload = encode_image(canvas)
    floats = decode_tensor(payload).astype(np.float32)
    wanted = (await wire.run(simulator, image=payload, strength=0.5)).payloads
    forms = [encode_image(canvas, codec=codec) for codec in Codec]
    forms += [encode_tensor(floats, codec=codec) for codec in Codec]
    for form in forms:
        assert (await wire.run(simulator, image=form, strength=0.5)).payloads == wanted
    by_hash = await wire.run(simulator, image=wire.reference(payload), contents=[b"other", payload], strength=0.5)
    assert by_hash.payloads == wanted
    assert simulator.degradations == []


async def test_an_image_of_another_size_is_stretched_where_it_only_stands_by(wire: Wire, simulator: Simulator) -> None:
    small = np.full((64, 64, 3), (250, 220, 20), np.uint8)
    large = np.full((512, 512, 3), (250, 220, 20), np.uint8)
    first, second = [await wire.run(simulator, "purple", image=image, model=EDIT, **LARGE) for image in (small, large)]
    assert first.payloads == second.payloads


async def test_the_scale_factor_pools_the_image(wire: Wire, simulator: Simulator, canvas: Pixels) -> None:
    doubled = canvas.repeat(2, axis=0).repeat(2, axis=1)
    answer = await wire.run(simulator, image=doubled, scaleFactor=2, strength=0.0)
    assert np.array_equal(answer.picture, canvas)


async def test_what_is_newly_drawn_says_that_it_is_simulated(wire: Wire, simulator: Simulator) -> None:
    picture = (await wire.run(simulator, "yellow", **LARGE)).picture
    corner = picture[:48, -160:]
    plate = (corner.max(axis=-1) < 130).mean()
    letters = (corner.min(axis=-1) > 225).mean()
    assert plate > 0.1
    assert letters > 0.005


def test_the_word_stays_within_what_is_fresh() -> None:
    blank = np.full((256, 256, 3), 200, np.uint8)
    fresh = np.zeros((256, 256), bool)
    fresh[150:200, 20:140] = True
    marked = (stamp(blank, fresh) != blank).any(axis=-1)
    assert marked.any()
    assert not marked[~fresh].any()
    tiny = np.zeros((256, 256), bool)
    tiny[:8, :8] = True
    assert np.array_equal(stamp(blank, tiny), blank)


def measure_hues(picture: Pixels) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Hue and saturation, 0 to 1, of every 16th pixel of the picture each way."""
    sample = picture[8::16, 8::16].reshape(-1, 3) / 255
    hsv = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in sample.tolist()])
    return hsv[:, 0], hsv[:, 1]


def share_of(picture: Pixels, matches: Any) -> float:
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    return float(matches(red, green, blue).mean())


def xorshift(x: int) -> int:
    x ^= x << 13 & 0xFFFFFFFF
    x ^= x >> 17
    return (x ^ x << 5) & 0xFFFFFFFF
