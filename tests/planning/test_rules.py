"""Each rule on a request that breaks it, and on the nearest one that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from drawthings_mcp.catalog import Catalog, LoRA, Model, ServerInventory
from drawthings_mcp.errors import InvalidImageError, InvalidInputError, UnknownNameError
from drawthings_mcp.generation import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlNetConfig,
    GenerationRequest,
    Hint,
    HintTensor,
    HintType,
    ImageGenerationConfig,
    LoRAConfig,
    LoRAMode,
    SamplerType,
)
from drawthings_mcp.planning.compose import compose as compose_plan
from drawthings_mcp.planning.guard import RULES, list_warnings
from drawthings_mcp.planning.rules import controls, files, pictures, ranges, sampling, video
from tests.planning.checks import check_request

Z_IMAGE = "z_image_turbo_1.0_q8p.ckpt"
KONTEXT = "flux_1_kontext_dev_q8p.ckpt"
FLUX = "flux_1_dev_q8p.ckpt"
KLEIN = "flux_2_klein_9b_q8p.ckpt"
QWEN = "qwen_image_2512_bf16_q8p.ckpt"
LIGHTNING = "qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt"
SD = "sd_v1.5_f16.ckpt"
KANDINSKY = "kandinsky_f16.ckpt"
SVD = "svd_i2v_xt_1.1_q6p_q8p.ckpt"
QWEN_21 = "qwen_image_2.1_q8p.ckpt"
FL2VA = "minimax_h3_fl2va_q8p.ckpt"
REF2VA = "minimax_h3_ref2va_q8p.ckpt"
WAN = "wan_v2.1_1.3b_480p_q8p.ckpt"
CANNY = "controlnet_canny_1.x_v1.1_f16.ckpt"
DEPTH = "controlnet_depth_1.x_v1.1_f16.ckpt"
CANVAS = np.tile(np.arange(128, dtype=np.uint8)[:, None, None], (1, 128, 3))
MASK = np.where(np.arange(128) < 64, np.uint8(255), np.uint8(0))[:, None].repeat(128, axis=1)


def control(file: str, **settings: Any) -> dict[str, Any]:
    return {"controls": (ControlNetConfig(file=file, **settings),)}


def lora(file: str, **settings: Any) -> dict[str, Any]:
    return {"loras": (LoRAConfig(file=file, **settings),)}


def hint(kind: HintType, *shape: int) -> tuple[Hint, ...]:
    return (Hint(kind, (HintTensor(np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)),)),)


@dataclass(frozen=True)
class Broken:
    """A call that breaks a rule.

    Attributes
    ----------
    text
        Part of what is said about it.
    fixed
        What to change in the configuration or the pictures so that this is no longer said.
    missing
        Files that the server lacks.
    """

    rule: Callable[..., str | None]
    text: str
    config: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


REFUSED = {
    "no model": Broken(files.names_no_model, "name a checkpoint file", {"model": ""}, fixed={"model": Z_IMAGE}),
    "a model that is not there": Broken(
        files.names_missing_file,
        "nearest: z_image_turbo_1.0_q8p.ckpt, z_image_turbo_1.0_q6p.ckpt, ",
        {"model": "z_image_turbo_q8p.ckpt"},
        fixed={"model": Z_IMAGE},
    ),
    "a model's display name": Broken(
        files.names_missing_file,
        f"write {Z_IMAGE!r} instead",
        {"model": "Z Image Turbo 1.0"},
        fixed={"model": Z_IMAGE},
    ),
    "a refiner that is not there": Broken(
        files.names_missing_file,
        "no refiner 'sd_xl_refiner_1.ckpt'",
        {"model": "sd_xl_base_1.0_f16.ckpt", "refiner_model": "sd_xl_refiner_1.ckpt"},
        fixed={"refiner_model": "sd_xl_refiner_1.0_f16.ckpt"},
    ),
    "a LoRA that is not there": Broken(
        files.names_missing_file,
        "no LoRA 'moxin.ckpt' on the server. Name one of the nearest: moxin_v1.0_lora_f16.ckpt",
        {"model": SD, **lora("moxin.ckpt")},
        fixed=lora("moxin_v1.0_lora_f16.ckpt"),
    ),
    "a control that is not there": Broken(
        files.names_missing_file,
        "no control 'canny.ckpt'",
        {"model": SD, **control("canny.ckpt")},
        fixed={"controls": ()},
    ),
    "an upscaler that is not there": Broken(
        files.names_missing_file,
        "no upscaler 'remacri.ckpt' on the server. Name one of the nearest: remacri_4x_f16.ckpt",
        {"upscaler": "remacri.ckpt"},
        fixed={"upscaler": "remacri_4x_f16.ckpt"},
    ),
    "a face restoration that is not there": Broken(
        files.names_missing_face_restoration,
        "restoreformer_v1.0_f16.ckpt is not on the server",
        {"face_restoration": "restoreformer_v1.0_f16.ckpt"},
        fixed={"face_restoration": ""},
    ),
    "a LoRA as the model": Broken(
        files.mistakes_kind,
        "papercut_sdxl_lora_f16.ckpt is a LoRA, not a model",
        {"model": "papercut_sdxl_lora_f16.ckpt"},
        fixed={"model": Z_IMAGE},
    ),
    "a control as a LoRA": Broken(
        files.mistakes_kind,
        f"{CANNY} is a control, not a LoRA",
        {"model": SD, **lora(CANNY)},
        fixed={"loras": ()},
    ),
    "a text encoder as the model": Broken(
        files.names_unusable_file,
        "does not know it as model and would take it for a Stable Diffusion v1 model",
        {"model": "qwen_3_8b_q8p.ckpt"},
        fixed={"model": Z_IMAGE},
    ),
    "a model that lacks its text encoder": Broken(
        files.names_unusable_file,
        "not all that belongs to it",
        {"model": Z_IMAGE},
        fixed={"model": FLUX},
        missing=("qwen_3_vl_4b_instruct_q8p.ckpt",),
    ),
    "a model that the server does not know and that lacks its text encoder": Broken(
        files.lacks_dependency,
        "also needs qwen_3_8b_q8p.ckpt on the server",
        {"model": KLEIN},
        fixed={"model": Z_IMAGE},
        missing=("qwen_3_8b_q8p.ckpt",),
    ),
    "a LoRA of another version": Broken(
        files.names_foreign_lora,
        "is for sdxl_base_v0.9, the model is v1. LoRAs that fit: moxin_v1.0_lora_f16.ckpt",
        {"model": SD, **lora("papercut_sdxl_lora_f16.ckpt")},
        fixed=lora("moxin_v1.0_lora_f16.ckpt"),
    ),
    "a control of another version": Broken(
        files.names_foreign_control,
        f"{DEPTH} is for v1, the model is sdxl_base_v0.9. Controls that fit: controlnet_canny_sdxl",
        {"model": "sd_xl_base_1.0_f16.ckpt", **control(DEPTH)},
        {"canvas": CANVAS},
        fixed=control("controlnet_depth_sdxl_v1.0_mid_f16.ckpt"),
    ),
    "an edit model without a picture": Broken(
        pictures.lacks_picture,
        "edits pictures: give input_image or moodboard",
        {"model": KONTEXT},
        fixed={"model": KLEIN},
    ),
    "an image-to-video model without its first frame": Broken(
        pictures.lacks_picture,
        "give input_image, the first frame",
        {"model": "wan_v2.1_14b_i2v_480p_q6p_svd.ckpt", "num_frames": 13},
        fixed={"canvas": CANVAS},
    ),
    "Stable Video Diffusion without a picture": Broken(
        pictures.lacks_picture, "works from a picture: give input_image", {"model": SVD}, fixed={"canvas": CANVAS}
    ),
    "a layered model without a picture": Broken(
        pictures.lacks_picture,
        "takes a picture apart: give input_image",
        {"model": "qwen_image_layered_1.0_bf16_q8p.ckpt"},
        fixed={"canvas": CANVAS},
    ),
    "a depth model without depth": Broken(
        pictures.lacks_picture,
        "works from depth: give input_image or a depth map",
        {"model": "flux_1_depth_dev_q8p.ckpt"},
        fixed={"hints": {"depth": CANVAS}},
    ),
    "a LoRA that turns its model into one that wants edges": Broken(
        pictures.lacks_picture,
        "works from edges",
        {"model": FLUX, **lora("flux_1_canny_dev_lora_f16.ckpt", weight=1)},
        fixed={"hints": {"canny": CANVAS}},
    ),
    "a moodboard for a model without references": Broken(
        pictures.has_idle_moodboard,
        f"{Z_IMAGE} does not look at further pictures. Take a model that edits, such as FLUX.1 Kontext, FLUX.2 or Qwen "
        "Image Edit (on the server: qwen_image_edit_2511_q8p.ckpt",
        {"model": Z_IMAGE},
        {"moodboard": [CANVAS]},
        fixed={"model": KLEIN},
    ),
    "a moodboard whose control could be added": Broken(
        pictures.has_idle_moodboard,
        "VACE (on the server: flux_1_redux_f16.ckpt, pulid_0.9.1_eva02_clip_l14_336_f16.ckpt)",
        {"model": FLUX},
        {"moodboard": [CANVAS]},
        fixed=control("flux_1_redux_f16.ckpt"),
    ),
    "an edge map that the input image keeps from being used": Broken(
        controls.has_idle_hint,
        f"{CANNY} (canny) makes a map of input_image and does not look at the custom map",
        {"model": SD, **control(CANNY)},
        {"hints": {"canny": CANVAS}, "canvas": CANVAS},
        fixed={"canvas": None},
    ),
    "a control with nothing to look at": Broken(
        controls.has_starved_control,
        "(canny) has nothing to look at. Give it input_image or a map in hint_images",
        {"model": SD, **control(CANNY)},
        fixed={"hints": {"canny": CANVAS}},
    ),
    "two last frames": Broken(
        pictures.has_surplus_references,
        "takes one picture, the last frame; 2 were given",
        {"model": FL2VA, "num_frames": 22},
        {"canvas": CANVAS, "moodboard": [CANVAS, CANVAS]},
        fixed={"moodboard": [CANVAS]},
    ),
    "more references than a video takes, the canvas among them": Broken(
        pictures.has_surplus_references,
        "takes 4 pictures, the canvas included; 5 were given",
        {"model": REF2VA, "num_frames": 22},
        {"canvas": CANVAS, "moodboard": [CANVAS] * 4},
        fixed={"canvas": None},
    ),
    "a union control that was not given what it reads": Broken(
        controls.has_starved_control,
        "(custom) has nothing to look at. Give it a map in hint_images (input_image does not count), or leave it out.",
        {"model": FLUX, **control("controlnet_union_pro_flux_1_dev_1.0_q8p.ckpt")},
        {"canvas": CANVAS},
        fixed=control("controlnet_union_pro_flux_1_dev_1.0_q8p.ckpt", input_override=ControlInputType.Tile),
    ),
    "a depth control without an estimator on the server": Broken(
        controls.lacks_detector,
        "lacks depth_anything_v2.0_f16.ckpt",
        {"model": SD, **control(DEPTH)},
        {"canvas": CANVAS},
        fixed={"hints": {"depth": CANVAS}},
        missing=("depth_anything_v2.0_f16.ckpt",),
    ),
    "one step with evenly spaced steps": Broken(
        sampling.yields_nan,
        "one step with DPM++ 2M Karras can crash the server",
        {"model": SD, "steps": 1, "sampler": SamplerType.DPMPP2MKarras},
        fixed={"steps": 2},
    ),
}

WARNED = {
    "an inpainting model without a mask": Broken(
        pictures.lacks_mask,
        "an all-white one repaints everything",
        {"model": "flux_1_fill_dev_q8p.ckpt"},
        {"canvas": CANVAS},
        fixed={"mask": MASK},
    ),
    "a LoRA of weight 0": Broken(
        files.has_idle_weight,
        "moxin_v1.0_lora_f16.ckpt has weight 0 and no effect",
        {"model": SD, **lora("moxin_v1.0_lora_f16.ckpt", weight=0)},
        fixed=lora("moxin_v1.0_lora_f16.ckpt", weight=0.5),
    ),
    "a control of weight 0": Broken(
        files.has_idle_weight,
        f"{CANNY} has weight 0",
        {"model": SD, **control(CANNY, weight=0)},
        fixed={"controls": ()},
    ),
    "a LoRA for a refiner that is not named": Broken(
        files.assigns_lora_without_refiner,
        "is applied to the model",
        {"model": "sd_xl_base_1.0_f16.ckpt", **lora("papercut_sdxl_lora_f16.ckpt", mode=LoRAMode.Refiner)},
        fixed={"refiner_model": "sd_xl_refiner_1.0_f16.ckpt"},
    ),
    "an upscaler's factor without an upscaler": Broken(
        files.scales_oddly,
        "without an upscaler",
        {"upscaler_scale_factor": 2},
        fixed={"upscaler": "remacri_4x_f16.ckpt"},
    ),
    "an upscaler's factor of 3": Broken(
        files.scales_oddly,
        "upscaler_scale_factor 3 is replaced by the upscaler's own",
        {"upscaler": "remacri_4x_f16.ckpt", "upscaler_scale_factor": 3},
        fixed={"upscaler_scale_factor": 2},
    ),
    "a refiner for another kind of model": Broken(
        files.mixes_refiner,
        "refiner_model: sd_xl_refiner_1.0_f16.ckpt is for sdxl_refiner_v0.9, the model is v1",
        {"model": SD, "refiner_model": "sd_xl_refiner_1.0_f16.ckpt"},
        fixed={"refiner_model": ""},
    ),
    "texts for encoders that a model does not have": Broken(
        sampling.lacks_text_encoder,
        "separate_t5, separate_open_clip_g has no effect on sd_v1.5_f16.ckpt",
        {"model": SD, "separate_t5": True, "separate_open_clip_g": True},
        fixed={"separate_t5": False, "separate_open_clip_g": False},
    ),
    "a size at which a model repeats itself": Broken(
        sampling.repeats_itself,
        "is made for 512x512: at 2048x2048 it draws things several times",
        {"model": SD, "width": 2048, "height": 2048},
        fixed={"hires_fix": True, "hires_fix_width": 512, "hires_fix_height": 512},
    ),
    "a control without a file": Broken(
        controls.names_no_control,
        "To inpaint, mask_image alone is enough",
        {"model": SD, **control("", input_override=ControlInputType.Inpaint)},
        fixed={"controls": ()},
    ),
    "a control that is told to read what it does not": Broken(
        controls.contradicts_control,
        f"input_override depth has no effect: {CANNY} reads canny maps",
        {"model": SD, "strength": 0.5, **control(CANNY, input_override=ControlInputType.Depth)},
        {"canvas": CANVAS},
        fixed=control(CANNY),
    ),
    "a map in place of the picture that it was made of": Broken(
        controls.maps_a_map,
        "input_image looks like a ready canny map",
        {"model": SD, "strength": 0.5, **control(CANNY)},
        {"canvas": np.where(CANVAS > 120, np.uint8(255), np.uint8(0))},
        fixed={"canvas": CANVAS},
    ),
    "several pictures for a text encoder that sees one": Broken(
        pictures.shows_too_many_pictures,
        "understands the prompt with one picture in view only",
        {"model": "qwen_image_edit_1.0_q6p.ckpt"},
        {"moodboard": [CANVAS, CANVAS]},
        fixed={"moodboard": [CANVAS]},
    ),
    "an input image at strength 1": Broken(
        pictures.has_idle_canvas,
        "At strength 1 nothing of input_image is used",
        {"strength": 1},
        {"canvas": CANVAS},
        fixed={"strength": 0.6},
    ),
    "strength without an input image": Broken(
        pictures.has_idle_strength,
        "strength has no effect without input_image",
        {"strength": 0.5},
        fixed={"strength": 1},
    ),
    "strength 0": Broken(
        pictures.returns_canvas,
        "comes back as it is",
        {"strength": 0},
        {"canvas": CANVAS},
        fixed={"strength": 0.1},
    ),
    "an edit model at a lower strength": Broken(
        pictures.edits_weakly,
        "made for strength 1",
        {"model": KLEIN, "strength": 0.4},
        {"canvas": CANVAS},
        fixed={"strength": 1},
    ),
    "a mask for a video": Broken(
        pictures.has_unproven_mask,
        "What a mask does with svd_i2v is not known",
        {"model": SVD},
        {"canvas": CANVAS, "mask": MASK},
        fixed={"mask": None},
    ),
    "colours calibrated on nothing": Broken(
        pictures.has_idle_calibration,
        "color_calibration has no effect without input_image",
        {"color_calibration": ColorCalibration.Lab},
        fixed={"canvas": CANVAS},
    ),
    "a control that is to ignore the prompt": Broken(
        controls.ignores_prompt_in_vain,
        f"no_prompt of {CANNY} has no effect",
        {"model": SD, **control(CANNY, no_prompt=True)},
        {"hints": {"canny": CANVAS}},
        fixed=control(CANNY),
    ),
    "evenly spaced steps with a flow-matching model": Broken(
        sampling.samples_flow_evenly,
        "DPM++ 2M Karras suits Z Image badly",
        {"sampler": SamplerType.DPMPP2MKarras},
        fixed={"sampler": SamplerType.DPMPP2MTrailing},
    ),
    "a shift that follows from the size": Broken(
        sampling.has_idle_shift,
        "shift 3 is not used: it follows from the size and is 3.16",
        {"width": 1024, "height": 1024, "shift": 3},
        fixed={"resolution_dependent_shift": False},
    ),
    "an embedded guidance for a model without": Broken(
        sampling.has_idle_guidance_embed,
        f"guidance_embed has no effect on {Z_IMAGE}",
        {"guidance_embed": 2},
        fixed={"model": FLUX},
    ),
    "an embedded guidance that is switched off": Broken(
        sampling.has_idle_guidance_embed,
        "while speed_up_with_guidance_embed is false",
        {"model": FLUX, "guidance_embed": 2, "speed_up_with_guidance_embed": False},
        fixed={"speed_up_with_guidance_embed": True},
    ),
    "a negative prompt for a distilled model": Broken(
        sampling.has_idle_negative_prompt,
        "whose guidance is built in",
        {"model": FLUX},
        {"negative_prompt": "fog"},
        fixed={"speed_up_with_guidance_embed": False},
    ),
    "a negative prompt with a LoRA of few steps": Broken(
        sampling.has_idle_negative_prompt,
        "no effect on the few steps",
        {"model": SD, **lora("lcm_sd_v1.5_lora_f16.ckpt")},
        {"negative_prompt": "fog"},
        fixed={"loras": ()},
    ),
    "a negative prompt at guidance 1": Broken(
        sampling.has_idle_negative_prompt,
        "at guidance_scale 1",
        {"guidance_scale": 1},
        {"negative_prompt": "fog"},
        fixed={"guidance_scale": 2},
    ),
    "a negative prompt at guidance 1, where more would burn": Broken(
        sampling.has_idle_negative_prompt,
        "at guidance_scale 1. Say in the prompt what you want instead.",
        {"model": Z_IMAGE, "guidance_scale": 1},
        {"negative_prompt": "fog"},
        fixed={"negative_prompt": ""},
    ),
    "a negative prompt at guidance 1, where more is usual": Broken(
        sampling.has_idle_negative_prompt,
        "what you want instead, or raise guidance_scale.",
        {"model": SD, "guidance_scale": 1},
        {"negative_prompt": "fog"},
        fixed={"guidance_scale": 5},
    ),
    "a negative prompt that the settings make nothing of": Broken(
        sampling.has_idle_negative_prompt,
        "has no effect on sd_v1.5_f16.ckpt",
        {"model": SD, "guidance_scale": 7, "zero_negative_prompt": True},
        {"negative_prompt": "fog"},
        fixed={"zero_negative_prompt": False},
    ),
    "the guidance of other models on a distilled one": Broken(
        sampling.overdoes_guidance,
        "guidance_scale 7.5 is far above the 1 that z_image_turbo_1.0_q8p.ckpt is made for: colours burn",
        {"model": Z_IMAGE, "guidance_scale": 7.5},
        fixed={"guidance_scale": 1.5},
    ),
    "the guidance of other models with a LoRA for few steps": Broken(
        sampling.overdoes_guidance,
        "is far above the 1 that",
        {"model": QWEN, "guidance_scale": 7.5, **lora(LIGHTNING)},
        fixed={"loras": ()},
    ),
    "many steps with a LoRA for four": Broken(
        sampling.overdoes_steps,
        "steps 30 is far more than the 4 that the LoRA",
        {"model": QWEN, "steps": 30, **lora(LIGHTNING)},
        fixed={"steps": 8},
    ),
    "image guidance for a model that does not know it": Broken(
        sampling.has_idle_image_guidance,
        "image_guidance_scale has no effect",
        {"image_guidance_scale": 2},
        fixed={"image_guidance_scale": 1.5},
    ),
    "a cache without coefficients": Broken(
        sampling.has_idle_tea_cache,
        f"tea_cache has no effect on {Z_IMAGE}",
        {"tea_cache": True},
        fixed={"model": FLUX},
    ),
    "texts for single encoders that are not switched on": Broken(
        sampling.has_idle_texts,
        "clip_l_text, t5_text is not read. Set separate_clip_l, separate_t5 to true",
        {"model": FLUX, "clip_l_text": "a fox", "t5_text": "a fox"},
        fixed={"separate_clip_l": True, "separate_t5": True},
    ),
    "a first pass that is not smaller": Broken(
        sampling.has_idle_hires_fix,
        "its first pass of 128x64 must be smaller than 128x128",
        {"hires_fix": True, "hires_fix_width": 128, "hires_fix_height": 64},
        fixed={"hires_fix_width": 64},
    ),
    "two passes from an input image": Broken(
        sampling.has_idle_hires_fix,
        "no effect on a run that starts from input_image",
        {"hires_fix": True, "hires_fix_width": 64, "hires_fix_height": 64, "strength": 0.5},
        {"canvas": CANVAS},
        fixed={"hires_fix": False},
    ),
    "fields that only the app reads": Broken(
        sampling.sets_ignored_fields,
        "compression_artifacts, expand_prompt_to_json has no effect",
        {"compression_artifacts": CompressionMethod.Jpeg, "expand_prompt_to_json": True},
        fixed={"compression_artifacts": CompressionMethod.Disabled, "expand_prompt_to_json": False},
    ),
    "several videos at once": Broken(
        video.batches_videos, "batch_size 2 becomes 1", {"model": WAN, "batch_size": 2}, fixed={"batch_size": 1}
    ),
    "frames of a picture": Broken(
        video.counts_frames_of_picture, "Z Image makes pictures", {"num_frames": 81}, fixed={"model": WAN}
    ),
    "frames that do not come in whole groups": Broken(
        video.rounds_frames,
        "num_frames 80 gives 77 frames",
        {"model": WAN, "num_frames": 80},
        fixed={"num_frames": 81},
    ),
    "a video from references that the prompt does not name": Broken(
        pictures.misnames_references,
        "follows a prompt best that names its references: <Picture 1> to <Picture 2>",
        {"model": REF2VA, "num_frames": 22},
        {"moodboard": [CANVAS, CANVAS]},
        fixed={"moodboard": ()},
    ),
    "a length that a video with groups of its own cannot have": Broken(
        video.rounds_frames,
        "num_frames 100 is no length of a video by MiniMax H3, which is 5 and a multiple of 17. Use 90 or 107.",
        {"model": FL2VA, "num_frames": 100},
        fixed={"num_frames": 107},
    ),
    "a length that is too short for a video": Broken(
        video.rounds_frames,
        "Use 1 or 5.",
        {"model": FL2VA, "num_frames": 3},
        fixed={"num_frames": 1},
    ),
    "a shift that another rule replaces": Broken(
        sampling.has_idle_shift,
        "it follows from the size and is 1.63",
        {"model": QWEN_21, "shift": 4},
        fixed={"resolution_dependent_shift": False},
    ),
    "causal inference outside of Wan": Broken(
        video.infers_causally,
        "causal_inference has no effect",
        {"causal_inference_enabled": True},
        fixed={"model": WAN},
    ),
    "a sharpness beyond the app's": Broken(
        ranges.exceeds_app,
        "sharpness 200: outside the app's range, sent as it is.",
        {"sharpness": 200},
        fixed={"sharpness": 30},
    ),
    "numbers outside the app's range that the model does not read": Broken(
        ranges.sets_unread_numbers,
        "stage_2_steps 0, fps 0: outside the app's range, but not read by this model.",
        {"stage_2_steps": 0, "fps": 0},
        fixed={"stage_2_steps": 1, "fps": 1},
    ),
}

UNLISTED = {"qwen_image_edit_1.0_q6p.ckpt"}
"""Models that the catalog of these tests does not have: they are asked of a server that lists nothing."""


def compose(broken: Broken, catalog: Catalog | None, **changes: Any) -> tuple[str, ...]:
    settings = {"model": Z_IMAGE, "width": 128, "height": 128, **broken.config}
    given: dict[str, Any] = {**broken.pictures}
    for name, value in changes.items():
        (settings if name in ImageGenerationConfig.model_fields else given)[name] = value
    if settings["model"] in UNLISTED:
        catalog = None
    return compose_plan(
        "a fox", ImageGenerationConfig.from_saved(**settings), inventory=ServerInventory(catalog), **given
    ).notes


@pytest.mark.parametrize("broken", [pytest.param(broken, id=name) for name, broken in REFUSED.items()])
def test_a_request_is_refused_for(broken: Broken, make_catalog: Callable[..., Catalog]) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        compose(broken, make_catalog(*broken.missing))
    assert broken.text in str(refusal.value)


@pytest.mark.parametrize("broken", [pytest.param(broken, id=name) for name, broken in REFUSED.items()])
def test_a_request_is_taken_once_fixed(broken: Broken, make_catalog: Callable[..., Catalog]) -> None:
    assert broken.fixed
    compose(broken, make_catalog(*broken.missing), **broken.fixed)


@pytest.mark.parametrize("broken", [pytest.param(broken, id=name) for name, broken in WARNED.items()])
def test_a_request_is_warned_about_for(broken: Broken, catalog: Catalog) -> None:
    assert [warning for warning in compose(broken, catalog) if broken.text in warning]


@pytest.mark.parametrize("broken", [pytest.param(broken, id=name) for name, broken in WARNED.items()])
def test_the_warning_goes_away_once_fixed(broken: Broken, catalog: Catalog) -> None:
    assert broken.fixed
    assert not [warning for warning in compose(broken, catalog, **broken.fixed) if broken.text in warning]


def request(model: str = Z_IMAGE, config: Mapping[str, Any] | None = None, **fields: Any) -> GenerationRequest:
    """A request made by hand, past everything that composing does."""
    return GenerationRequest(
        "a fox", ImageGenerationConfig(model=model, width=128, height=128, **(config or {})), **fields
    )


MADE: Mapping[str, tuple[Callable[..., str | None] | None, GenerationRequest, str]] = {
    "a specification without all its keys": (
        files.has_partial_override,
        request(override={"models": [{"file": Z_IMAGE, "name": "Z", "version": "z_image"}]}),
        f"{Z_IMAGE} lacks default_scale, prefix, upcast_attention",
    ),
    "a modifier that does not fit the version": (
        files.misfits_modifier,
        request(
            KLEIN,
            override={
                "models": [
                    {
                        "file": KLEIN,
                        "name": "Klein",
                        "version": "flux2_9b",
                        "prefix": "",
                        "upcast_attention": False,
                        "default_scale": 16,
                        "modifier": "depth",
                    }
                ]
            },
        ),
        "no flux2_9b model has the modifier 'depth', a server crashes on that. It fits flux1, v2.",
    ),
    "a mask that marks nothing": (
        pictures.marks_nothing,
        request(canvas=CANVAS, mask=np.full((128, 128), 3, np.uint8)),
        "nothing is marked, so a server would repaint everything",
    ),
    "one pose for two passes": (
        controls.has_misfit_pose,
        request(
            SD,
            {
                "hires_fix": True,
                "hires_fix_width": 64,
                "hires_fix_height": 64,
                **control("controlnet_openpose_1.x_v1.1_f16.ckpt"),
            },
            hints=hint(HintType.Pose, 128, 128, 3),
        ),
        "the poses are 128x128, the passes 64x64 and 128x128",
    ),
    "a colour control that is no adapter": (
        controls.has_starved_control,
        request(
            SD,
            control("color_controlnet.ckpt"),
            override={
                "controlNets": [
                    {
                        "file": "color_controlnet.ckpt",
                        "name": "Colours",
                        "version": "v1",
                        "type": "controlnet",
                        "global_average_pooling": False,
                        "modifier": "color",
                    }
                ]
            },
        ),
        "which only T2I adapters do",
    ),
    "a map that no control reads": (
        controls.has_idle_hint,
        request(SD, hints=hint(HintType.Scribble, 128, 128, 3)),
        "nothing looks at the scribble map",
    ),
    "a canvas of another size": (
        None,
        request(canvas=CANVAS[:64]),
        "input_image: must be uint8 of shape (128, 128, 3)",
    ),
    "a mask of another size": (None, request(canvas=CANVAS, mask=MASK[:64]), "mask_image: must be uint8 classes"),
    "a mask without a canvas": (None, request(mask=MASK), "mask_image: needs input_image"),
    "depth in three channels": (
        None,
        request(SD, control(DEPTH), hints=hint(HintType.Depth, 128, 128, 3)),
        "depth takes float tensors of shape (H, W, 1)",
    ),
    "a reference in one channel": (
        None,
        request(KLEIN, hints=hint(HintType.Shuffle, 64, 64, 1)),
        "shuffle takes float tensors of shape (H, W, 3)",
    ),
    "a reference with alpha for a model that takes none": (
        pictures.has_alpha_reference,
        request(KLEIN, hints=hint(HintType.Shuffle, 64, 64, 4)),
        f"{KLEIN} takes references without alpha",
    ),
    "a sound that ends within a block": (
        controls.has_uneven_sound,
        request(REF2VA, {"num_frames": 22}, hints=hint(HintType.Audio, 1, 1000)),
        "a sound of 1000 samples is no multiple of 800. Pad it with 600 zeros.",
    ),
    "a hint without a tensor": (
        None,
        request(SD, control("controlnet_openpose_1.x_v1.1_f16.ckpt"), hints=(Hint(HintType.Pose, ()),)),
        "pose has no tensor",
    ),
}
"""Rule, request and part of the refusal; the form of tensors is no rule's, but checked along with them."""


