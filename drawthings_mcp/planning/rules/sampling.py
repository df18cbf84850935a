"""Rules about the sampler, guidance, texts and passes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drawthings_mcp.catalog import CatalogEntry, Model
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.generation import CompressionMethod, ImageGenerationConfig, SamplerType
from drawthings_mcp.planning.abilities import CASCADE
from drawthings_mcp.planning.context import Context
from drawthings_mcp.planning.known import is_whole
from drawthings_mcp.planning.rules import Rule, refuse, warn
from drawthings_mcp.planning.sizes import exceeds_native
from drawthings_mcp.presets.mode_table import find_recipe

_FIRST_TRAILING = SamplerType.EulerATrailing
"""Samplers from here on are Trailing or AYS; those before space their steps from end to end (protocol §2.2)."""
_LEADING = frozenset({SamplerType.DDIM, SamplerType.PLMS})
"""Samplers whose single step is valid (protocol §2.8)."""
_WITHOUT_OPEN_CLIP = frozenset({"v1", "v2", "svd_i2v", "kandinsky2.1", CASCADE})
_WITHOUT_T5 = _WITHOUT_OPEN_CLIP | {"sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b"}
"""Versions that have no such text encoder."""
_MUCH_GUIDANCE = 5
"""From here on what is distilled for guidance 1 shows it."""
_MANY_STEPS = 3
"""Times the steps that a LoRA is made for."""
_FEW_STEPS = re.compile(r"(?<!\d)(\d{1,2})[ _-]?steps?(?![a-z])", re.IGNORECASE)
_TOKEN = 16
"""Pixels per side of a token."""
_DEFAULTS = ImageGenerationConfig()


def yields_nan(context: Context) -> str | None:
    """Spacing one step from end to end divides by zero, which crashes the server with some models (protocol §2.8)."""
    c = context.configuration
    if c.steps > 1 or c.sampler >= _FIRST_TRAILING or c.sampler in _LEADING:
        return None
    return (
        f"one step with {c.sampler.display_name} can crash the server. Use 2 steps or more, or a Trailing or AYS "
        f"sampler such as {SamplerType.EulerATrailing.display_name}."
    )


def samples_flow_evenly(context: Context) -> str | None:
    """Flow-matching models want their steps where the Trailing and AYS samplers take them."""
    sampler = context.configuration.sampler
    if context.facts is None or not context.facts.is_flow or sampler >= _FIRST_TRAILING:
        return None
    return (
        f"{sampler.display_name} suits {context.facts.name} badly. Use a Trailing or AYS sampler, such as "
        f"{SamplerType.EulerATrailing.display_name} or {SamplerType.UniPCTrailing.display_name}."
    )


def has_idle_shift(context: Context) -> str | None:
    """By default the shift follows the size of the picture where the model honours that."""
    c = context.configuration
    if context.facts is None or not context.facts.shifts_by_resolution or not c.resolution_dependent_shift:
        return None
    if c.shift == _DEFAULTS.shift or _is_consistency(context.model):
        return None
    return Text(
        "{shift} {given:g} is not used: it follows from the size and is {found:.2f}. Set {resolution_dependent_shift} "
        "to false to make yours count.",
        given=c.shift,
        found=context.facts.find_shift(_count_tokens(c)),
    )


def _count_tokens(c: ImageGenerationConfig) -> int:
    """Tokens of a picture, or of a tile of it (protocol §2.5)."""
    width, height = c.width, c.height
    if c.tiled_diffusion:
        width, height = min(width, c.diffusion_tile_width), min(height, c.diffusion_tile_height)
    return width * height // _TOKEN**2


def has_idle_guidance_embed(context: Context) -> str | None:
    """Only guidance-distilled models have an embedded guidance, and only with the speed-up."""
    c = context.configuration
    if context.model is None or not _knows_all_of(context.model) or c.guidance_embed == _DEFAULTS.guidance_embed:
        return None
    if not context.model.guidance_embed:
        return Text("{guidance_embed} has no effect on {file}. Use {guidance_scale}.", file=context.model.file)
    if not c.speed_up_with_guidance_embed:
        return Text("{guidance_embed} has no effect while {speed_up_with_guidance_embed} is false. Set that to true.")
    return None


def has_idle_negative_prompt(context: Context) -> str | None:
    """Without classifier-free guidance nobody reads the negative prompt."""
    if not context.request.negative_prompt.strip() or context.model is None:
        return None
    c, file = context.configuration, context.model.file
    if context.model.guidance_embed and c.speed_up_with_guidance_embed:
        return Text(
            "{negative_prompt} has no effect on {file}, whose guidance is built in. Say in the prompt what you want "
            "instead, or set {speed_up_with_guidance_embed} to false.",
            file=file,
        )
    if _is_consistency(context.model) or any(_is_consistency(chosen.entry) for chosen in context.loras):
        return Text(
            "{negative_prompt} has no effect on the few steps of {file}. Say in the prompt what you want.", file=file
        )
    if c.zero_negative_prompt:
        return Text("{negative_prompt} has no effect on {file}. Say in the prompt what you want instead.", file=file)
    if c.guidance_scale == 1:
        text = "{negative_prompt} has no effect at {guidance_scale} 1. Say in the prompt what you want instead"
        is_raisable = _find_recommended(context).get("guidance_scale", 1) > 1
        return Text(f"{text}, or raise {{guidance_scale}}." if is_raisable else f"{text}.")
    return None


def _find_recommended(context: Context) -> Mapping[str, Any]:
    """The fields that are recommended for a model with the LoRAs of a request; none when nothing is."""
    c = context.configuration
    recipe = find_recipe(c.model, context.version, [lora.file for lora in c.loras])
    return recipe.parse().fields if recipe is not None else {}


def overdoes_guidance(context: Context) -> str | None:
    """What is distilled for guidance 1 burns at that of other models."""
    c = context.configuration
    recommended = _find_recommended(context)
    if recommended.get("guidance_scale") != 1 or c.guidance_scale < _MUCH_GUIDANCE or context.model is None:
        return None
    text = "{guidance_scale} {given:g} is far above the 1 that {file} is made for{loras}: colours burn. Leave it out."
    loras = Phrase(" with these LoRAs" if recommended.get("loras") else "")
    return Text(text, given=c.guidance_scale, file=context.model.file, loras=loras)


def overdoes_steps(context: Context) -> str | None:
    """A LoRA for few steps makes the same picture, or a worse one, of many."""
    c = context.configuration
    applied = [lora.file for lora in c.loras if lora.weight]
    made_for = {file: steps for file in applied if (steps := _count_steps(file, c.model, context.version))}
    file = min(made_for, key=lambda name: made_for[name], default="")
    if not file or c.steps <= _MANY_STEPS * made_for[file]:
        return None
    return Text(
        "{steps} {given} is far more than the {few} that the LoRA {file} is made for: slow and harsh. Leave it out.",
        given=c.steps,
        few=made_for[file],
        file=file,
    )


def _count_steps(lora: str, model: str, version: str) -> int:
    """The few steps that a LoRA is made for, by its recipe or its name; 0 when it is none for few steps."""
    recipe = find_recipe(model, version, [lora])
    if recipe is not None and lora in recipe.loras:
        return int(recipe.parse().fields.get("steps", 0))
    named = _FEW_STEPS.search(lora)
    return int(named[1]) if named else 0


def _knows_all_of(model: Model) -> bool:
    """Whether all that a server knows of a model is known here."""
    return is_whole("models", model.specification)


def _is_consistency(entry: CatalogEntry | None) -> bool:
    return entry is not None and bool(entry.specification.get("is_consistency_model"))


def has_idle_image_guidance(context: Context) -> str | None:
    """Image guidance is about models of the modifier ``editing``."""
    if context.facts is None or context.configuration.image_guidance_scale == _DEFAULTS.image_guidance_scale:
        return None
    if context.modifier == "editing":
        return None
    return Text("{image_guidance_scale} has no effect on {file}. Leave it out.", file=context.configuration.model)


def has_idle_tea_cache(context: Context) -> str | None:
    """The cache needs coefficients for the model."""
    model, facts = context.model, context.facts
    if not context.configuration.tea_cache or model is None or facts is None or facts.has_tea_cache:
        return None
    if not _knows_all_of(model) or model.specification.get("tea_cache_coefficients"):
        return None
    return Text("{tea_cache} has no effect on {file}, for which no coefficients exist. Leave it out.", file=model.file)


def has_idle_texts(context: Context) -> str | None:
    """Texts for single encoders are read only when that is switched on."""
    c = context.configuration
    texts = (
        ("clip_l_text", c.clip_l_text, c.separate_clip_l),
        ("open_clip_g_text", c.open_clip_g_text, c.separate_open_clip_g),
        ("t5_text", c.t5_text, c.separate_t5),
    )
    idle = [name for name, text, is_read in texts if text and not is_read]
    if not idle:
        return None
    names = ", ".join(f"{{{name}}}" for name in idle)
    switches = ", ".join(f"{{separate_{name.removesuffix('_text')}}}" for name in idle)
    return Text(f"{names} is not read. Set {switches} to true as well, or leave it out.")


def lacks_text_encoder(context: Context) -> str | None:
    """Texts for an encoder that the model does not have go nowhere."""
    c = context.configuration
    lacking = [
        ("{separate_t5}", c.separate_t5 and context.version in _WITHOUT_T5),
        ("{separate_open_clip_g}", c.separate_open_clip_g and context.version in _WITHOUT_OPEN_CLIP),
    ]
    names = ", ".join(name for name, is_idle in lacking if is_idle)
    if not names:
        return None
    return Text(names + " has no effect on {file}, which has no such text encoder. Leave it out.", file=c.model)


def repeats_itself(context: Context) -> str | None:
    """Far above its native size a model draws things several times; a smaller first pass or tiles prevent that."""
    c = context.configuration
    if context.model is None or context.makes_video or (context.request.canvas is not None and c.strength == 0):
        return None
    if not exceeds_native(context.model, c.width, c.height) or context.first_pass or c.tiled_diffusion:
        return None
    if context.starts_from_canvas or context.reads_references:
        return Text(
            "{file} is made for {side}x{side}: at {size} it needs much memory and may draw things several times. Use "
            "{tiled_diffusion}, or {upscale} afterwards.",
            file=c.model,
            side=context.model.native_side,
            size=f"{c.width}x{c.height}",
            upscale=Step("upscale"),
        )
    return Text(
        "{file} is made for {side}x{side}: at {size} it draws things several times. Use {hires_fix} with a first pass "
        "of "
        "about that size, or enlarge a smaller picture.",
        file=c.model,
        side=context.model.native_side,
        size=f"{c.width}x{c.height}",
    )


def has_idle_hires_fix(context: Context) -> str | None:
    """Hires fix needs a smaller first pass, and noise to start from."""
    c = context.configuration
    if not c.hires_fix or context.version == CASCADE or context.first_pass:
        return None
    if context.starts_from_canvas:
        return Text(
            "{hires_fix} has no effect on a run that starts from {canvas}. Leave it out, or use {strength} 1 and no "
            "mask."
        )
    return Text(
        "{hires_fix} has no effect: its first pass of {first} must be smaller than {size} on both sides. Change "
        "{hires_fix_width} and {hires_fix_height}.",
        first=f"{c.hires_fix_width}x{c.hires_fix_height}",
        size=f"{c.width}x{c.height}",
    )


def sets_ignored_fields(context: Context) -> str | None:
    """The open server does not read these."""
    c = context.configuration
    idle = ["{compression_artifacts}"] if c.compression_artifacts is not CompressionMethod.Disabled else []
    idle += ["{expand_prompt_to_json}"] if c.expand_prompt_to_json else []
    return Text(f"{', '.join(idle)} has no effect on a stand-alone server. Leave it out.") if idle else None


SAMPLING_RULES: tuple[Rule, ...] = (
    refuse("§2.2", yields_nan, "sampler"),
    warn("§2.2", samples_flow_evenly),
    warn("§2.5", has_idle_shift),
    warn("§2.1, §2.4", has_idle_guidance_embed),
    warn("§2.4", has_idle_negative_prompt),
    warn("§2.4", overdoes_guidance),
    warn("§2.4", overdoes_steps),
    warn("§5.5", has_idle_image_guidance),
    warn("§2.4", has_idle_tea_cache),
    warn("§2.1", has_idle_texts),
    warn("§2.1", lacks_text_encoder),
    warn("§2.4", repeats_itself),
    warn("§2.4", has_idle_hires_fix),
    warn("§2.4", sets_ignored_fields),
)
