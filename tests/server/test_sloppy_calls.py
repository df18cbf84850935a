"""What small models write: each call is taken as it is meant, or its error leads to one that is."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, TextContent

pytestmark = pytest.mark.anyio

G = "generate_image"
DRY = {"prompt": "x", "dry_run": True}
T = "transform_image"
UPSCALE = {"operation": "upscale", "images": "v1"}
CROP = {"operation": "crop", "images": "v1"}
EDIT = {**DRY, "canvas": "v1"}

UNDERSTOOD: list[tuple[str, dict[str, Any], str]] = [
    (G, {**DRY, "image_format": "16x9"}, "size 1344×768"),
    (G, {**DRY, "image_format": "16 / 9"}, "size 1344×768"),
    (G, {**DRY, "image_format": "wide"}, "size 1280×832"),
    (G, {**DRY, "image_format": "Vertical"}, "size 832×1280"),
    (G, {**DRY, "image_format": "1:1"}, "size 1024×1024"),
    (G, {**DRY, "image_format": "1024x768"}, "size 1024×768"),
    (G, {**DRY, "width": "768px", "height": "512 pixels"}, "size 768×512"),
    (G, {**DRY, "width": 0, "height": 0}, "size 1024×1024"),
    (G, {**DRY, "width": "1,024", "height": "1024.0"}, "size 1024×1024"),
    (G, {**DRY, "width": "auto"}, "size 1024×1024"),
    (G, {**DRY, "guidance_scale": "7,5"}, "guidanceScale 7.5"),
    (G, {**DRY, "steps": "12 steps"}, "steps 12"),
    (G, {**DRY, "steps": "default"}, "steps 8"),
    (G, {**DRY, "mode": "txt2img"}, "text2image with"),
    (G, {**DRY, "sweep": {"steps": ["default", "12 steps"]}}, "dry run"),
    (G, {**DRY, "sweep": {"cfg": "1,4"}}, "2 pictures, guidance_scale 1, 4"),
    (G, {**DRY, "sweep": "steps: 4, 8; seed=[1,2]"}, "4 pictures, steps 4, 8 across; seed 1, 2 down"),
    (G, {**DRY, "sweep": [{"steps": [4, 8]}, {"seed": [1, 2]}]}, "4 pictures, steps 4, 8 across; seed 1, 2 down"),
    (G, {**DRY, "prompt": ["x"]}, "text2image with"),
    (G, {**DRY, "prompt": ["x", "y"]}, "2 pictures, 2 prompts in turn"),
    (G, {"prompts": ["x"], "dry_run": True}, "text2image with"),
    (G, {"prompts": "x\ny\nz", "dry_run": True}, "3 pictures, 3 prompts in turn"),
    (G, {**EDIT, "mode": "img2img"}, "image2image with"),
    (G, {**EDIT, "mode": "Image-to-Image", "strength": "40%"}, "strength 0.4"),
    (G, {**DRY, "seed": "random"}, "dry run"),
    (G, {**DRY, "seed": "42"}, "seed 42"),
    (G, {**DRY, "variants": "2 images"}, "batchCount 2"),
    (G, {**DRY, "prompt": 42}, "dry run"),
    (G, {**DRY, "preview": False}, "dry run"),
    (G, {**DRY, "dry_run": "yes"}, "dry run"),
    (G, {**DRY, "sampler": "euler a trailing"}, "sampler Euler A Trailing"),
    (G, {**DRY, "model": "Z Image"}, "z_image_turbo"),
    (G, {**DRY, "loras": ["<lora:papercut_sdxl_lora_f16.ckpt:0.5>"], "model": "sdxl"}, "papercut_sdxl_lora_f16.ckpt"),
    (G, {**DRY, "loras": ["papercut_sdxl_lora_f16.ckpt:0.5"], "model": "sdxl"}, "papercut_sdxl_lora_f16.ckpt"),
    (G, {**DRY, "loras": "papercut@0.5", "model": "sdxl"}, "papercut_sdxl_lora_f16.ckpt"),
    (G, {**DRY, "loras": [{"name": "papercut_sdxl_lora_f16.ckpt", "weight": 0.5}], "model": "sdxl"}, "0.5"),
    (G, {**DRY, "canvas": "V 1"}, "edit with"),
    (G, {**DRY, "canvas": "last"}, "edit with"),
    (G, {**DRY, "canvas": "the latest image"}, "edit with"),
    (G, {**DRY, "moodboard": "v1 and V2"}, "edit with"),
    (G, {**DRY, "mask": "none", "negative_prompt": None}, "text2image with"),
    ("tag_image", {"images": "v1", "add": "best, blue"}, "v1: best, blue"),
    ("tag_image", {"images": "v1", "rating": "5 stars"}, "rating:5"),
    ("list_models", {"kind": "LoRA"}, "papercut"),
    ("list_models", {"kind": "guide", "query": "inpainting"}, "# Prompting inpaint"),
    ("list_models", {"kind": "guides", "query": "poster"}, "# Prompting text2image"),
    ("review_image", {"images": "v1, v2"}, "v2"),
    (T, {"operation": "Contact sheet", "images": "v1,v2"}, "contact_sheet of v1 v2"),
    (T, {"operation": "sheet", "images": "v1,v2", "labels": "one, two"}, "contact_sheet of v1 v2"),
    (T, {"operation": "sheet", "images": "v1,v2", "labels": "none"}, "contact_sheet of v1 v2"),
    (T, {"operation": "upscale", "images": "v1", "long_edge": " A6 "}, "1748×1748"),
    (T, {**UPSCALE, "columns": 2}, "note: upscale does not use columns"),
    (T, {"operation": "save", "images": "v1", "long_edge": 64}, "note: export does not use long_edge"),
    (T, {"operation": "resize", "images": "v1", "long_edge": 64, "filename": "a"}, "resize does not use filename"),
    ("search_images", {"query": 42, "limit": "5 images"}, "Nothing was found"),
]
CORRECTED: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    (G, {**DRY, "canvas": "v1,v2"}, "give “v1” here and “v2” as moodboard", {**EDIT, "moodboard": ["v2"]}),
    (G, {**DRY, "model": "best for posters"}, "Which for what: call list_models.", {**DRY, "model": "auto"}),
    (G, {**DRY, "cfg": 3}, "Did you mean guidance_scale?", {**DRY, "guidance_scale": 3}),
    (G, {**DRY, "size": "1024x768"}, "Did you mean width or height?", {**DRY, "width": 1024, "height": 768}),
    (G, {**DRY, "image": "v1"}, "Did you mean canvas?", EDIT),
    (G, {**DRY, "stepz": 8}, "Did you mean 'steps'", {**DRY, "steps": 8}),
    (G, {**DRY, "mode": "inpaint", "canvas": "v1"}, "use mode edit", {**EDIT, "mode": "edit"}),
    (G, {**EDIT, "strength": 60}, "must be from 0 to 1", {**EDIT, "strength": 0.6}),
    (G, {**DRY, "canvas": "v77"}, "the nearest are v4, v3, v2", EDIT),
    (T, {**UPSCALE, "print": "a7"}, "Did you mean long_edge?", {**UPSCALE, "long_edge": 256}),
    (T, {**CROP, "boxes": [0.5, 0, 1.2, 1]}, "0 to 1 as shares", {**CROP, "boxes": [0.5, 0, 1, 1]}),
    (T, {**UPSCALE, "width": 256}, "long_edge: upscale takes long_edge; the shape", {**UPSCALE, "long_edge": 256}),
    ("review_image", {"image": "v1"}, "Did you mean images?", {"images": ["v1"]}),
    ("search_images", {"text": "x"}, "Did you mean query?", {"query": "x"}),
    ("tag_image", {"images": "v1", "rating": 7}, "must be from 0 to 5", {"images": "v1", "rating": 5}),
    ("search_images", {"limit": 100}, "must be from 1 to 25", {"limit": 25}),
]


async def call(client: Client, tool: str, arguments: dict[str, Any]) -> tuple[CallToolResult, str]:
    with anyio.fail_after(60):
        result = await client.call_tool(tool, arguments)
    first = result.content[0]
    assert isinstance(first, TextContent)
    return result, first.text


async def test_sloppy_calls_are_understood_or_succeed_with_one_more_call(in_process: Any) -> None:
    assert len(UNDERSTOOD) + len(CORRECTED) >= 40
    async with in_process(server="demo") as client:
        await call(client, G, {"prompt": "x", "width": 128, "height": 128, "variants": 2})
        for tool, arguments, words in UNDERSTOOD:
            result, text = await call(client, tool, arguments)
            assert not result.is_error, (arguments, text)
            assert words in text, (arguments, text)
        for tool, arguments, words, better in CORRECTED:
            result, text = await call(client, tool, arguments)
            assert result.is_error, (arguments, text)
            assert words in text, (arguments, text)
            assert len(text) < 300
            result, text = await call(client, tool, better)
            assert not result.is_error, (better, text)


async def test_a_job_that_was_never_handed_out_is_unknown(in_process: Any) -> None:
    async with in_process(server="demo") as client:
        await call(client, G, {"prompt": "x", "width": 128, "height": 128})
        named, said = await call(client, "get_job", {"job": "j1"})
        newest, nothing = await call(client, "get_job", {})
    assert named.is_error
    assert newest.is_error
    assert said.startswith("There is no job “j1” in this session. None is running.")
    assert nothing.startswith("No render was handed back as a job. None is running.")