@pytest.mark.parametrize(("made"), [pytest.param(made, id=name) for name, made in MADE.items()])
def test_a_request_made_by_hand_is_refused_for(
    made: tuple[Callable[..., str | None] | None, GenerationRequest, str], catalog: Catalog
) -> None:
    _, broken, text = made
    present = {entry["file"]: True for entries in broken.override.values() for entry in entries}
    with pytest.raises(InvalidInputError) as refusal:
        check_request(broken, ServerInventory(catalog, present))
    assert text in str(refusal.value)


def test_a_mask_of_nothing_but_noise_is_warned_about(catalog: Catalog) -> None:
    made = request(canvas=CANVAS, mask=np.full((128, 128), 1, np.uint8))
    assert "The mask says that nothing is there anywhere" in check_request(made, ServerInventory(catalog))[0]
    assert check_request(request(canvas=CANVAS, mask=np.full((128, 128), 2, np.uint8)), ServerInventory(catalog)) == ()


def test_a_cloud_model_is_refused() -> None:
    listed = Catalog(models=(Model("cloud-model", "Cloud", "flux1", remote=True),))
    with pytest.raises(InvalidInputError, match="cloud-model runs in the vendor's cloud"):
        check_request(request("cloud-model"), ServerInventory(listed))


def test_face_restoration_is_warned_about_because_of_servers_on_linux() -> None:
    (warning,) = check_request(request(config={"face_restoration": "restoreformer_v1.0_f16.ckpt"}))
    assert "face_restoration has no effect on servers that run on Linux" in warning


