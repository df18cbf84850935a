"""Names and types of the fields of a configuration as they may be given, for type checkers; other names included.

``configuration`` has the fields themselves; a test holds these names to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from drawthings_mcp.generation.configuration import ControlNetConfig, LoRAConfig
    from drawthings_mcp.generation.enums import (
        ColorCalibration,
        CompressionMethod,
        ControlInputType,
        ControlMode,
        SamplerType,
        SeedMode,
    )


class ControlFields(TypedDict, total=False):
    """What ``ControlNetConfig`` takes."""

    file: str
    weight: float
    guidance_start: float
    guidance_end: float
    no_prompt: bool
    global_average_pooling: bool
    down_sampling_rate: float
    control_mode: ControlMode | str | int
    control_importance: ControlMode | str | int
    target_blocks: Sequence[str]
    input_override: ControlInputType | str | int


class ConfigurationFields(TypedDict, total=False):
    """What ``ImageGenerationConfig`` takes."""

    model: str
    width: int
    start_width: int
    height: int
    start_height: int
    seed: int
    steps: int
    guidance_scale: float
    cfg_scale: float
    strength: float
    sampler: SamplerType | str | int
    scheduler: SamplerType | str | int
    seed_mode: SeedMode | str | int
    shift: float
    resolution_dependent_shift: bool
    batch_count: int
    batch_size: int
    clip_skip: int
    loras: Sequence[LoRAConfig]
    controls: Sequence[ControlNetConfig]
    hires_fix: bool
    hires_fix_width: int
    hires_fix_start_width: int
    hires_fix_height: int
    hires_fix_start_height: int
    hires_fix_strength: float
    upscaler: str
    upscaler_scale_factor: int
    face_restoration: str
    refiner_model: str
    refiner_start: float
    image_guidance_scale: float
    sharpness: float
    mask_blur: float
    mask_blur_outset: int
    preserve_original_after_inpaint: bool
    color_calibration: ColorCalibration | str | int
    tiled_decoding: bool
    decoding_tile_width: int
    decoding_tile_height: int
    decoding_tile_overlap: int
    tiled_diffusion: bool
    diffusion_tile_width: int
    diffusion_tile_height: int
    diffusion_tile_overlap: int
    speed_up_with_guidance_embed: bool
    guidance_embed: float
    t5_text_encoder: bool
    separate_clip_l: bool
    clip_l_text: str
    separate_open_clip_g: bool
    open_clip_g_text: str
    separate_t5: bool
    t5_text: str
    zero_negative_prompt: bool
    expand_prompt_to_json: bool
    tea_cache: bool
    tea_cache_start: int
    tea_cache_end: int
    tea_cache_threshold: float
    tea_cache_max_skip_steps: int
    cfg_zero_star: bool
    cfg_zero_init_steps: int
    stochastic_sampling_gamma: float
    original_image_width: int
    original_image_height: int
    crop_top: int
    crop_left: int
    target_image_width: int
    target_image_height: int
    negative_original_image_width: int
    negative_original_image_height: int
    aesthetic_score: float
    negative_aesthetic_score: float
    clip_weight: float
    negative_prompt_for_image_prior: bool
    image_prior_steps: int
    stage_2_steps: int
    stage_2_guidance: float
    stage_2_cfg: float
    stage_2_shift: float
    num_frames: int
    fps: int
    fps_id: int
    motion_scale: int
    motion_bucket_id: int
    guiding_frame_noise: float
    cond_aug: float
    start_frame_guidance: float
    start_frame_cfg: float
    causal_inference_enabled: bool
    causal_inference: int
    causal_inference_pad: int
    compression_artifacts: CompressionMethod | str | int
    compression_artifacts_quality: float
    shift_for_audio: float
    uses_sol_attention: bool
    sol_attention_start: int
    sol_attention_tau: float
    name: str
