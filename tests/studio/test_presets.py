"""The user's own presets: exactly theirs, seen at once, and never in the way when their file is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.planning.sizes import Size
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio.listing import CatalogRow
from drawthings_mcp.studio.studio import Studio
from tests.strict_server import StrictServer

pytestmark = pytest.mark.anyio

GOLDEN = Path(__file__).parents[1] / "golden" / "presets"
PICTURE = np.random.default_rng(1).integers(0, 256, (768, 512, 3), np.uint8)
SD15 = {
    "name": "Stable Diffusion v1.5",
    "file": "sd_v1.5_f16.ckpt",
    "prefix": "",
    "version": "v1",
    "upcast_attention": False,
    "default_scale": 8,
}
STYLE = {"name": "Style", "file": "sd_v1.5_style_lora_f16.ckpt", "prefix": "", "version": "v1"}
CANNY = {
    "name": "Canny",
    "file": "controlnet_canny_1.x_v1.1_f16.ckpt",
    "version": "v1",
    "type": "controlnet",
    "global_average_pooling": False,
    "modifier": "canny",
}


async def test_a_preset_that_the_app_saved_is_sent_key_by_key(studio_at: Any, preset_file: Path) -> None:
    preset_file.write_bytes((GOLDEN / "custom_configs.json").read_bytes())
    async with StrictServer([SD15], [STYLE], [CANNY]) as strict, studio_at(strict.address) as studio:
        await studio.generate(
            GenerateParams(prompt="a fox", mode="image2image", preset="tuned for YEARS ", canvas=PICTURE, seed=7)
        )
    (sent,) = strict.seen
    expected = json.loads((GOLDEN / "expected_slots.json").read_text())
    assert {name: sent[name] for name in expected} == expected
    assert sent["loras"] == [(STYLE["file"], 0.8125, 0)]
    assert sent["controls"] == [(CANNY["file"], 0.5, 0.25, 0.75)]


async def resolve(studio: Studio, **arguments: Any) -> dict[str, tuple[Any, str]]:
    run = await studio.plan(GenerateParams(prompt="a fox", **arguments))
    return {key: (value, origin) for key, value, origin in run.list_settings()}


async def test_every_value_says_where_it_came_from(studio_at: Any, save_presets: Any) -> None:
    save_presets({"name": "image2image.z-image", "configuration": {"sharpness": 3, "shift": 2}})
    call = {"model": "z-image", "mode": "image2image", "canvas": PICTURE, "steps": 11, "configuration": {"clipSkip": 2}}
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        settings = await resolve(studio, **call)
    assert not simulator.requests
    recipe = "recipe Z Image Turbo 1.0"
    assert {
        key: settings[key] for key in ("steps", "clipSkip", "sharpness", "shift", "strength", "sampler", "model")
    } == {
        "steps": (11, "call"),
        "clipSkip": (2, "call"),
        "sharpness": (3.0, "preset image2image.z-image"),
        "shift": (2.0, "preset image2image.z-image"),
        "strength": (0.6, "mode"),
        "sampler": (17, recipe),
        "model": ("z_image_turbo_1.0_q8p.ckpt", recipe),
    }
    assert settings["guidanceEmbed"] == (3.5, "default")
    assert settings["width"] == (832, "canvas")
    assert settings["height"] == (1280, "canvas")


async def test_the_named_model_has_what_is_recommended_for_it(studio_at: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        settings = await resolve(studio, model="sd_xl_base_1.0_f16.ckpt")
    assert settings["steps"] == (16, "recommended SDXL v1.0")
    assert settings["model"] == ("sd_xl_base_1.0_f16.ckpt", "call")


async def test_a_negative_prompt_of_the_call_is_not_blanked_by_a_recipe(studio_at: Any, save_presets: Any) -> None:
    save_presets({"name": "Mine", "configuration": {"zeroNegativePrompt": True}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        calls: list[dict[str, Any]] = [{}, {"negative_prompt": "fog"}, {"negative_prompt": "fog", "preset": "mine"}]
        runs = [await resolve(studio, model="sd_xl_base_1.0_f16.ckpt", **call) for call in calls]
    assert [run["zeroNegativePrompt"] for run in runs] == [
        (True, "recommended SDXL v1.0"),
        (False, "negative prompt"),
        (True, "preset Mine"),
    ]


@pytest.mark.parametrize(
    ("preset", "call", "expected"),
    [
        ("Z Image Turbo 1.0", {"mode": "image2image", "canvas": PICTURE}, {"strength": (0.6, "mode")}),
        ("FLUX.1 [schnell]", {"mode": "inpaint", "canvas": PICTURE, "mask": PICTURE}, {"strength": (1.0, "mode")}),
        ("SDXL v1.0", {}, {"zeroNegativePrompt": (True, "preset SDXL v1.0")}),
        ("SDXL v1.0", {"negative_prompt": "fog"}, {"zeroNegativePrompt": (False, "negative prompt")}),
        ("Full", {"mode": "image2image", "canvas": PICTURE}, {"strength": (1.0, "preset Full")}),
        ("Foggy", {}, {"zeroNegativePrompt": (False, "negative prompt")}),
    ],
)
async def test_the_mode_wins_over_our_presets_and_the_users_own_over_the_mode(
    studio_at: Any, save_presets: Any, preset: str, call: dict[str, Any], expected: dict[str, Any]
) -> None:
    save_presets(
        {"name": "Full", "configuration": {"strength": 1, "model": "z_image_turbo_1.0_q8p.ckpt"}},
        {"name": "Foggy", "configuration": {"model": "sd_xl_base_1.0_f16.ckpt"}, "negative": "fog"},
    )
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        settings = await resolve(studio, preset=preset, **call)
    assert {key: settings[key] for key in expected} == expected


async def test_a_preset_under_which_the_canvas_counts_for_nothing_says_so(studio_at: Any, save_presets: Any) -> None:
    save_presets({"name": "image2image.z-image", "configuration": {"strength": 1}})
    call: dict[str, Any] = {"mode": "image2image", "model": "z-image", "canvas": PICTURE}
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        runs = [
            await studio.plan(GenerateParams(prompt="a fox", **call, strength=strength)) for strength in (None, 0.7)
        ]
        flux = await studio.plan(GenerateParams(prompt="a fox", **{**call, "model": "flux"}))
    assert runs[0].notes == (
        "strength is 1 in preset image2image.z-image, so that nothing of the canvas is used; give strength, about 0.6",
    )
    assert (runs[1].notes, flux.notes) == ((), ())


async def test_loras_of_the_call_join_those_of_the_recipe(studio_at: Any) -> None:
    call = {"model": "qwen-image", "mode": "edit", "canvas": PICTURE, "loras": [("Qwen Edit 2509 Relight", 0.5)]}
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        loras, origin = (await resolve(studio, **call))["loras"]
    assert [(lora["file"].partition("_lora")[0], lora["weight"]) for lora in loras] == [
        ("qwen_image_edit_2511_lightning_4_step_v1.0", 1.0),
        ("qwen_edit_2509_relight", 0.5),
    ]
    assert origin == "recipe Qwen Image Edit 2511 with Lightning 4-Step v1.0 + call"


RELIGHT = {"file": "qwen_edit_2509_relight_lora_f16.ckpt", "weight": 0.5}
FAST = {"file": "qwen_image_edit_2511_lightning_4_step_v1.0_lora_f16.ckpt", "weight": 0.5}


@pytest.mark.parametrize(
    ("preset", "configuration", "steps", "loras"),
    [
        ({"loras": [RELIGHT]}, {}, 30, [RELIGHT]),
        ({"loras": [RELIGHT, FAST]}, {}, 4, [RELIGHT, FAST]),
        ({"loras": []}, {}, 30, []),
        ({"loras": None}, {}, 4, [{**FAST, "weight": 1.0}]),
        ({"loras": [RELIGHT]}, {"loras": [FAST]}, 4, [FAST]),
        ({"loras": [], "model": "qwen_image_edit_2511_q6p.ckpt"}, {"loras": [FAST]}, 4, [FAST]),
        ({"loras": [], "steps": 7}, {}, 7, []),
    ],
)
async def test_loras_in_place_of_those_of_a_recipe_have_the_steps_that_go_with_them(
    studio_at: Any,
    save_presets: Any,
    preset: dict[str, Any],
    configuration: dict[str, Any],
    steps: int,
    loras: list[dict[str, Any]],
) -> None:
    save_presets({"name": "edit.qwen-image", "configuration": preset})
    call: dict[str, Any] = {"model": "qwen-image", "mode": "edit", "canvas": PICTURE, "configuration": configuration}
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", **call))
    settings = {key: value for key, value, _ in run.list_settings()}
    assert settings["steps"] == steps
    assert [{"file": lora["file"], "weight": lora["weight"]} for lora in settings["loras"]] == loras
    assert run.notes == ()


async def test_a_family_together_with_a_preset_for_another_is_refused(studio_at: Any, save_presets: Any) -> None:
    save_presets({"name": "Mine", "configuration": {"model": "z_image_turbo_1.0_q8p.ckpt"}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        with pytest.raises(InvalidInputError, match=r"model flux and preset 'Mine' do not go together.*\(z-image\)"):
            await resolve(studio, preset="mine", model="flux")
        for model in ("auto", "custom", "z-image"):
            assert (await resolve(studio, preset="mine", model=model))["model"][1] == "preset Mine"


@pytest.mark.parametrize("is_saved", [True, False])
@pytest.mark.parametrize(
    ("name", "mode", "family"), [("Edit.Flux", "edit", "flux"), ("image2image.flux", "image2image", "flux")]
)
async def test_the_name_of_a_mode_and_family_stands_for_both(
    studio_at: Any, save_presets: Any, name: str, mode: str, family: str, is_saved: bool
) -> None:
    save_presets(*([{"name": name, "configuration": {"model": "flux_2_klein_9b_q6p.ckpt"}}] if is_saved else []))
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", preset=name, canvas=PICTURE))
        with pytest.raises(InvalidInputError, match="needs a picture"):
            await studio.plan(GenerateParams(prompt="a fox", preset=name))
    assert (run.mode, run.family, run.preset) == (mode, family, name if is_saved else "FLUX.2 [klein] 9B")


async def test_a_preset_that_is_named_for_a_mode_and_family_stands_for_them_whatever_its_model(
    studio_at: Any, save_presets: Any
) -> None:
    save_presets(
        {"name": "edit.flux", "configuration": {"sharpness": 1}},
        {"name": "edit.qwen-image", "configuration": {"model": "flux_2_klein_9b_q6p.ckpt"}},
    )
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        open_model = await studio.plan(GenerateParams(prompt="a fox", preset="edit.flux", canvas=PICTURE))
        other_model = await studio.plan(
            GenerateParams(prompt="a fox", preset="edit.qwen-image", model="qwen-image", canvas=PICTURE)
        )
    assert (open_model.family, open_model.preset) == ("flux", "edit.flux")
    assert (other_model.family, other_model.preset) == ("flux", "edit.qwen-image")


async def test_a_change_in_the_file_counts_at_the_next_call(studio_at: Any, save_presets: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        steps = []
        for wanted in (11, 12):
            save_presets({"name": "text2image.auto", "configuration": {"steps": wanted}})
            steps.append((await resolve(studio))["steps"][0])
    assert steps == [11, 12]


async def test_presets_of_the_state_folder_go_before_those_of_the_app(
    studio_at: Any, save_presets: Any, tmp_path: Path
) -> None:
    own = tmp_path / "state" / "presets"
    own.mkdir(parents=True)
    (own / "text2image.auto.json").write_text('{"steps": 31}')  # what the app copies to the clipboard
    (own / "one.json").write_text('{"name": "One", "configuration": {"steps": 32}, "negative": "blurry"}')
    save_presets({"name": "text2image.auto", "configuration": {"steps": 33}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        assert (await resolve(studio))["steps"][0] == 31
        run = await studio.plan(GenerateParams(prompt="a fox", preset=" one\n"))
        listing = await studio.list_catalog("presets", query="one")
    assert ({key: value for key, value, _ in run.list_settings()}["steps"], run.requests[0].negative_prompt) == (
        32,
        "blurry",
    )
    rows: tuple[CatalogRow, ...] = listing.rows
    assert [row.detail for row in rows if row.name == "One"] == ["yours, in the presets folder"]


async def test_none_switches_the_apps_presets_off(studio_at: Any, save_presets: Any) -> None:
    save_presets({"name": "text2image.auto", "configuration": {"steps": 33}})
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        assert (await resolve(studio))["steps"][0] == 8


def make_unreadable(path: Path) -> None:
    path.mkdir()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "half-written": (lambda path: path.write_text('[{"name": "A", "configur'), "is not whole JSON"),
    "empty": (lambda path: path.write_text(""), "is not whole JSON"),
    "no list": (lambda path: path.write_text('"presets"'), "holds no list of presets"),
    "no text": (lambda path: path.write_bytes(b"\xff\xfe\x00\x01"), "is not UTF-8 text"),
    "a folder": (make_unreadable, "is not a file"),
    "missing": (lambda path: None, "does not exist"),
    "nested": (lambda path: path.write_text("[" * 100_000), "is not whole JSON"),
    "others": (
        lambda path: path.write_text('[{"name": "A"}, {"configuration": {}}, 5]'),
        "3 of its entries lack a name",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_file_that_cannot_be_used_is_reported_in_one_sentence_and_the_rest_works(
    studio_at: Any, preset_file: Path, kind: str
) -> None:
    spoil, words = BROKEN[kind]
    spoil(preset_file)
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        run = await studio.plan(GenerateParams(prompt="a fox"))
        with pytest.raises(UnknownNameError, match=f"You have no presets of your own yet. .*{words}"):
            await studio.plan(GenerateParams(prompt="a fox", preset="Mine"))
        listing = await studio.list_catalog("presets")
    assert run.preset == "Z Image Turbo 1.0"
    assert [words in note for note in run.notes] == [True]
    assert listing.notes == run.notes
    assert listing.rows


async def test_a_preset_with_a_wrong_value_is_named_with_its_file(
    studio_at: Any, save_presets: Any, preset_file: Path
) -> None:
    save_presets({"name": "Mine", "configuration": {"steps": "many", "model": "z_image_turbo_1.0_q8p.ckpt"}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        with pytest.raises(InvalidInputError, match=r"'Mine' in .*custom_configs\.json.*steps: must be a whole number"):
            await resolve(studio, preset="Mine")


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"loras": 5}, "loras: must be a list"),
        ({"controls": 5}, "controls: must be a list"),
        ({"loras": [{"file": 7}]}, r"\(file: must be text, got 7\); fix it there"),
        ({"width": float("inf")}, "width: must be a finite number"),
        ({"refinerModel": 5}, "refinerModel: must be text"),
    ],
)
async def test_a_malformed_preset_spoils_neither_its_neighbours_nor_the_listing(
    studio_at: Any, save_presets: Any, configuration: dict[str, Any], words: str
) -> None:
    save_presets({"name": "Bad", "configuration": configuration}, {"name": "Good", "configuration": {"steps": 9}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        with pytest.raises(InvalidInputError, match=words):
            await resolve(studio, preset="Bad")
        assert (await resolve(studio, preset="Good"))["steps"][0] == 9
        rows = (await studio.list_catalog("presets")).rows
    assert {"Bad", "Good"} <= {row.name for row in rows}


async def test_a_preset_for_another_mode_is_reported_as_such(studio_at: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        with pytest.raises(InvalidInputError, match=r"'Qwen Image Edit 2511' is not for text2image: .* Name another"):
            await resolve(studio, preset="Qwen Image Edit 2511")


async def test_a_preset_whose_model_is_missing_says_what_to_download(studio_at: Any, save_presets: Any) -> None:
    save_presets({"name": "Mine", "configuration": {"model": "flux_1_dev_q5p.ckpt"}})
    async with Simulator(missing_files=["flux_1_dev_q5p.ckpt"]) as simulator, studio_at(simulator.address) as studio:
        with pytest.raises(UnknownNameError, match=r"'Mine' needs .*flux_1_dev_q5p\.ckpt.*Download"):
            await resolve(studio, preset="Mine")


@pytest.mark.parametrize(
    "configuration",
    [
        {"loras": [{"file": "gone.ckpt", "weight": 1}]},
        {"refinerModel": "gone.ckpt"},
        {"upscaler": "gone.ckpt"},
        {"controls": [{"file": "gone.ckpt", "weight": 1}]},
        {"faceRestoration": "gone.ckpt"},
    ],
)
@pytest.mark.parametrize("browsing", [True, False])
async def test_a_file_that_the_server_lacks_is_reported_with_the_preset_that_names_it(
    studio_at: Any, save_presets: Any, configuration: dict[str, Any], browsing: bool
) -> None:
    save_presets({"name": "Mine", "configuration": configuration})
    async with (
        Simulator(model_browser=browsing, missing_files=["gone.ckpt"]) as simulator,
        studio_at(simulator.address) as studio,
    ):
        with pytest.raises(InvalidInputError, match=r"gone\.ckpt stands in the preset 'Mine': download it, or name"):
            await resolve(studio, preset="Mine")


async def test_the_size_of_a_preset_counts_and_what_it_cuts_off_is_reported(
    studio_at: Any, save_presets: Any, tmp_path: Path
) -> None:
    save_presets({"name": "edit.flux", "configuration": {"width": 1000, "height": 640}})
    Image.fromarray(PICTURE).save(tmp_path / "canvas.png")
    call: dict[str, Any] = {"mode": "edit", "model": "flux", "canvas": str(tmp_path / "canvas.png")}
    async with Simulator() as simulator, studio_at(simulator.address, input_dirs=str(tmp_path)) as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", **call))
        own = await studio.plan(GenerateParams(prompt="a fox", **call, image_format="2:3"))
        whole = await studio.plan(GenerateParams(prompt="a fox", **call, width=256, height=384))
    assert (run.size.width, run.size.height) == (960, 640)  # the app rounds down
    assert run.notes == (
        "a1 512×768 → 960×640: cropped to the size in the preset; image_format, or width and height, change that",
    )
    assert (own.size, own.notes) == (Size(832, 1280), ("a1 512×768 → 832×1280: cropped",))
    assert whole.notes == ()


@pytest.mark.parametrize(
    ("call", "width", "height"),
    [
        ({}, (512, "preset Wide"), (1024, "native size of the model")),
        ({"configuration": {"width": None}}, (512, "preset Wide"), (1024, "native size of the model")),
        ({"configuration": {"height": 640}}, (320, "call"), (640, "call")),
        ({"configuration": {"width": 256}, "height": 640}, (256, "call"), (640, "call")),
        ({"image_format": "square"}, (1024, "call"), (1024, "call")),
        ({"mode": "image2image", "canvas": PICTURE}, (512, "preset Wide"), (1280, "canvas")),
    ],
)
async def test_each_side_comes_from_the_topmost_that_sets_it(
    studio_at: Any, save_presets: Any, call: dict[str, Any], width: tuple[int, str], height: tuple[int, str]
) -> None:
    save_presets({"name": "Wide", "configuration": {"width": 512}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        settings = await resolve(studio, preset="wide", **call)
    assert (settings["width"], settings["height"]) == (width, height)


@pytest.mark.parametrize("model", ["Z Image Turbo 1.0", "z_image_turbo_1.0_q8p", "z_image_turbo_1.0_q8p.ckpt"])
async def test_a_model_that_the_preset_names_in_any_way_comes_from_the_preset(
    studio_at: Any, save_presets: Any, model: str
) -> None:
    save_presets({"name": "Mine", "configuration": {"model": model}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        settings = await resolve(studio, preset="mine")
    assert settings["model"] == ("z_image_turbo_1.0_q8p.ckpt", "preset Mine")


async def test_a_batch_in_the_configuration_of_the_call_is_that_many_variants(
    studio_at: Any, save_presets: Any
) -> None:
    save_presets({"name": "Mine", "configuration": {"batchCount": 3, "batchSize": 2}})
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        batch = {"batchCount": 2, "batchSize": 2}
        assert (await resolve(studio, configuration=batch))["batchCount"] == (4, "call")
        assert (await resolve(studio, configuration=batch, variants=3))["batchCount"] == (3, "call")
        assert (await resolve(studio, preset="mine"))["batchCount"] == (1, "default")
        with pytest.raises(InvalidInputError, match="make 10 pictures, a call makes at most 4"):
            await resolve(studio, configuration={"batchCount": 10})


async def test_weights_are_reported_as_somebody_would_write_them(studio_at: Any) -> None:
    async with Simulator() as simulator, studio_at(simulator.address, custom_configs="none") as studio:
        loras, _ = (await resolve(studio, model="sd15", loras=[("moxin_v1.0_lora_f16", 0.7)]))["loras"]
    assert loras[0]["weight"] == 0.7


async def test_a_listed_preset_lacks_nothing_when_its_model_is_there_under_another_name(
    studio_at: Any, save_presets: Any
) -> None:
    save_presets({"name": "Mine", "configuration": {"model": "Stable Diffusion v1.5"}})
    turbo = {**SD15, "name": "Turbo", "file": "z_image_turbo_1.0_q8p.ckpt", "version": "z_image"}
    async with StrictServer([SD15, turbo]) as strict, studio_at(strict.address) as studio:
        rows = {row.name: row for row in (await studio.list_catalog("presets", limit=100)).rows}
    assert (rows["Mine"].installed, rows["Mine"].detail) == (True, "yours, from the app")
    assert (rows["Z Image Turbo 1.0"].installed, rows["Z Image Turbo 1.0"].detail) == (True, "built in")
    assert not rows["Z Image Base 1.0"].installed


async def test_without_browsing_other_precisions_are_looked_for_too(studio_at: Any) -> None:
    gone = ["z_image_turbo_1.0_q6p.ckpt"]
    async with (
        Simulator(model_browser=False, missing_files=gone) as simulator,
        studio_at(simulator.address, custom_configs="none") as studio,
    ):
        models = (await studio.list_catalog("models", query="z_image_turbo")).rows
        rows = {row.name: row for row in (await studio.list_catalog("presets", limit=100)).rows}
    assert "z_image_turbo_1.0_q8p.ckpt" in {row.file for row in models}
    assert rows["Z Image Turbo 1.0"].installed


async def test_listed_presets_say_whose_they_are_and_what_the_server_lacks(studio_at: Any, save_presets: Any) -> None:
    save_presets(
        {"name": "edit.flux", "configuration": {"model": "flux_2_klein_9b_q6p.ckpt"}},
        {
            "name": "Gone",
            "configuration": {
                "model": "gone_f16.ckpt",
                "loras": [{"file": "lost.ckpt", "weight": 1}],
                "controls": [{"file": "away.ckpt"}],
            },
        },
    )
    async with Simulator() as simulator, studio_at(simulator.address) as studio:
        rows = (await studio.list_catalog("presets", limit=100)).rows
    found = {row.name: row for row in rows}
    assert (found["edit.flux"].detail, found["edit.flux"].installed) == ("yours, from the app", True)
    assert found["edit.flux"].modes == {"edit"}
    assert found["Gone"].detail == "yours, from the app; lacks gone_f16.ckpt, lost.ckpt, away.ckpt"
    assert found["Z Image Turbo 1.0"].detail.startswith("built in")