def test_an_unknown_model_is_warned_about_when_the_server_lists_nothing() -> None:
    (warning,) = check_request(request("home_made.ckpt"))
    assert "Nothing is known of home_made.ckpt" in warning


def test_nothing_is_held_against_a_model_of_which_nothing_is_known() -> None:
    hints = hint(HintType.Shuffle, 64, 64, 3)
    made = request("home_made.ckpt", control("home_made_control.ckpt"), canvas=CANVAS, hints=hints)
    assert len(check_request(made)) == 1


def test_a_missing_file_is_found_without_a_catalog_too() -> None:
    there = {Z_IMAGE: False, "z_image_turbo_1.0_q6p.ckpt": True}
    with pytest.raises(UnknownNameError) as refusal:
        check_request(request(), ServerInventory(answers=there))
    assert str(refusal.value) == (
        f"There is no model {Z_IMAGE!r} on the server. Download it in Draw Things, or name one of the nearest on the "
        "server: z_image_turbo_1.0_q6p.ckpt."
    )
    assert refusal.value.nearest == ("z_image_turbo_1.0_q6p.ckpt",)


def test_a_display_name_is_refused_when_the_server_tells_nothing() -> None:
    with pytest.raises(InvalidInputError, match=r"write 'flux_1_schnell_\w+\.ckpt' instead of 'FLUX\.1 \[schnell\]'"):
        check_request(request("FLUX.1 [schnell]"))


