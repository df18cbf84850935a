"""Rules about numbers outside the app's user interface, which count for what the model at hand reads (protocol §2.8).

A table says which fields are read when; a field that is not in it is read by every model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import ImageGenerationConfig, SamplerType
from drawthings_mcp.generation.configuration import list_ranges
from drawthings_mcp.planning.abilities import CASCADE
from drawthings_mcp.planning.context import Context
from drawthings_mcp.planning.rules import Rule, warn

_ReadsIt: TypeAlias = Callable[[Context], bool]

ANY_VALUE = frozenset({"sharpness", "aesthetic_score", "negative_aesthetic_score"})
"""Fields of which every value has its effect: people set a sharpness of 200 where the app ends at 30."""


def _of(*versions: str) -> _ReadsIt:
    return lambda context: context.version in versions


def _with(field: str) -> _ReadsIt:
    """When a switch is on, or a file is named."""
    return lambda context: bool(getattr(context.configuration, field))


def _reads_shift(context: Context) -> bool:
    facts = context.facts
    if facts is None or not (facts.is_flow or context.version == CASCADE):
        return False
    return not (facts.shifts_by_resolution and context.configuration.resolution_dependent_shift)


def _infers_causally(context: Context) -> bool:
    return context.version.startswith("wan_") and context.configuration.causal_inference_enabled


def _embeds_guidance(context: Context) -> bool:
    return bool(context.model and context.model.guidance_embed and context.configuration.speed_up_with_guidance_embed)


_READ_WHEN: tuple[tuple[_ReadsIt, str], ...] = (
    (_of(CASCADE), "stage_2_steps stage_2_guidance stage_2_shift"),
    (_of("kandinsky2.1"), "clip_weight image_prior_steps"),
    (lambda context: context.makes_video, "num_frames"),
    (_of("svd_i2v"), "fps motion_scale guiding_frame_noise start_frame_guidance"),
    (_of("minimax_h3"), "shift_for_audio"),
    (_infers_causally, "causal_inference causal_inference_pad"),
    (_reads_shift, "shift"),
    (_with("tiled_decoding"), "decoding_tile_width decoding_tile_height decoding_tile_overlap"),
    (_with("tiled_diffusion"), "diffusion_tile_width diffusion_tile_height diffusion_tile_overlap"),
    (_with("hires_fix"), "hires_fix_width hires_fix_height hires_fix_strength"),
    (_with("refiner_model"), "refiner_start"),
    (_with("upscaler"), "upscaler_scale_factor"),
    (_with("tea_cache"), "tea_cache_start tea_cache_end tea_cache_threshold tea_cache_max_skip_steps"),
    (_with("cfg_zero_star"), "cfg_zero_init_steps"),
    (_with("uses_sol_attention"), "sol_attention_start sol_attention_tau"),
    (_embeds_guidance, "guidance_embed"),
    (lambda context: context.modifier == "editing", "image_guidance_scale"),
    (lambda context: context.facts is not None and not context.facts.is_flow, "clip_skip"),
    (lambda context: context.request.mask is not None, "mask_blur mask_blur_outset"),
    (
        lambda context: context.configuration.sampler in (SamplerType.TCD, SamplerType.TCDTrailing),
        "stochastic_sampling_gamma",
    ),
    (
        _of("sdxl_base_v0.9", "sdxl_refiner_v0.9", "ssd_1b"),
        "original_image_width original_image_height target_image_width target_image_height crop_top crop_left "
        "negative_original_image_width negative_original_image_height aesthetic_score negative_aesthetic_score",
    ),
    (lambda _: False, "compression_artifacts_quality"),
)
"""When some fields are read (protocol §2.1, §2.4, §2.5)."""

_READERS: Mapping[str, _ReadsIt] = {name: reads for reads, names in _READ_WHEN for name in names.split()}


def list_outside(configuration: ImageGenerationConfig) -> Iterator[tuple[str, Any]]:
    """The fields with a number outside the app's user interface, each with that."""
    for name, allowed in list_ranges().items():
        if not allowed.includes(value := getattr(configuration, name)):
            yield name, value


def check_ranges(context: Context) -> None:
    """Refuses numbers outside the app's user interface in fields that the model reads.

    Raises
    ------
    InvalidInputError
        Names the first such field and its range.
    """
    for name, value in list_outside(context.configuration):
        if name not in ANY_VALUE and _is_read(name, context):
            raise InvalidInputError(list_ranges()[name].explain(value), parameter=name, value=value)


def _is_read(name: str, context: Context) -> bool:
    return name not in _READERS or _READERS[name](context)


def exceeds_app(context: Context) -> str | None:
    """Some numbers count for more than the app lets one choose."""
    return _list_numbers(context, "{numbers}: outside the app's range, sent as it is.", is_read=True)


def sets_unread_numbers(context: Context) -> str | None:
    """Numbers that nobody reads do no harm."""
    return _list_numbers(context, "{numbers}: outside the app's range, but not read by this model.", is_read=False)


def _list_numbers(context: Context, template: str, *, is_read: bool) -> Text | None:
    found = [(name, value) for name, value in list_outside(context.configuration) if _is_read(name, context) == is_read]
    if not found:
        return None
    return Text(template, numbers=Text(", ".join(f"{{{name}}} {value:g}" for name, value in found)))


RANGE_RULES: tuple[Rule, ...] = (warn("§2.8", exceeds_app), warn("§2.8", sets_unread_numbers))
