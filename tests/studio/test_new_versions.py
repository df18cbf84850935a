"""Qwen Image 2.1, MiniMax H3, and a version that nobody here knows: modes, slots, notes, frames and sound."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from drawthings_mcp import AsyncDrawThingsClient, DrawThingsWarning, ImageGenerationConfig
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.events import Event, PreviewReceived
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.presets.mode_table import recommended_configuration
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.tensors.latent import cut_sound, decode_latent, preview_pixels
from drawthings_mcp.tensors.pixels import ensure_pixels
from tests.strict_server import StrictServer

pytestmark = pytest.mark.anyio

WHOLE: dict[str, Any] = {"prefix": "", "upcast_attention": False}
QWEN = {
    **WHOLE,
    "file": "qwen_image_2.1_q8p.ckpt",
    "name": "Qwen Image 2.1",
    "version": "qwen_image_2.1",
    "default_scale": 24,
    "modifier": "kontext",
}
TURBO = {**QWEN, "file": "qwen_image_2.1_turbo_q8p.ckpt", "name": "Qwen Image 2.1 Turbo"}
FL2VA = {
    **WHOLE,
    "file": "minimax_h3_fl2va_q8p.ckpt",
    "name": "MiniMax H3 FL2VA",
    "version": "minimax_h3",
    "default_scale": 12,
    "modifier": "fl2va",
}
REF2VA = {**FL2VA, "file": "minimax_h3_ref2va_q8p.ckpt", "name": "MiniMax H3 Ref2VA", "modifier": "ref2va"}
NEWER = {
    **WHOLE,
    "file": "z_image_turbo_1.0_next_q8p.ckpt",
    "name": "Something New",
    "version": "something_new_1",
    "default_scale": 20,
    "modifier": "kontext",
}
PICTURE = np.random.default_rng(1).integers(0, 256, (200, 300, 3), np.uint8)
CUTOUT = np.dstack([PICTURE, np.where(np.arange(300) < 100, 0, 255).astype(np.uint8)[None].repeat(200, axis=0)])


async def ask(studio_at: Any, models: list[dict[str, Any]], **arguments: Any) -> tuple[dict[str, Any], Any]:
    """What the strict server is asked for by one call, and the result."""
    with anyio.fail_after(60):
        async with StrictServer(models) as strict, studio_at(strict.address, custom_configs="none") as studio:
            result = await studio.generate(GenerateParams(prompt="a fox", **{"width": 256, "height": 192, **arguments}))
    (seen,) = strict.seen
    return seen, result


@pytest.mark.parametrize(
    ("model", "steps", "shift", "dependent"), [(QWEN, 40, 1.0, True), (TURBO, 8, 6.5, False)], ids=["base", "turbo"]
)
async def test_qwen_image_2_1_is_asked_with_its_own_recipe(
    studio_at: Any, model: dict[str, Any], steps: int, shift: float, dependent: bool
) -> None:
    seen, result = await ask(studio_at, [model], model="qwen-image")
    assert (seen["model"], seen["steps"], seen["sampler"], seen["guidance_scale"]) == (model["file"], steps, 16, 1.0)
    assert (seen["shift"], seen["resolution_dependent_shift"]) == (shift, dependent)
    assert not seen["has_override"]
    (picture,) = result.variants
    assert ensure_pixels(picture.path).shape == (192, 256, 4)


@pytest.mark.parametrize("mode", ["text2image", "image2image", "edit", "inpaint"])
async def test_qwen_image_2_1_serves_every_mode(studio_at: Any, mode: str) -> None:
    pictures = {} if mode == "text2image" else {"canvas": PICTURE}
    mask = np.zeros((200, 300), np.uint8)
    mask[50:100, 50:100] = 255
    masked = {"mask": mask} if mode == "inpaint" else {}
    seen, _ = await ask(studio_at, [QWEN], model=QWEN["file"], mode=mode, **pictures, **masked)
    assert seen["has_image"] is (mode != "text2image")
    assert seen["strength"] == pytest.approx(0.6 if mode == "image2image" else 1)


async def test_its_native_size_is_1536(studio_at: Any) -> None:
    async with StrictServer([QWEN]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", model="qwen-image"))
    assert (run.size.width, run.size.height) == (1536, 1536)


async def test_references_keep_their_alpha_and_have_sides_of_multiples_of_32(studio_at: Any) -> None:
    seen, _ = await ask(studio_at, [QWEN], model=QWEN["file"], mode="edit", canvas=CUTOUT, moodboard=[PICTURE])
    assert not seen["has_image"]  # a canvas has no alpha on the wire, a reference has
    assert seen["hints"] == [("shuffle", [(1, 192, 256, 4), (1, 160, 256, 3)])]


async def test_an_opaque_canvas_stays_the_canvas(studio_at: Any) -> None:
    opaque = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 255, np.uint8)])
    seen, _ = await ask(studio_at, [QWEN], model=QWEN["file"], mode="edit", canvas=opaque)
    assert (seen["has_image"], seen["hints"]) == (True, [])


async def test_clear_parts_are_painted_when_that_is_what_is_asked_for(studio_at: Any) -> None:
    seen, _ = await ask(studio_at, [QWEN], model=QWEN["file"], mode="inpaint", canvas=CUTOUT)
    assert (seen["has_image"], seen["hints"]) == (True, [])


async def test_other_editors_still_get_references_without_alpha(studio_at: Any) -> None:
    klein = {**QWEN, "file": "flux_2_klein_9b_q6p.ckpt", "version": "flux2_9b", "modifier": "kontext"}
    seen, _ = await ask(studio_at, [klein], model=klein["file"], mode="edit", canvas=PICTURE, moodboard=[CUTOUT])
    assert seen["hints"] == [("shuffle", [(1, 181, 271, 3)])]


@pytest.mark.parametrize(("prompt", "is_clear"), [("a bear", False), ("a bear on a transparent background", True)])
async def test_a_picture_is_clear_only_where_the_prompt_asks_for_it(
    studio_at: Any, prompt: str, is_clear: bool
) -> None:
    params = GenerateParams(prompt=prompt, model=TURBO["file"], width=256, height=256)
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        (picture,) = (await studio.generate(params)).variants
    pixels = ensure_pixels(picture.path)  # without its alpha channel where that says nothing
    assert bool(pixels.shape[2] == 4 and (pixels[..., 3] == 0).any()) is is_clear
    assert not simulator.degradations


async def test_an_edit_of_a_cutout_is_survived_by_the_simulator(studio_at: Any) -> None:
    params = GenerateParams(prompt="a bear", model=TURBO["file"], canvas=CUTOUT, mode="edit", width=256, height=192)
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        assert (await studio.generate(params)).variants
    assert not simulator.degradations


@pytest.mark.parametrize(
    ("model", "problem"),
    [(FL2VA["file"], "does not do text2image (it does: video)"), ("minimax", "There is no model")],
)
async def test_a_picture_is_not_made_by_a_model_for_videos(studio_at: Any, model: str, problem: str) -> None:
    async with StrictServer([FL2VA]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        with pytest.raises(InvalidInputError) as caught:
            await studio.generate(GenerateParams(prompt="a fox", model=model))
        listing = await studio.list_catalog("models", family="minimax")
    assert problem in str(caught.value)
    assert [row.name for row in listing.rows] == ["MiniMax H3 FL2VA"]
    assert not strict.seen


async def record(server: Any, folder: Path, model: str, prompt: str = "a boat", **pictures: Any) -> Any:
    recipe = recommended_configuration(model, "minimax_h3")
    config = ImageGenerationConfig(**{**recipe, "width": 128, "height": 128, "num_frames": 22, "steps": 2})
    with anyio.fail_after(60):
        async with AsyncDrawThingsClient(server.address, insecure=True) as client:
            return await client.generate_video(prompt, config, output_dir=folder, **pictures)


def measure_sound(video: Any) -> tuple[int, int, int]:
    with wave.open(str(video.audio)) as sound:
        return sound.getnchannels(), sound.getframerate(), sound.getnframes()


async def test_a_film_of_minimax_h3_has_its_frames_and_stereo_sound(tmp_path: Path) -> None:
    async with StrictServer([FL2VA]) as strict:
        video = await record(strict, tmp_path, FL2VA["file"])
    assert len(video.frames) == 22
    assert video.frames_per_second == 24
    assert measure_sound(video) == (2, 32_000, 22 * 32_000 // 24)
    (seen,) = strict.seen
    assert (seen["shift"], seen["resolution_dependent_shift"], seen["sampler"]) == (12.0, False, 16)
    assert (seen["tiled_decoding"], seen["decoding_tile_width"], seen["decoding_tile_overlap"]) == (True, 4, 1)
    assert (seen["has_override"], seen["hints"]) == (False, [])


async def test_a_film_begins_with_the_canvas_and_ends_with_the_moodboard(tmp_path: Path) -> None:
    async with StrictServer([FL2VA]) as strict:
        await record(strict, tmp_path, FL2VA["file"], input_image=PICTURE, moodboard=[PICTURE])
    (seen,) = strict.seen
    assert (seen["has_image"], [kind for kind, _ in seen["hints"]]) == (True, ["shuffle"])


async def test_references_of_a_film_all_travel_together(tmp_path: Path) -> None:
    async with StrictServer([REF2VA]) as strict:
        prompt = "<Picture 1> meets <Picture 2>"
        await record(strict, tmp_path, REF2VA["file"], prompt, input_image=PICTURE, moodboard=[PICTURE])
        with pytest.warns(DrawThingsWarning, match="names its references: <Picture 1>"):
            await record(strict, tmp_path, REF2VA["file"], "a boat", moodboard=[PICTURE])
    first, _ = strict.seen
    assert not first["has_image"]
    assert [(kind, len(tensors)) for kind, tensors in first["hints"]] == [("shuffle", 2)]


@pytest.mark.parametrize("model", [FL2VA["file"], REF2VA["file"]])
async def test_the_simulator_plays_minimax_h3(tmp_path: Path, model: str) -> None:
    async with Simulator() as simulator:
        video = await record(simulator, tmp_path, model, "<Picture 1> dances", input_image=PICTURE)
    assert (len(video.frames), video.frames_per_second) == (22, 24)
    assert measure_sound(video) == (2, 32_000, round(22 / 24 * 32_000))
    assert not simulator.degradations


async def test_a_preview_is_cut_where_its_sound_begins() -> None:
    latents: list[Any] = []

    def keep(event: Event) -> None:
        if isinstance(event, PreviewReceived):
            latents.append(decode_latent(event.payload))

    config = ImageGenerationConfig(model=FL2VA["file"], width=128, height=192, num_frames=22, steps=4)
    async with Simulator() as simulator, AsyncDrawThingsClient(simulator.address, insecure=True) as client:
        request = (await client.compose("a boat", config)).requests[0]
        await client.generate(request, keep)
    # 7 latent frames of 12 x 8 cells; 37 steps of sound in two channels of 32 values need two rows of 7 * 8 * 24.
    assert {latent.shape for latent in latents} == {(7, 14, 8, 24)}
    assert {cut_sound(latent, "minimax_h3").shape for latent in latents} == {(7, 12, 8, 24)}
    assert preview_pixels(latents[0], "minimax_h3") is None


def test_other_previews_are_cut_by_their_own_rule_or_not_at_all() -> None:
    latent = np.zeros((2, 5, 6, 128), np.float16)
    assert cut_sound(latent, "ltx2.3").shape == (2, 4, 6, 128)
    assert cut_sound(latent, "wan_v2.2_5b").shape == latent.shape
    # 15 rows of 7 * 24 values would do for the sound, but only 16 of them divide into steps of 32.
    assert cut_sound(np.zeros((7, 30, 1, 24), np.float16), "minimax_h3").shape == (7, 14, 1, 24)


@pytest.mark.parametrize("mode", ["text2image", "edit"])
async def test_a_version_that_nobody_knows_is_asked_without_invented_numbers(studio_at: Any, mode: str) -> None:
    pictures = {"canvas": PICTURE, "moodboard": [PICTURE]} if mode == "edit" else {}
    seen, result = await ask(studio_at, [NEWER], model=NEWER["file"], mode=mode, **pictures)
    default = ImageGenerationConfig()
    assert (seen["steps"], seen["guidance_scale"], seen["shift"]) == (default.steps, default.guidance_scale, 1.0)
    assert not seen["has_override"]
    assert len(seen["hints"]) == (mode == "edit")
    assert [note for note in result.notes if "something_new_1, which is new to this program" in note]


async def test_its_size_is_that_of_its_specification_and_its_settings_count(studio_at: Any) -> None:
    model = {**NEWER, "settings": {"steps": 6, "guidanceScale": 2.5, "sampler": 17}}
    async with StrictServer([model]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", model=model["file"]))
    assert (run.size.width, run.size.height) == (1280, 1280)
    assert (run.configuration.steps, run.configuration.guidance_scale) == (6, 2.5)
    assert run.preset == "of the server for Something New"


@pytest.mark.parametrize("settings", ["fast", {"steps": "many"}, []])
async def test_settings_that_cannot_be_used_are_left_out(studio_at: Any, settings: Any) -> None:
    model = {**NEWER, "settings": settings}
    async with StrictServer([model]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", model=model["file"]))
    assert run.configuration.steps == ImageGenerationConfig().steps


async def test_a_version_that_nobody_knows_makes_videos_when_it_says_so(studio_at: Any, tmp_path: Path) -> None:
    model = {**NEWER, "frames_per_second": 12}
    async with StrictServer([model]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        with pytest.raises(InvalidInputError, match="it does: video"):
            await studio.plan(GenerateParams(prompt="a fox", model=model["file"]))
        config = ImageGenerationConfig(model=model["file"], width=128, height=128)
        async with AsyncDrawThingsClient(strict.address, insecure=True) as client:
            with pytest.warns(DrawThingsWarning, match="which is new to this program"):
                video = await client.generate_video("a boat", config, output_dir=tmp_path)
    assert (len(video.frames), video.frames_per_second, video.audio) == (1, 12, None)