@pytest.mark.parametrize("model", ["flux_1_dev_q8p.ckpt", "qwen_image_1.0_q8p.ckpt"])
def test_a_lora_of_which_nothing_is_known_may_read_anything(model: str) -> None:
    unknown = lora("home_made_lora_f16.ckpt")
    moodboard, edges = hint(HintType.Shuffle, 64, 64, 3), hint(HintType.Custom, 128, 128, 3)
    check_request(request(model, unknown, hints=(*moodboard, *edges)))
    assert not [w for w in check_request(request(model, unknown, canvas=CANVAS)) if "nothing of input_image" in w]
    with pytest.raises(InvalidInputError, match="moodboard"):
        check_request(request(Z_IMAGE, unknown, hints=moodboard))


def test_a_lora_of_the_refiners_version_is_taken(catalog: Catalog) -> None:
    refined = {"refiner_model": "sd_xl_base_1.0_f16.ckpt", **lora("papercut_sdxl_lora_f16.ckpt")}
    check_request(request("sd_xl_refiner_1.0_f16.ckpt", refined), ServerInventory(catalog))


def test_a_lora_of_the_first_version_is_taken_by_kandinsky() -> None:
    check_request(request(KANDINSKY, lora("moxin_v1.0_lora_f16.ckpt")))
    with pytest.raises(InvalidInputError, match=r"is for v2, the model is kandinsky2\.1"):
        check_request(request(KANDINSKY, lora("to8s_high_key_sd_v2.x_lora_f16.ckpt")))


