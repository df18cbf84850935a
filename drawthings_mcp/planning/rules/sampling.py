"""Rules about the sampler, guidance, texts and passes."""

from __future__ import annotations

import math

from drawthings_mcp.generation import CompressionMethod, ImageGenerationConfig, SamplerType
from drawthings_mcp.limits import UNIT
from drawthings_mcp.planning.abilities import CASCADE
from drawthings_mcp.planning.context import Case
from drawthings_mcp.planning.rules.rule import Rule, refuse, warn

_FIRST_TRAILING = SamplerType.EulerATrailing
"""Samplers from here on are Trailing or AYS; those before space their steps from end to end (protocol §2.2)."""
_DEFAULTS = ImageGenerationConfig()


def yields_nan(case: Case) -> str | None:
    """Spacing one step from end to end divides by zero, and the result is empty."""
    c = case.configuration
    if c.steps > 1 or c.sampler >= _FIRST_TRAILING:
        return None
    return (
        f"sampler: one step with {c.sampler.display_name} gives an empty result. Use 2 steps or more, or a Trailing or "
        f"AYS sampler such as {SamplerType.EulerATrailing.display_name}."
    )


def samples_flow_evenly(case: Case) -> str | None:
    """Flow-matching models want their steps where the Trailing and AYS samplers take them."""
    sampler = case.configuration.sampler
    if case.facts is None or not case.facts.is_flow or sampler >= _FIRST_TRAILING:
        return None
    return (
        f"{sampler.display_name} suits {case.facts.name} badly. Use a Trailing or AYS sampler, such as "
        f"{SamplerType.EulerATrailing.display_name} or {SamplerType.UniPCTrailing.display_name}."
    )


def has_idle_shift(case: Case) -> str | None:
    """By default the shift follows the size of the picture where the model honours that."""
    c = case.configuration
    if case.facts is None or not case.facts.shifts_by_resolution or not c.resolution_dependent_shift:
        return None
    if c.shift == _DEFAULTS.shift or _is_consistency_model(case):
        return None
    return (
        f"shift {c.shift:g} is not used: it follows from the size and is {_find_shift(c):.2f}. "
        "Set resolution_dependent_shift to False to make yours count."
    )


def _find_shift(c: ImageGenerationConfig) -> float:
    """Protocol §2.5."""
    width, height = c.width, c.height
    if c.tiled_diffusion:
        width, height = min(width, c.diffusion_tile_width), min(height, c.diffusion_tile_height)
    return math.exp((16 * width * height / UNIT**2 - 256) * 0.65 / 3840 + 0.5)


def has_idle_guidance_embed(case: Case) -> str | None:
    """Only guidance-distilled models have an embedded guidance, and only with the speed-up."""
    c = case.configuration
    if not case.knows_all_of_model or case.model is None or c.guidance_embed == _DEFAULTS.guidance_embed:
        return None
    if not case.model.guidance_embed:
        return f"guidance_embed has no effect on {case.model.file}. Use guidance_scale."
    if not c.speed_up_with_guidance_embed:
        return "guidance_embed has no effect while speed_up_with_guidance_embed is False. Set that to True."
    return None


def has_idle_negative_prompt(case: Case) -> str | None:
    """Without classifier-free guidance nobody reads the negative prompt."""
    if not case.request.negative_prompt.strip() or case.model is None:
        return None
    c = case.configuration
    if case.model.guidance_embed and c.speed_up_with_guidance_embed:
        return (
            f"negative_prompt has no effect on {case.model.file}, whose guidance is built in. "
            "Say in the prompt what you want instead, or set speed_up_with_guidance_embed to False."
        )
    if _is_consistency_model(case) or any(_is_consistency(chosen.entry) for chosen in case.loras):
        return f"negative_prompt has no effect on the few steps of {case.model.file}. Say in the prompt what you want."
    if c.guidance_scale == 1:
        return (
            "negative_prompt has no effect at guidance_scale 1. Say in the prompt what you want instead, or raise "
            "guidance_scale."
        )
    return None


def _is_consistency_model(case: Case) -> bool:
    return _is_consistency(case.model)


def _is_consistency(entry: object) -> bool:
    return bool(getattr(entry, "specification", {}).get("is_consistency_model"))


def has_idle_image_guidance(case: Case) -> str | None:
    """Image guidance is about models of the modifier ``editing``."""
    if case.facts is None or case.configuration.image_guidance_scale == _DEFAULTS.image_guidance_scale:
        return None
    if case.modifier == "editing":
        return None
    return f"image_guidance_scale has no effect on {case.configuration.model}. Leave it out."


def has_idle_tea_cache(case: Case) -> str | None:
    """The cache needs coefficients for the model."""
    if not case.configuration.tea_cache or case.model is None or case.facts is None or case.facts.has_tea_cache:
        return None
    if not case.knows_all_of_model or case.model.specification.get("tea_cache_coefficients"):
        return None
    return f"tea_cache has no effect on {case.model.file}, for which no coefficients exist. Leave it out."


def has_idle_texts(case: Case) -> str | None:
    """Texts for single encoders are read only when that is switched on."""
    c = case.configuration
    texts = (
        ("clip_l_text", c.clip_l_text, c.separate_clip_l),
        ("open_clip_g_text", c.open_clip_g_text, c.separate_open_clip_g),
        ("t5_text", c.t5_text, c.separate_t5),
    )
    idle = [name for name, text, is_read in texts if text and not is_read]
    if not idle:
        return None
    switches = ", ".join(f"separate_{name.removesuffix('_text')}" for name in idle)
    return f"{', '.join(idle)} is not read. Set {switches} to True as well, or leave it out."


def has_idle_hires_fix(case: Case) -> str | None:
    """Hires fix needs a smaller first pass, and noise to start from."""
    c = case.configuration
    if not c.hires_fix or case.version == CASCADE or case.first_pass:
        return None
    if case.starts_from_canvas:
        return (
            "hires_fix has no effect on a run that starts from input_image. "
            "Leave it out, or use strength 1 and no mask."
        )
    return (
        f"hires_fix has no effect: its first pass of {c.hires_fix_width}x{c.hires_fix_height} must be smaller than "
        f"{c.width}x{c.height} on both sides. Change hires_fix_width and hires_fix_height."
    )


def sets_ignored_fields(case: Case) -> str | None:
    """The open server does not read these."""
    c = case.configuration
    fields = (
        ("compression_artifacts", c.compression_artifacts is not CompressionMethod.Disabled),
        ("expand_prompt_to_json", c.expand_prompt_to_json),
    )
    idle = [name for name, is_set in fields if is_set]
    return f"{', '.join(idle)} has no effect on a stand-alone server. Leave it out." if idle else None


SAMPLING_RULES: tuple[Rule, ...] = (
    refuse("§2.2", yields_nan),
    warn("§2.2", samples_flow_evenly),
    warn("§2.5", has_idle_shift),
    warn("§2.1, §2.4", has_idle_guidance_embed),
    warn("§2.4", has_idle_negative_prompt),
    warn("§5.5", has_idle_image_guidance),
    warn("§2.4", has_idle_tea_cache),
    warn("§2.1", has_idle_texts),
    warn("§2.4", has_idle_hires_fix),
    warn("§2.4", sets_ignored_fields),
)
