"""Draw Things' dialect: written as the app writes it, read as leniently as the app reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import (
    ControlMode,
    ControlNetConfig,
    ImageGenerationConfig,
    LoRAConfig,
    LoRAMode,
    ResultImage,
    SamplerType,
    SeedMode,
)
from drawthings_mcp.metadata.draw_things import DrawThingsMetadata, build_metadata
from drawthings_mcp.metadata.draw_things_keys import ModelKind, find_sampler
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.metadata.xmp import Packet, build_packet, parse_packet
from drawthings_mcp.tensors.png import encode_png

MakeImage = Callable[..., ResultImage]
MakePng = Callable[..., Path]
CREATED = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


def _text_chunk(packet: str) -> tuple[bytes, bytes]:
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet.encode("utf-8", "surrogatepass")


def _write(path: Path, image: ResultImage, **options: Any) -> DrawThingsMetadata:
    path.write_bytes(encode_png(image.pixels, build_metadata(image, **options)))
    metadata = read_metadata(path)
    assert metadata is not None
    return metadata


def _comment(image: ResultImage, kind: ModelKind | None = None) -> dict[str, Any]:
    comment: dict[str, Any] = json.loads(parse_packet(build_metadata(image, kind=kind)).comment)
    return comment


def test_the_packet_equals_the_apps_but_for_what_it_adds(make_image: MakeImage, golden: Path) -> None:
    app = (golden / "example.xmp").read_text()
    shown = json.loads(parse_packet(app).comment)
    written = build_metadata(make_image())
    comment = json.loads(parse_packet(written).comment)
    assert comment.keys() - shown.keys() == {"drawthings_mcp"}
    shortened = {key: comment[key] for key in shown} | {"v2": {key: comment["v2"][key] for key in shown["v2"]}}
    compact = json.dumps(shortened, sort_keys=True, separators=(",", ":")).replace("<", "&lt;")
    start, end = written.index('{"c"'), written.rindex("}") + 1
    assert written[:start] + compact + written[end:] == app


def test_the_apps_packet_is_read_whole(make_png: MakePng, golden: Path) -> None:
    metadata = read_metadata(make_png(_text_chunk((golden / "example.xmp").read_text())))
    assert metadata is not None
    assert metadata == DrawThingsMetadata(
        prompt="a red fox < in snow",
        negative_prompt="blurry",
        model="z_image_turbo_1.0_q6p.ckpt",
        seed=1234567890,
        steps=8,
        sampler="UniPC Trailing",
        guidance_scale=1.0,
        size=(1024, 1024),
        loras=(LoRAConfig(file="my_style_lora_f16.ckpt", weight=0.6),),
        configuration=ImageGenerationConfig(
            model="z_image_turbo_1.0_q6p.ckpt",
            seed=1234567890,
            steps=8,
            guidance_scale=1.0,
            sampler=SamplerType.UniPCTrailing,
            shift=3.0,
            loras=(LoRAConfig(file="my_style_lora_f16.ckpt", weight=0.6),),
        ),
        software="Draw Things",
        raw=metadata.raw,
    )
    assert metadata.raw["lora"][0]["weight"] == 0.6000000238418579


def test_a_recorded_file_stays_readable(golden: Path, make_image: MakeImage) -> None:
    metadata = read_metadata(golden / "written.png")
    assert metadata is not None
    image = make_image(prompt="ein Fuchs & <Schnee>\n🦊", width=1024, height=768)
    assert (metadata.prompt, metadata.negative_prompt) == (image.prompt, image.negative_prompt)
    assert metadata.configuration == image.configuration
    assert metadata.record == {
        "version": "0.1.0",
        "server": "mac.local:7859",
        "created": "2026-11-20T08:30:00+00:00",
        "simulated": True,
        "size": "8x6",
        "requested_size": "1000x750",
        "mode": "text2image",
    }
    with Image.open(golden / "written.png") as picture:
        assert np.array_equal(np.asarray(picture), image.pixels)


@pytest.mark.parametrize(
    "prompt",
    [
        "<&>\"'",
        "two\nlines\r\nand a\ttab",
        "]]> <![CDATA[ x ]]> &amp; &#xA;",
        "<!DOCTYPE html><!ENTITY a>",
        "emoji 🦊🏽‍♀️ 狐狸 \u202e right to left",
        "control \x00\x01\x07\x1b\x7f\x85 characters",
        "no characters \ufffe\uffff",
        "-starts with a dash\nSteps: 3, Sampler: none",
        '{"c": "not this"}',
        "</exif:UserComment></rdf:li>",
        "x" * 10_000,
        "",
    ],
)
def test_any_prompt_survives(make_image: MakeImage, tmp_path: Path, prompt: str) -> None:
    metadata = _write(tmp_path / "a.png", make_image(prompt=prompt, negative_prompt=prompt))
    assert metadata.prompt == prompt
    assert metadata.negative_prompt == prompt
    assert metadata.configuration is not None


def test_half_a_surrogate_pair_is_replaced(make_image: MakeImage, tmp_path: Path) -> None:
    assert _write(tmp_path / "a.png", make_image(prompt="a\ud83eb")).prompt == "a\ufffdb"


def test_prompts_are_trimmed_as_in_the_app(make_image: MakeImage, tmp_path: Path) -> None:
    metadata = _write(tmp_path / "a.png", make_image(prompt="  fox \n", negative_prompt=" blurry "))
    assert (metadata.prompt, metadata.negative_prompt) == ("fox", "blurry")


def test_a_configuration_survives_with_every_part(make_image: MakeImage, tmp_path: Path) -> None:
    image = make_image(
        width=1216,
        height=832,
        strength=0.35,
        seed_mode=SeedMode.NvidiaGpuCompatible,
        loras=[
            LoRAConfig(file="a.ckpt", weight=-0.3, mode=LoRAMode.Base),
            LoRAConfig(file="b.ckpt", weight=1.1, mode=LoRAMode.Refiner),
        ],
        controls=[ControlNetConfig(file="c.ckpt", weight=0.7, control_mode=ControlMode.Control, target_blocks=("x",))],
        hires_fix=True,
        refiner_model="refiner.ckpt",
        tea_cache=True,
        tea_cache_threshold=0.1,
        causal_inference_enabled=True,
        causal_inference=4,
    )
    assert _write(tmp_path / "a.png", image).configuration == image.configuration


def test_a_simulated_picture_says_so(make_image: MakeImage, tmp_path: Path) -> None:
    simulated = _write(tmp_path / "a.png", replace(make_image(), simulated=True))
    assert simulated.is_simulated
    assert simulated.software == "Draw Things (simulated)"
    assert simulated.record["simulated"] is True
    real = _write(tmp_path / "b.png", make_image())
    assert not real.is_simulated
    assert real.software == "Draw Things"


def test_the_record_keeps_what_the_caller_adds(make_image: MakeImage, tmp_path: Path) -> None:
    metadata = _write(tmp_path / "a.png", make_image(), server="h:1", extra={"mode": "edit", "seconds": 1.25})
    assert metadata.record["mode"] == "edit"
    assert metadata.record["seconds"] == 1.25
    assert metadata.record["server"] == "h:1"


def test_a_picture_whose_seed_is_unknown_is_refused(make_image: MakeImage) -> None:
    with pytest.raises(InvalidInputError, match="seed"):
        build_metadata(make_image(seed=-1))


ALWAYS = {
    *("c", "uc", "model", "sampler", "scale", "seed", "seed_mode", "size", "steps", "strength", "lora", "v2"),
    "drawthings_mcp",
}
PLAIN: dict[str, Any] = {"shift": 1.0, "mask_blur": 0.0, "loras": ()}
SDXL = ModelKind(version="sdxl_base_v0.9")


@pytest.mark.parametrize(
    ("fields", "kind", "keys"),
    [
        ({}, None, {}),
        ({"upscaler": "up.ckpt"}, None, {"upscaler": "up.ckpt"}),
        ({"shift": 2.5}, None, {"shift": 2.5}),
        ({"clip_skip": 2}, None, {"clip_skip": 2}),
        ({"sharpness": 2.0}, None, {"sharpness": 2}),
        ({"mask_blur": 0.1}, None, {"mask_blur": 0.10000000149011612}),
        ({"mask_blur_outset": -4}, None, {"mask_blur_outset": -4}),
        ({}, ModelKind(modifier="editing"), {"image_guidance": 1.5}),
        (
            {"hires_fix": True, "hires_fix_width": 512},
            None,
            {"hires_fix": True, "first_stage_size": "512x448", "second_stage_strength": 0.699999988079071},
        ),
        (
            {"refiner_model": "r.ckpt", "refiner_start": 0.5},
            None,
            {"refiner": "r.ckpt", "refiner_start": 0.5},
        ),
        (
            {"width": 1152, "height": 896, "original_image_width": 640, "crop_top": 5},
            SDXL,
            {
                "target_size": "1152x896",
                "original_size": "640x896",
                "negative_original_size": "640x896",
                "crop_top": 5,
                "crop_left": 0,
                "aesthetic_score": 6,
                "negative_aesthetic_score": 2.5,
                "zero_negative_prompt": False,
            },
        ),
        (
            {},
            ModelKind(version="kandinsky2.1"),
            {"clip_weight": 1, "image_prior_steps": 5, "negative_prompt_for_image_prior": True},
        ),
        ({"expand_prompt_to_json": True}, ModelKind(version="ideogram_4"), {"expand_prompt_to_json": True}),
        (
            {},
            ModelKind(version="wurstchen_v3.0_stage_c"),
            {"stage_2_steps": 10, "stage_2_guidance": 1, "stage_2_shift": 1},
        ),
        ({}, ModelKind(version="hunyuan_video"), {"num_frames": 14}),
        (
            {},
            ModelKind(version="svd_i2v"),
            {"num_frames": 14, "fps": 5, "motion_scale": 127, "cond_aug": 0.019999999552965164, "min_cfg": 1},
        ),
        (
            {"tiled_decoding": True},
            None,
            {
                "tiled_decoding": True,
                "decoding_tile_width": 640,
                "decoding_tile_height": 640,
                "decoding_tile_overlap": 128,
            },
        ),
        ({"tiled_diffusion": True}, None, {}),  # one tile covers the canvas
        (
            {"tiled_diffusion": True, "width": 2048},
            None,
            {
                "tiled_diffusion": True,
                "diffusion_tile_width": 1024,
                "diffusion_tile_height": 1024,
                "diffusion_tile_overlap": 128,
            },
        ),
        (
            {"tea_cache": True},
            None,
            {
                "tea_cache": True,
                "tea_cache_start": 5,
                "tea_cache_end": -1,
                "tea_cache_threshold": 0.05999999865889549,
                "tea_cache_max_skip_steps": 3,
            },
        ),
        ({"causal_inference_enabled": True, "causal_inference": 7}, None, {"causal_inference": 7}),
        ({"sampler": "TCD Trailing"}, None, {"stochastic_sampling_gamma": 0.30000001192092896}),
        (
            {"controls": [ControlNetConfig(file="c.ckpt", weight=0.5)]},
            None,
            {
                "control": [
                    {
                        "file": "c.ckpt",
                        "weight": 0.5,
                        "no_prompt": False,
                        "guidance_start": 0,
                        "guidance_end": 1,
                        "global_average_pooling": True,
                    }
                ]
            },
        ),
    ],
)
def test_each_key_is_written_when_it_applies(
    make_image: MakeImage, fields: dict[str, Any], kind: ModelKind | None, keys: dict[str, Any]
) -> None:
    image = make_image(**{**PLAIN, **fields})
    comment = _comment(image, kind)
    assert comment.keys() >= ALWAYS
    assert {key: value for key, value in comment.items() if key not in ALWAYS} == keys


def test_the_text_for_people_tells_all_that_applies(make_image: MakeImage) -> None:
    image = make_image(
        prompt="a fox",
        negative_prompt="",
        refiner_model="r.ckpt",
        tiled_decoding=True,
        loras=[LoRAConfig(file="a.ckpt", weight=1.0), LoRAConfig(file="b.ckpt", weight=0.35)],
    )
    assert parse_packet(build_metadata(image)).description == (
        "a fox\n"
        "Steps: 8, Sampler: UniPC Trailing, Guidance Scale: 1.0, Seed: 1234567890, Size: 1024x1024, "
        "Model: z_image_turbo_1.0_q6p.ckpt, Strength: 1.0, Seed Mode: Scale Alike, Shift: 3.0, "
        "Refiner: r.ckpt, Refiner Start: 85.0%, Tiled Decoding Enabled: 640x640 [128], "
        "LoRA 1 Model: a.ckpt, LoRA 1 Weight: 1.0, LoRA 2 Model: b.ckpt, LoRA 2 Weight: 0.35"
    )


def test_the_text_alone_is_read_as_a_last_resort(make_image: MakeImage, make_png: MakePng) -> None:
    prompt = "a fox, Sampler: not this\n- in a list\nSteps: none"
    image = make_image(prompt=prompt, negative_prompt="blurry, dull", hires_fix=True)
    text = parse_packet(build_metadata(image)).description
    metadata = read_metadata(make_png(_text_chunk(build_packet(Packet("Draw Things", text)))))
    assert metadata is not None
    assert (metadata.prompt, metadata.negative_prompt) == (prompt, "blurry, dull")
    assert (metadata.seed, metadata.steps, metadata.size) == (1234567890, 8, (1024, 1024))
    assert metadata.loras == image.configuration.loras
    assert metadata.configuration is not None
    assert metadata.configuration.hires_fix
    assert metadata.configuration.shift == 3.0


@pytest.mark.parametrize("text", ["a holiday photo", "notes\nSteps: walk, then run", "x\nSteps: 3, Sampler: y"])
def test_a_description_of_something_else_is_not_taken_for_parameters(make_png: MakePng, text: str) -> None:
    assert read_metadata(make_png(_text_chunk(build_packet(Packet("Other", text))))) is None


@pytest.mark.parametrize("comment", ["", "{", "[1]", '"c"', "{}", '{"c": 3}', '{"d": "x"}', "[" * 100_000])
def test_a_comment_of_something_else_is_not_taken_for_this_dialect(make_png: MakePng, comment: str) -> None:
    assert read_metadata(make_png(_text_chunk(build_packet(Packet("Other", "", comment))))) is None


def test_json_without_escapes_is_read(make_png: MakePng) -> None:
    raw = '{"c":"if a < b && c > d","uc":"","steps":4,"lora":[]}'
    packet = build_packet(Packet("Draw Things", "", "HERE")).replace("HERE", raw)
    metadata = read_metadata(make_png(_text_chunk(packet)))
    assert metadata is not None
    assert (metadata.prompt, metadata.steps) == ("if a < b && c > d", 4)


def test_short_keys_win_over_the_whole_configuration(make_png: MakePng) -> None:
    comment = json.dumps({"c": "x", "steps": 4, "size": "1000x768", "v2": {"steps": 30, "width": 512, "shift": 2}})
    metadata = read_metadata(make_png(_text_chunk(build_packet(Packet(comment=comment)))))
    assert metadata is not None
    assert metadata.size == (1000, 768)
    assert metadata.configuration is not None
    assert (metadata.configuration.steps, metadata.configuration.shift) == (4, 2.0)
    assert (metadata.configuration.width, metadata.configuration.height) == (960, 768)


def test_what_is_not_stated_is_not_invented(make_png: MakePng) -> None:
    metadata = read_metadata(make_png(_text_chunk(build_packet(Packet(comment='{"c":"x"}')))))
    assert metadata == DrawThingsMetadata(prompt="x", raw={"c": "x"})


@pytest.mark.parametrize(
    "broken",
    [
        {"seed": -1, "steps": "many", "scale": None, "sampler": 17, "lora": "x", "size": [1], "model": 3},
        {"seed": 2**32, "steps": 1.5, "scale": float("nan"), "lora": [{"model": "a"}, 3, None], "size": "x"},
        {"uc": 3, "v2": [], "drawthings_mcp": "x", "control": [{}], "hires_fix": "yes"},
        {"v2": {"loras": 3}},
        {"v2": {"seed": -1}},
    ],
)
def test_values_that_make_no_sense_are_left_out(make_png: MakePng, broken: dict[str, Any]) -> None:
    comment = json.dumps({"c": "x", **broken})
    metadata = read_metadata(make_png(_text_chunk(build_packet(Packet(comment=comment)))))
    assert metadata is not None
    assert metadata.prompt == "x"
    assert (metadata.seed, metadata.steps, metadata.guidance_scale, metadata.size) == (None, None, None, None)
    assert (metadata.loras, metadata.record, metadata.negative_prompt, metadata.model) == ((), {}, "", "")


def test_values_outside_the_user_interface_are_kept_and_unsendable_ones_left_out(make_png: MakePng) -> None:
    whole = {"stage2Steps": 0, "sharpness": 200, "numFrames": -3, "futureKey": 1, "stepz": 2}
    lora = {"model": "l.ckpt", "weight": 40, "mode": "all"}
    comment = json.dumps({"c": "x", "steps": 1000, "seed": 5, "clip_skip": -1, "lora": [lora], "v2": whole})
    path = make_png(_text_chunk(build_packet(Packet(comment=comment))))
    metadata = read_metadata(str(path))
    assert metadata is not None
    assert metadata == read_metadata(path)
    assert (metadata.steps, metadata.seed) == (1000, 5)
    found = metadata.configuration
    assert found is not None
    assert (found.steps, found.stage_2_steps, found.sharpness, found.loras[0].weight) == (1000, 0, 200, 40)
    assert (found.num_frames, found.clip_skip) == (14, 1)
    assert metadata.unknown == ("“futureKey”", "“stepz” (did you mean 'steps'?)", "numFrames -3")
    assert metadata.raw["v2"]["futureKey"] == 1


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
def test_the_packet_is_read_from_other_formats(make_image: MakeImage, tmp_path: Path, file_format: str) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (4, 4)).save(path, file_format, xmp=build_metadata(make_image()).encode())
    metadata = read_metadata(path)
    assert metadata is not None
    assert metadata.prompt == "a red fox < in snow"


@pytest.mark.parametrize("coded", [b"ASCII\0\0\0%s", b"\0\0\0\0\0\0\0\0%s", b"%s"])
def test_the_json_is_read_from_exif(tmp_path: Path, coded: bytes) -> None:
    self_made = Image.Exif()
    self_made.get_ifd(0x8769)[0x9286] = coded % '{"c":"狐"}'.encode()
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=self_made)
    metadata = read_metadata(tmp_path / "a.jpg")
    assert metadata is not None
    assert metadata.prompt == "狐"


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
def test_the_json_is_read_from_exif_in_png_in_any_byte_order(make_png: MakePng, encoding: str) -> None:
    self_made = Image.Exif()
    self_made.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + '{"c":"fox"}'.encode(encoding)
    metadata = read_metadata(make_png((b"eXIf", self_made.tobytes()[6:])))
    assert metadata is not None
    assert metadata.prompt == "fox"


# Pillow also warns of it.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_says_nothing(make_png: MakePng) -> None:
    assert read_metadata(make_png((b"eXIf", b"MM\0*\xff\xff\xff\xff rubbish"))) is None


@pytest.mark.parametrize("sampler", SamplerType)
def test_every_sampler_is_read_by_its_display_name(sampler: SamplerType) -> None:
    assert find_sampler(sampler.display_name) is sampler


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("dpm++ sde (trailing)", SamplerType.DPMPPSDETrailing),
        ("DPM2 a", SamplerType.DPMPP2MKarras),
        ("Euler", SamplerType.EulerA),
        ("ddim_uniform", SamplerType.DDIM),
        ("Heun", None),
    ],
)
def test_samplers_of_other_tools_are_read_leniently(name: str, sampler: SamplerType | None) -> None:
    assert find_sampler(name) is sampler