def test_a_proxy_that_names_files_only_is_believed_about_files_only() -> None:
    proxy = Catalog(files=frozenset({Z_IMAGE}))
    assert check_request(request(), ServerInventory(proxy)) == ()
    with pytest.raises(UnknownNameError):
        check_request(request(FLUX), ServerInventory(proxy))


def test_a_plain_request_is_answered_without_a_warning(catalog: Catalog) -> None:
    assert check_request(request(), ServerInventory(catalog)) == ()


def test_every_rule_has_a_request_that_breaks_it() -> None:
    tested = {broken.rule for broken in (*REFUSED.values(), *WARNED.values())} | {rule for rule, _, _ in MADE.values()}
    alone = {pictures.keeps_nothing, files.names_remote_model, files.restores_faces, files.names_unknown_model}
    alone |= {files.names_new_version}
    assert {rule.find for rule in RULES} == (tested | alone) - {None}


def test_every_rule_says_where_the_protocol_says_so() -> None:
    assert all(rule.section.startswith("§") for rule in RULES)


def test_refusals_of_rules_and_warnings_are_told_apart() -> None:
    refusing = {rule.find for rule in RULES if rule.refuses}
    assert refusing == {broken.rule for broken in REFUSED.values()} | {rule for rule, _, _ in MADE.values() if rule} | {
        files.names_remote_model
    }


