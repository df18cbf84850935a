"""``generate`` and ``edit`` at the shell."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from drawthings_mcp.metadata.draw_things import DrawThingsMetadata
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.metadata.xmp import Packet, build_packet
from drawthings_mcp.simulator import Simulator
from tests.warm_start import list_command

pytestmark = pytest.mark.anyio


def server(simulator: Simulator) -> tuple[str, ...]:
    return "--server", simulator.address, "--tls", "off"


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "fox.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (192, 256, 3), np.uint8)).save(path)
    return str(path)


async def test_mode_family_and_preset_choose_the_settings(run: Any, picture: str) -> None:
    async with Simulator() as simulator:
        size = ("--size", "256x192", "--json", *server(simulator))
        drawn = await run("generate", "a fox", "--family", "flux", *size)
        redrawn = await run("generate", "a fox", "--mode", "image2image", "--canvas", picture, *size)
        named = await run("generate", "a fox", "--preset", "SDXL v1.0", *size)
        edited = await run("edit", picture, "make it night", "--family", "qwen-image", *size)
    found = [(o.document["mode"], o.document["family"], o.document["preset"]) for o in (drawn, redrawn, named, edited)]
    assert found == [
        ("text2image", "flux", "FLUX.2 [klein] 9B"),
        ("image2image", "z-image", "Z Image Turbo 1.0"),
        ("text2image", "sdxl", "SDXL v1.0"),
        ("edit", "qwen-image", "Qwen Image Edit 2511 with Lightning 4-Step v1.0"),
    ]


async def test_a_number_that_cannot_be_used_is_named_by_its_key_in_the_file_of_presets(
    run: Any, tmp_path: Path
) -> None:
    presets = tmp_path / "custom_configs.json"
    settings = {"model": "z_image_turbo_1.0_q8p.ckpt", "guidanceScale": 99, "stage2Steps": 0, "loras": [{"weight": 1}]}
    environment = {"DRAWTHINGS_CUSTOM_CONFIGS": str(presets)}
    async with Simulator() as simulator:
        options = ("generate", "a fox", "--preset", "Mine", "--size", "128", *server(simulator))
        presets.write_text(json.dumps([{"name": "Mine", "configuration": settings}]))
        refused = await run(*options, **environment)
        presets.write_text(json.dumps([{"name": "Mine", "configuration": {**settings, "guidanceScale": 1}}]))
        made = await run(*options, **environment)
    assert f"Preset 'Mine' in {presets} cannot be used (guidanceScale: must be from 0 to 50, got 99" in refused.stderr
    assert made.code == 0
    assert "preset 'Mine': not known here and not sent: a LoRA without a file" in made.stderr


async def test_a_dry_run_prints_settings_with_their_origins_and_renders_nothing(run: Any) -> None:
    async with Simulator() as simulator:
        plain = await run("generate", "a fox", "--steps", "9", "--dry-run", *server(simulator))
        document = json.loads((await run("generate", "a fox", "--dry-run", "--json", *server(simulator))).stdout)
    assert plain.code == 0
    assert "call: steps 9" in plain.stdout
    assert document["settings"]["steps"] == [8, "recipe Z Image Turbo 1.0"]
    assert not simulator.requests


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--family", "z-imgae"), "Did you mean 'z-image'"),
        (("--family", "flux", "--model", "x.ckpt"), "give one of them"),
        (("--mode", "redraw"), "'redraw'"),
        (("--format", "16x9"), "'16x9'"),
    ],
)
async def test_wrong_usage_is_reported_before_a_server_is_asked(
    invoke: Any, options: tuple[str, ...], words: str
) -> None:
    outcome = invoke("generate", "a fox", *options)
    assert outcome.code == 2
    assert words in outcome.stderr


async def _dry_run(run: Any, simulator: Simulator, *options: str) -> dict[str, Any]:
    outcome = await run("generate", "a fox", "--dry-run", "--json", *options, *server(simulator))
    assert outcome.code == 0, outcome.stderr
    document: dict[str, Any] = outcome.document
    return document


async def test_one_number_is_a_square_and_cfg_is_guidance(run: Any) -> None:
    async with Simulator() as simulator:
        document = await _dry_run(run, simulator, "--size", "768", "--cfg", "2.5")
    assert document["size"] == [768, 768]
    assert document["settings"]["guidanceScale"] == [2.5, "call"]


@pytest.mark.parametrize("browsing", [True, False])
async def test_names_that_people_type_are_understood(run: Any, browsing: bool) -> None:
    named = {
        ("--model", "stable diffusion xl"): ("sdxl", "sd_xl_base_1.0_f16.ckpt"),
        ("--family", "SDXL base"): ("sdxl", "sd_xl_base_1.0_f16.ckpt"),
        ("--model", "sd 1.5"): ("sd15", "sd_v1.5_f16.ckpt"),
        ("--model", "flux 2 klein"): ("flux", "flux_2_klein_9b_q6p.ckpt"),
        ("--family", "flux 2 klein 4b"): ("flux", "flux_2_klein_4b_q6p.ckpt"),
    }
    async with Simulator(model_browser=browsing) as simulator:
        documents = [await _dry_run(run, simulator, *options) for options in named]
    assert [(one["family"], one["model_file"]) for one in documents] == list(named.values())


async def test_an_upscaler_is_found_by_its_name(run: Any) -> None:
    async with Simulator() as simulator:
        configured = [
            await _dry_run(run, simulator, "--config", json.dumps({"upscaler": name}))
            for name in ("4x UltraSharp", "4x-ultrasharp", "4X_UltraSharp_f16")
        ]
    assert {one["settings"]["upscaler"][0] for one in configured} == {"4x_ultrasharp_f16.ckpt"}


async def test_an_upscaler_is_found_without_browsing(run: Any) -> None:
    async with Simulator(model_browser=False) as simulator:
        document = await _dry_run(run, simulator, "--config", '{"upscaler": "4x UltraSharp"}')
    assert document["settings"]["upscaler"][0] == "4x_ultrasharp_f16.ckpt"


async def test_a_sampler_is_understood_or_the_nearest_are_named(run: Any) -> None:
    async with Simulator() as simulator:
        document = await _dry_run(run, simulator, "--sampler", "unipc trailing")
        vague = await run("generate", "a fox", "--sampler", "DPM++ 2M", *server(simulator))
    assert document["sampler"] == "UniPC Trailing"
    assert vague.code != 0
    assert "Nearest: DPM++ 2M Karras, DPM++ 2M AYS, DPM++ 2M Trailing" in vague.stderr


def _write_lines(path: Path, *lines: object) -> str:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text(f"{text}\n", encoding="utf-8")
    return str(path)


class Batches:
    """Runs files of prompts into one folder."""

    def __init__(self, run: Any, folder: Path, simulator: Simulator) -> None:
        self._run, self._server = run, server(simulator)
        self.folder = folder / "batch"
        self.made: list[DrawThingsMetadata] = []

    async def __call__(self, file: str, *options: str) -> tuple[list[str], str]:
        """The prompts of the pictures that were made, and what was said."""
        fixed = ("--prefix", "animal", "--output-dir", str(self.folder), "--size", "128")
        outcome = await self._run("generate", "--prompt-file", file, *fixed, *options, *self._server)
        assert outcome.code == 0, outcome.stderr
        found = [read_metadata(Path(line)) for line in outcome.stdout.splitlines()]
        self.made = [one for one in found if one is not None]
        return [one.prompt for one in self.made], outcome.stderr

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


async def test_a_picture_is_there_when_its_prompt_and_settings_are_stored_in_it(run: Any, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        batch = Batches(run, tmp_path, simulator)
        first = _write_lines(tmp_path / "a.txt", "# animals", "a fox", "", "a hare")
        assert (await batch(first))[0] == ["a fox", "a hare"]
        assert batch.names == ["animal-002.png", "animal-004.png"]
        (batch.folder / "animal-004.png").rename(batch.folder / "animal of mine.png")
        changed = _write_lines(tmp_path / "b.txt", "a hare", "an owl", "a fox")
        rendered, said = await batch(changed)
        assert rendered == ["an owl"]  # its number was taken, so that it got the next one
        assert "animal of mine.png is there already, skipped" in said
        assert batch.names == ["animal of mine.png", "animal-002.png", "animal-004.png"]
        assert (await batch(changed, "--steps", "3"))[0] == ["a hare", "an owl", "a fox"]
        assert (await batch(changed, "--steps", "3"))[0] == []
        assert (await batch(changed))[0] == []


async def test_lines_of_json_have_settings_and_names_of_their_own(run: Any, tmp_path: Path) -> None:
    lines = _write_lines(
        tmp_path / "a.jsonl",
        {"prompt": "a fox\u2028in snow", "seed": 7, "steps": 3, "output": "sub/fox.png"},
        "# a comment",
        {"prompt": "a hare", "size": "192x128", "negative": "fog", "cfg": 1.5},
    )
    async with Simulator() as simulator:
        batch = Batches(run, tmp_path, simulator)
        assert len((await batch(lines, "--seed", "5"))[0]) == 2
        fox, hare = batch.made
        assert (await batch(lines, "--seed", "5"))[0] == []
        assert (await batch(lines, "--seed", "6"))[0] == ["a hare"]
        mixed = _write_lines(tmp_path / "b.txt", "an owl", {"prompt": "a hare", "output": "sub/fox.png"})
        rendered, said = await batch(mixed)
    assert (batch.folder / "sub" / "fox.png").is_file()
    assert [(one.seed, one.steps, one.size) for one in (fox, hare)] == [(7, 3, (128, 128)), (5, 8, (192, 128))]
    assert (hare.negative_prompt, hare.guidance_scale) == ("fog", 1.5)
    assert rendered == ["an owl", "a hare"]
    assert "fox.png exists already; the new picture became fox-2.png" in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{broken", "is no JSON: "),
        ({"prompt": "a fox", "step": 8}, "step: there is no such argument. Did you mean 'steps'"),
        ({"prompt": "a fox", "size": "wide"}, "'wide' is not a size; write it like 1024x768"),
        ({"prompt": "a fox", "steps": 999}, "steps: must be from 1 to 150, got 999"),
        ({"seed": 7}, "prompt: is required"),
        ({"prompt": " "}, "prompt: is empty"),
        ({"prompt": "a fox", "output": "fox.jpg"}, "end the name with .png, got 'fox.jpg'"),
        ({"prompt": "a fox", "canvas": "nowhere.png"}, "there is no file 'nowhere.png'"),
        ({"prompt": "a fox", "mask": 7}, "mask: must be text, got 7"),
        ({"prompt": "a fox", "hints": ["canny"]}, "write it like canny=edges.png@0.7"),
    ],
)
def test_a_wrong_line_is_named_with_its_file(invoke: Any, tmp_path: Path, line: object, words: str) -> None:
    file = _write_lines(tmp_path / "prompts.txt", "# first", "a hare", line)
    outcome = invoke("generate", "--prompt-file", file)
    assert outcome.code == 2
    assert f"{file}, line 3: " in outcome.stderr
    assert words in outcome.stderr


def test_a_line_of_a_jsonl_file_must_be_an_object(invoke: Any, tmp_path: Path) -> None:
    for line, words in (("a fox", "is no JSON"), ("[1]", "must be a JSON object")):
        outcome = invoke("generate", "--prompt-file", _write_lines(tmp_path / "a.jsonl", line))
        assert (outcome.code, words in outcome.stderr) == (2, True)


async def test_pictures_of_one_call_and_equal_lines_count_once(run: Any, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        batch = Batches(run, tmp_path, simulator)
        twice = _write_lines(tmp_path / "a.txt", "a fox", "a fox")
        assert len((await batch(twice, "--variants", "2"))[0]) == 4
        assert (await batch(twice, "--variants", "2"))[0] == []
        (batch.folder / "animal-001.png").unlink()
        (batch.folder / "animal-001-2.png").unlink()
        assert len((await batch(twice, "--variants", "2"))[0]) == 2


async def test_a_picture_without_our_record_counts_by_what_the_app_stores(run: Any, tmp_path: Path) -> None:
    comment = {
        "c": "a fox",
        "uc": "",
        "seed": 7,
        "steps": 8,
        "sampler": "UniPC Trailing",
        "size": "128x128",
        "scale": 1,
    }
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", build_packet(Packet(software="Draw Things", comment=json.dumps(comment))))
    (tmp_path / "batch").mkdir()
    Image.new("RGB", (128, 128)).save(tmp_path / "batch" / "animal from the app.png", pnginfo=info)
    (tmp_path / "batch" / "animal broken.png").write_bytes(b"\x89PNG")
    async with Simulator() as simulator:
        batch = Batches(run, tmp_path, simulator)
        file = _write_lines(tmp_path / "a.txt", "a fox")
        same = [(), ("--seed", "7", "--steps", "8", "--sampler", "unipc trailing", "--cfg", "1")]
        for options in same:
            assert (await batch(file, *options))[0] == []
        for options in (("--seed", "8"), ("--steps", "9"), ("--sampler", "lcm"), ("--size", "192")):
            assert (await batch(file, *options))[0] == ["a fox"]


async def test_an_existing_output_is_kept_and_the_new_name_is_said(run: Any, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        options = ("-o", str(tmp_path / "fox.png"), "--size", "128", *server(simulator))
        first = await run("generate", "a fox", *options)
        second = await run("generate", "a fox", *options)
    assert "exists already" not in first.stderr
    assert f"{tmp_path / 'fox.png'} exists already; the new picture became fox-2.png" in second.stderr
    assert second.stdout.strip() == str(tmp_path / "fox-2.png")


async def test_the_bar_says_which_of_how_many(folders: Any, tmp_path: Path) -> None:
    file = _write_lines(tmp_path / "a.txt", "a fox", "a hare")
    terminal, stderr = os.openpty()
    async with Simulator(step_seconds=0.05) as simulator:
        options = ("--prompt-file", file, "--output-dir", str(tmp_path), "--size", "128", *server(simulator))
        command = list_command("-m", "drawthings_mcp", "generate", *options)
        with anyio.fail_after(60):
            environment = {"HOME": os.environ["HOME"], "TERM": "xterm", **folders}
            await anyio.run_process(command, env=environment, stderr=stderr)
    os.close(stderr)
    said = os.read(terminal, 1 << 20).decode()
    os.close(terminal)
    assert "1 of 2: " in said
    assert "2 of 2: " in said


async def test_values_and_prompts_are_tried_at_the_shell(run: Any, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        small = ("--size", "128", *server(simulator))
        swept = await run("generate", "a fox", "--sweep", "cfg=1,4", "--sweep", "steps=[2, 3]", "--json", *small)
        models = await run("generate", "a fox", "--sweep", "model=z-image,sd_v1.5_f16.ckpt", *small)
        panels = await run(
            *("generate", "--prompts", "a fox, asleep", "--prompts", "a fox runs", "--steps", "1"),
            *("-o", str(tmp_path / "panel.png"), *small),
        )
        refused = await run("generate", "a fox", "--sweep", "steps=2,x", *small)
        unread = await run("generate", "a fox", "--sweep", "steps", *small)
        nothing = await run("generate", *small)
    document = swept.document
    assert [image["id"] for image in document["images"]] == ["v1", "v2", "v3", "v4"]
    assert len({image["seed"] for image in document["images"]}) == 1
    values = [tuple(image["values"].items()) for image in document["images"]]
    cells = [(guidance, steps) for steps in "23" for guidance in "14"]
    assert values == [(("guidance_scale", guidance), ("steps", steps)) for guidance, steps in cells]
    assert "ckpt, " not in models.stderr.splitlines()[-1], "what differs is not said as if all had it"
    assert Path(document["sheet"]["path"]).is_file()
    *pictures, sheet = panels.stdout.splitlines()
    assert pictures == [str(tmp_path / "panel.png"), str(tmp_path / "panel-2.png")]
    assert Path(sheet).name == "i3_contact_sheet.png"
    assert "the last file is a sheet of them: 2 prompts in turn" in panels.stderr
    assert (refused.code, unread.code, nothing.code) == (2, 2, 2)
    assert "--sweep: --steps: must be a whole number, got “x”" in refused.stderr
    assert "write it like steps=4,8,16" in unread.stderr
    assert "give a PROMPT, --prompt-file, --prompts or --settings-from" in nothing.stderr


async def test_files_are_numbered_in_the_order_of_the_call_however_long_each_takes(run: Any, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        made = await run(
            *("generate", "a fox", "--steps", "1", "--sweep", "width=2048,128", "--sweep", "height=2048,128"),
            *("-o", str(tmp_path / "fox.png"), *server(simulator)),
        )
    paths = made.stdout.splitlines()[:4]
    assert paths == [str(tmp_path / f"fox{number}.png") for number in ("", "-2", "-3", "-4")]
    sizes = []
    for path in paths:
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes == [(2048, 2048), (128, 2048), (2048, 128), (128, 128)]


async def test_a_line_of_a_file_is_for_one_picture(run: Any, tmp_path: Path) -> None:
    calls = tmp_path / "calls.jsonl"
    calls.write_text('{"prompt": "a fox", "sweep": {"steps": [1, 2]}}\n')
    outcome = await run("generate", "--prompt-file", str(calls))
    assert outcome.code == 2
    assert "line 1: sweep and prompts make many pictures" in outcome.stderr


async def test_of_several_servers_the_one_that_rendered_is_named(run: Any) -> None:
    async with Simulator() as simulator:
        servers = f"127.0.0.1:1,{simulator.address}"
        several = await run("generate", "a fox", "--size", "128x128", "--server", servers, "--tls", "off")
        alone = await run("generate", "a fox", "--size", "128x128", "--server", simulator.address, "--tls", "off")
    assert f" s on {simulator.address}, simulated" in several.stderr
    assert " s, simulated" in alone.stderr
