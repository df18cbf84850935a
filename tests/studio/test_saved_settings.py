"""What the app saved goes through every entrance as it is: old presets, odd numbers, and keys of a newer app."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from PIL import Image

from drawthings_mcp import AsyncDrawThingsClient, ImageGenerationConfig
from drawthings_mcp.errors import DrawThingsWarning, InvalidInputError
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.metadata.xmp import Packet, build_packet
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.server.face import MCP
from drawthings_mcp.tensors.png import encode_png
from tests.slots import SLOTS
from tests.strict_server import StrictServer
from tests.studio.test_presets import CANNY, SD15, STYLE
from tests.warm_start import list_command

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "presets"
EXPORT: dict[str, Any] = json.loads((GOLDEN / "complete_export.json").read_text())
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "complete_slots.json").read_text())
PICTURE = np.random.default_rng(1).integers(0, 256, (768, 512, 3), np.uint8)
CALL: dict[str, Any] = {"prompt": "a fox", "mode": "image2image", "seed": 4711}

_KEY = re.compile(r"^\| (\w+) \| \S+ \| (\w+) \([^|]*\) \| (\d+)@\d+ \|", re.MULTILINE)
KEYS = {key: slot for key, slot, _ in _KEY.findall((ROOT / "docs" / "formats.md").read_text(encoding="utf-8"))}
"""Key → slot, as the table in formats §1.3 says."""
IN_UNITS = {row["name"] for row in SLOTS if row["unit"] == "64 px"}
WORDS = {"none": 0, "disabled": 0, "lab": 1, "h264": 1, "h265": 2, "jpeg": 3}


def test_the_export_has_every_key_and_every_slot_a_value() -> None:
    assert EXPORT.keys() == KEYS.keys()
    live = {row["name"] for row in SLOTS if not row["deprecated"] and row["type"] != "tables"}
    assert live == EXPECTED.keys()


async def _use_own_file(server: str, studio_at: Any, folder: Path) -> None:
    own = folder / "state" / "presets"
    own.mkdir(parents=True)
    (own / "Copied.json").write_text(json.dumps(EXPORT))
    async with studio_at(server, custom_configs="none") as studio:
        await studio.generate(GenerateParams(**CALL, preset="copied", canvas=PICTURE))


async def _use_app_file(server: str, studio_at: Any, folder: Path) -> None:
    (folder / "custom_configs.json").write_text(json.dumps([{"name": "Saved", "configuration": EXPORT}]))
    async with studio_at(server) as studio:
        await studio.generate(GenerateParams(**CALL, preset="saved", canvas=PICTURE))


async def _use_argument(server: str, studio_at: Any, folder: Path) -> None:
    async with studio_at(server, custom_configs="none") as studio:
        await studio.generate(GenerateParams(**CALL, configuration=EXPORT, canvas=PICTURE))


async def _use_shell(server: str, studio_at: Any, folder: Path) -> None:
    picture, config = folder / "fox.png", folder / "config.json"
    Image.fromarray(PICTURE).save(picture)
    config.write_text(json.dumps(EXPORT))
    command = list_command("-m", "drawthings_mcp", "generate", "a fox", "--mode", "image2image")
    command += ["--canvas", str(picture), "--config", f"@{config}", "--server", server, "--tls", "off"]
    folders = {f"DRAWTHINGS_{name}_DIR": str(folder / name.lower()) for name in ("OUTPUT", "STATE", "INPUT")}
    environment = {"HOME": str(folder), **folders, "DRAWTHINGS_INPUT_DIRS": str(folder)}
    with anyio.fail_after(60):
        ended = await anyio.run_process(command, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr.decode()


async def _use_client(server: str, config: ImageGenerationConfig) -> None:
    async with AsyncDrawThingsClient(server, insecure=True) as client:
        with pytest.warns(DrawThingsWarning) as caught:
            await client.generate_image("a fox", config, input_image=PICTURE)
    assert "sharpness 200: outside the app's range, sent as it is." in {str(warning.message) for warning in caught}


async def _use_json(server: str, studio_at: Any, folder: Path) -> None:
    await _use_client(server, ImageGenerationConfig.from_app_json(EXPORT))


async def _use_metadata(server: str, studio_at: Any, folder: Path) -> None:
    path = folder / "made.png"
    packet = build_packet(Packet("Draw Things", comment=json.dumps({"c": "a fox", "v2": EXPORT})))
    path.write_bytes(encode_png(PICTURE, packet))
    metadata = read_metadata(str(path))
    assert metadata is not None
    assert metadata.configuration is not None
    assert metadata.unknown == ()
    await _use_client(server, metadata.configuration)


ENTRANCES: dict[str, Callable[[str, Any, Path], Awaitable[None]]] = {
    "a preset file of one's own": _use_own_file,
    "a preset of the app": _use_app_file,
    "the argument configuration": _use_argument,
    "--config": _use_shell,
    "from_app_json": _use_json,
    "a picture": _use_metadata,
}


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_every_key_of_todays_app_goes_through(entrance: str, studio_at: Any, tmp_path: Path) -> None:
    async with StrictServer([SD15], [STYLE], [CANNY]) as strict:
        await ENTRANCES[entrance](strict.address, studio_at, tmp_path)
    (sent,) = strict.seen
    assert {name: sent[name] for name in EXPECTED} == EXPECTED
    assert (sent["loras"], sent["controls"]) == ([(STYLE["file"], 0.8125, 0)], [(CANNY["file"], 0.5, 0.25, 0.75)])


XL = {**SD15, "name": "XL", "file": "sd_xl_base_1.0_f16.ckpt", "version": "sdxl_base_v0.9", "default_scale": 16}
Z_IMAGE = {**SD15, "name": "Z Image", "file": "z_image_turbo_1.0_q8p.ckpt", "version": "z_image", "default_scale": 16}
KLEIN = {**SD15, "name": "Klein", "file": "flux_2_klein_9b_q6p.ckpt", "version": "flux2_9b", "default_scale": 16}
ODD: tuple[dict[str, Any], ...] = (
    {"sharpness": 200},
    {"shift": 100, "resolutionDependentShift": False},
    {"imagePriorSteps": 0},
    {"numFrames": 0, "fps": 0},
    {"stage2Shift": 0},
    {"decodingTileWidth": 0, "decodingTileHeight": 0, "decodingTileOverlap": 0},
    {"diffusionTileWidth": 0, "diffusionTileHeight": 0, "diffusionTileOverlap": 0},
    {"motionScale": 1000, "guidingFrameNoise": 2.5, "startFrameGuidance": 80},
    {"teaCacheStart": -3, "teaCacheThreshold": 2},
    {"refinerStart": 1.5, "hiresFixWidth": 0, "hiresFixHeight": 16384, "aestheticScore": 20},
)
NEWEST = ("shiftForAudio", "usesSolAttention", "solAttentionStart", "solAttentionTau")
NEWER = ("compressionArtifacts", "compressionArtifactsQuality", "colorCalibration", "expandPromptToJson")
OLD = re.compile(r"teaCache|causalInference|cfgZero|separateT5|t5Text|compressionArt|colorCal|expandPrompt|.*[sS]olAtt")


def make_presets() -> list[dict[str, Any]]:
    """122 presets in the shapes that a user of some years has: half of them old, with odd numbers in every other."""
    chance = random.Random(122)
    presets = [
        {"name": f"Preset {number}", "configuration": make_configuration(number, chance)} for number in range(121)
    ]
    return [*presets, {"name": "Preset 121", "configuration": {"sharpness": 4}}]


def make_configuration(number: int, chance: random.Random) -> dict[str, Any]:
    model = chance.choice([SD15, XL, Z_IMAGE, KLEIN])
    made = {**ImageGenerationConfig().to_app_json(), "model": model["file"], "steps": chance.randint(4, 50)}
    made |= {"width": 64 * chance.randint(4, 8), "height": 64 * chance.randint(4, 8), "sampler": chance.randint(10, 19)}
    made |= {"guidanceScale": chance.randint(2, 14) / 2, "maskBlur": 2.5, "batchSize": chance.choice([1, 1, 4])}
    made |= {"seed": chance.randrange(2**32), "upscaler": chance.choice([None, ""]), "refinerModel": "", "id": 0}
    made |= {"colorCalibration": chance.choice(["none", "disabled"]), "clipSkip": 2, "strength": 1}
    if number < 43:
        made["stage2Steps"] = 0
    made |= ODD[number % len(ODD)] if number % 3 else {}
    drops = [*(["width", "height"] if number % 4 == 0 else []), *(["seed"] if number % 16 == 0 else [])]
    drops += NEWEST if number % 5 else ()
    drops += filter(OLD.match, made) if number % 9 < 5 else ()
    return {key: value for key, value in made.items() if key not in drops}


def build_slots(configuration: dict[str, Any]) -> dict[str, Any]:
    """What a preset must become on the wire; the call and the studio decide on the seed and the batch."""
    decided = {"seed", "batchCount", "batchSize", "loras", "controls", "causalInference", "causalInferencePad"}
    slots: dict[str, Any] = {}
    for key, value in configuration.items():
        if key in decided:
            continue
        value = WORDS.get(value, value or None) if isinstance(value, str) else value
        slots[KEYS[key]] = int(value or 0) // 64 if KEYS[key] in IN_UNITS else value
    return slots


async def test_all_of_122_presets_are_sent_slot_by_slot(studio_at: Any, save_presets: Any) -> None:
    presets = make_presets()
    assert len(presets) == 122
    assert sum(preset["configuration"].get("stage2Steps") == 0 for preset in presets) == 43
    save_presets(*presets)
    async with StrictServer([SD15, XL, Z_IMAGE, KLEIN]) as strict, studio_at(strict.address) as studio:
        for preset in presets:
            result = await studio.generate(
                GenerateParams(prompt="a fox", mode="text2image", preset=preset["name"], model="auto", seed=7)
            )
            assert all("is outside the app's range" in note for note in result.plan.notes), result.plan.notes
    assert len(strict.seen) == 122
    for preset, sent in zip(presets, strict.seen, strict=True):
        expected = {"seed": 7, "batch_size": 1, **build_slots(preset["configuration"])}
        assert {name: sent[name] for name in expected} == pytest.approx(expected), preset["name"]


@pytest.mark.parametrize(
    ("settings", "model", "words"),
    [
        ({"steps": 0}, Z_IMAGE, "steps: must be from 1 to 150, got 0"),
        ({"width": 16384}, SD15, "width: must be from 128 to 8192, got 16384"),
        ({"originalImageWidth": 70_000}, XL, "originalImageWidth: must be from 0 to 65535, got 70000"),
        ({"tiledDecoding": True, "decodingTileWidth": 0}, SD15, "decodingTileWidth: must be from 64 to 8192, got 0"),
        ({"shift": 0}, KLEIN, "shift: must be above 0 and at most 100, got 0.0"),
    ],
)
async def test_a_number_that_the_model_reads_is_refused_with_preset_and_key(
    studio_at: Any, save_presets: Any, settings: dict[str, Any], model: dict[str, Any], words: str
) -> None:
    save_presets({"name": "Mine", "configuration": {"model": model["file"], **settings}})
    async with StrictServer([model]) as strict, studio_at(strict.address) as studio:
        with pytest.raises(InvalidInputError, match=rf"Preset 'Mine' in .*custom_configs\.json .*\({words}\)"):
            await studio.plan(GenerateParams(prompt="a fox", preset="Mine"))
        if "width" not in settings:  # a side of the call need not be a multiple of 64, and is checked before
            with pytest.raises(InvalidInputError, match=f"^configuration: {words}"):
                await studio.plan(GenerateParams(prompt="a fox", model=model["file"], configuration=settings))


async def test_numbers_that_the_model_does_not_read_are_noted_when_the_call_gives_them(studio_at: Any) -> None:
    call: dict[str, Any] = {"model": SD15["file"], "configuration": {"stage2Steps": 0, "originalImageWidth": 70_000}}
    async with StrictServer([SD15]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", **call))
    assert run.notes == (
        "original_image_width 70000, stage_2_steps 0: outside the app's range, but not read by this model.",
    )


async def test_a_preset_of_unusual_sharpness_is_named(studio_at: Any, save_presets: Any) -> None:
    save_presets({"name": "Mine", "configuration": {"model": SD15["file"], "sharpness": 200}})
    async with StrictServer([SD15]) as strict, studio_at(strict.address) as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", preset="Mine"))
    assert run.notes == ("preset 'Mine': sharpness 200 is outside the app's range; it is sent as it is",)


async def test_sides_of_the_call_that_cannot_be_pixels_are_units_of_64(studio_at: Any) -> None:
    call: dict[str, Any] = {"model": SD15["file"], "configuration": {"width": 8, "height": 6, "decodingTileWidth": 12}}
    async with StrictServer([SD15]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        await studio.generate(GenerateParams(prompt="a fox", **call))
    (sent,) = strict.seen
    assert (sent["start_width"], sent["start_height"], sent["decoding_tile_width"]) == (8, 6, 12)


async def test_what_a_newer_app_saved_is_named_and_the_rest_sent(studio_at: Any, save_presets: Any) -> None:
    newer = {"model": Z_IMAGE["file"], "clipSkip": 3, "futureKey": {"a": 1}, "sampler": 31, "seedMode": 9}
    save_presets({"name": "Mine", "configuration": newer})
    async with StrictServer([Z_IMAGE]) as strict, studio_at(strict.address) as studio:
        result = await studio.generate(GenerateParams(prompt="a fox", preset="Mine", configuration={"sharpnes": 3}))
    assert MCP.word(result.plan.notes[1]).endswith("not sent: “futureKey”, sampler 31, seedMode 9")
    assert result.plan.notes == (
        "configuration: not known here and not sent: “sharpnes” (did you mean 'sharpness'?)",
        "preset 'Mine': not known here and not sent: “futureKey”, sampler 31, seedMode 9",
    )
    (sent,) = strict.seen
    assert (sent["clip_skip"], sent["sampler"], sent["sharpness"], sent["seed_mode"]) == (3, 17, 0, 2)


async def test_settings_that_a_server_lists_are_read_like_a_preset(studio_at: Any) -> None:
    settings = {"steps": 9, "futureKey": 1, "stage2Steps": 0}
    new = {**Z_IMAGE, "name": "New", "file": "new_1_q8p.ckpt", "version": "new_1", "settings": settings}
    async with StrictServer([new]) as strict, studio_at(strict.address, custom_configs="none") as studio:
        run = await studio.plan(GenerateParams(prompt="a fox", model="new_1_q8p.ckpt"))
    assert run.configuration.steps == 9
    assert "preset 'of the server for New': not known here and not sent: “futureKey”" in run.notes