def test_a_request_is_checked_before_its_pictures_are_read(catalog: Catalog) -> None:
    with pytest.raises(UnknownNameError):
        compose_plan("x", ImageGenerationConfig(model="no.ckpt"), canvas="no.png", inventory=ServerInventory(catalog))
    with pytest.raises(InvalidImageError):
        compose_plan("x", ImageGenerationConfig(model=Z_IMAGE), canvas="no.png", inventory=ServerInventory(catalog))


def test_nothing_is_held_against_a_version_that_came_later() -> None:
    listed = Catalog(models=(Model("new.ckpt", "New", "new_version_1"),), files=frozenset({"new.ckpt"}))
    config = {"num_frames": 80, "sampler": SamplerType.DPMPP2MKarras, "causal_inference_enabled": True, "shift": 3}
    made = request("new.ckpt", config, canvas=CANVAS, hints=hint(HintType.Shuffle, 64, 64, 3))
    (warning,) = check_request(made, ServerInventory(listed))
    assert warning == (
        "new.ckpt is of the version new_version_1, which is new to this program: what the server says of it is "
        "trusted, and little can be checked."
    )


def test_a_modifier_of_a_version_that_came_later_is_taken_at_its_word() -> None:
    whole = {"file": "new.ckpt", "name": "New", "prefix": "", "upcast_attention": False, "default_scale": 16}
    made = request("new.ckpt", override={"models": [{**whole, "version": "new_version_1", "modifier": "fl2va"}]})
    (warning,) = check_request(made, ServerInventory(answers={"new.ckpt": True}))
    assert "new_version_1, which is new" in warning


def test_a_prompt_may_not_name_a_reference_that_is_not_there(catalog: Catalog) -> None:
    config = ImageGenerationConfig(model=REF2VA, width=128, height=128, num_frames=22)
    for prompt, wanted in (
        ("<Picture 1> dances", ()),
        ("<Picture 1> meets <Picture 3>", ("<Picture 3>, but there are 2",)),
    ):
        notes = compose_plan(prompt, config, ServerInventory(catalog), moodboard=[CANVAS, CANVAS]).notes
        assert [text in note for text, note in zip(wanted, notes, strict=True)] == [True] * len(wanted)


def test_tiles_make_the_shift_follow_their_size() -> None:
    config = {"shift": 3, "tiled_diffusion": True, "diffusion_tile_width": 64, "diffusion_tile_height": 64}
    (warning,) = check_request(request(config=config))
    assert "it follows from the size and is 1.58" in warning


def test_a_model_that_is_guided_by_its_picture_takes_how_much() -> None:
    made = request("hidream_e1_full_f16.ckpt", {"image_guidance_scale": 3}, canvas=CANVAS)
    assert check_request(made) == ()


def test_a_model_with_coefficients_of_its_own_may_be_cached() -> None:
    assert check_request(request("wan_2.1_14b_t2v_fusionx_q8p.ckpt", {"tea_cache": True, "num_frames": 81})) == ()


@pytest.mark.parametrize(
    ("file", "steps"), [("my_8-step_distill.ckpt", 8), ("4steps_v2.ckpt", 4), ("8-stepper.ckpt", 0)]
)
def test_the_name_of_a_lora_says_for_how_many_steps_it_is(file: str, steps: int) -> None:
    server = Catalog(models=(Model(SD, "SD", "v1"),), loras=(LoRA(file, "L", "v1"),), files=frozenset({SD, file}))
    made = request(SD, {"steps": 40, **lora(file)})
    notes = [note for note in list_warnings(made, ServerInventory(server)) if "that the LoRA" in note]
    assert [f"far more than the {steps} that the LoRA {file}" in note for note in notes] == [True] * bool(steps)


def test_only_avatars_listen() -> None:
    sound = hint(HintType.Audio, 16, 8, 1)
    listening = Catalog(models=(Model("avatar.ckpt", "Avatar", "longcat_video_avatar_v1.5"),))
    made = request("avatar.ckpt", {"num_frames": 81}, canvas=CANVAS, hints=sound)
    assert not [warning for warning in check_request(made, ServerInventory(listening)) if "audio" in warning]
    with pytest.raises(InvalidInputError, match="nothing looks at the audio map"):
        check_request(request(hints=sound))


def test_a_video_from_references_listens_to_whole_blocks(catalog: Catalog) -> None:
    made = request(REF2VA, {"num_frames": 22}, hints=hint(HintType.Audio, 2, 1600))
    assert check_request(made, ServerInventory(catalog)) == ()
    with pytest.raises(InvalidInputError, match="nothing looks at the audio map"):
        check_request(request(FL2VA, {"num_frames": 22}, hints=hint(HintType.Audio, 2, 1600)), ServerInventory(catalog))


def test_warnings_are_listed_also_of_what_would_be_refused(catalog: Catalog) -> None:
    made = request(SD, {"upscaler_scale_factor": 2}, hints=hint(HintType.Scribble, 128, 128, 3))
    with pytest.raises(InvalidInputError, match="nothing looks at the scribble map"):
        check_request(made, ServerInventory(catalog))
    (warning,) = list_warnings(made, ServerInventory(catalog))
    assert "without an upscaler" in warning
