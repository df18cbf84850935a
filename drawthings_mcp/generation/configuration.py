"""The configuration of a run as a frozen value, in pixels, checked on construction.

Field names are the app's, in snake_case; the wire's names are accepted as aliases where they differ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from drawthings_mcp.errors import InvalidInputError, UnknownNameError
from drawthings_mcp.generation.app_json import UNIT_SIZES, build_object, list_keys, parse_fields
from drawthings_mcp.generation.enums import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    LoRAMode,
    SamplerType,
    SeedMode,
)
from drawthings_mcp.limits import MAX_SEED, MAX_SIDE, MIN_SIDE, UNIT
from drawthings_mcp.validation import build_refusal, suggest


def _multiple_of_unit(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and value % UNIT:
        below = value - value % UNIT
        raise ValueError(f"must be a multiple of {UNIT}, got {value}; nearest are {below} and {below + UNIT}")
    return value


def _parse_sampler(value: Any) -> Any:
    return SamplerType.parse(value) if isinstance(value, str) else value


def _parse_member(value: Any, info: Any) -> Any:
    """Enum members by name, in any case; numbers are left to pydantic."""
    if not isinstance(value, str):
        return value
    enum_type = _NAMED_ENUMS[info.field_name]
    by_name = {member.name.lower(): member for member in enum_type}
    member = by_name.get(value.lower().replace(" ", "").replace("_", ""))
    if member is None:
        raise ValueError(f"must be one of {', '.join(m.name for m in enum_type)}, got {value!r}")
    return member


_NAMED_ENUMS: dict[str, Any] = {
    "mode": LoRAMode,
    "control_mode": ControlMode,
    "input_override": ControlInputType,
    "seed_mode": SeedMode,
    "compression_artifacts": CompressionMethod,
    "color_calibration": ColorCalibration,
}

UnitSide = Annotated[int, BeforeValidator(_multiple_of_unit), Field(ge=MIN_SIDE, le=MAX_SIDE)]
OptionalUnitSide = Annotated[int, BeforeValidator(_multiple_of_unit), Field(ge=0, le=MAX_SIDE)]
TileSide = Annotated[int, BeforeValidator(_multiple_of_unit), Field(ge=UNIT, le=MAX_SIDE)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Guidance = Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)]
SideLength = Annotated[int, Field(ge=0, le=65_535)]


class _FrozenConfig(BaseModel):
    """Frozen, closed, and refusing with this package's own error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, validate_default=False)

    def __init__(self, *values: Any, **fields: Any) -> None:
        names = list(type(self).model_fields)
        if len(values) > len(names):
            raise InvalidInputError(f"{type(self).__name__} takes at most {len(names)} values, got {len(values)}.")
        given = {**dict(zip(names, values, strict=False)), **fields}
        self._check_aliases(given)
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise build_refusal(error, type(self).model_fields) from None

    @classmethod
    def _names_by_alias(cls) -> dict[str, str]:
        return {
            str(alias): name
            for name, field in cls.model_fields.items()
            if isinstance(field.validation_alias, AliasChoices)
            for alias in field.validation_alias.choices
        }

    @classmethod
    def _check_aliases(cls, given: Mapping[str, Any]) -> None:
        """Refuses a field that is given under two names, of which pydantic would call one unknown."""
        names = cls._names_by_alias()
        seen: dict[str, str] = {}
        for key in given:
            other = seen.setdefault(names.get(key, key), key)
            if other != key:
                raise InvalidInputError(
                    f"{other} and {key} are the same field; give one of them.", parameter=names.get(key, key)
                )

    def __repr__(self) -> str:
        """Only what differs from the defaults, so that a configuration can be read."""
        shown = (
            f"{name}={getattr(self, name)!r}"
            for name, field in type(self).model_fields.items()
            if field.is_required() or getattr(self, name) != field.get_default(call_default_factory=True)
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    __str__ = __repr__

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked like a new one."""
        # Aliases of a changed field must not meet its own name, so names are resolved first.
        names = self._names_by_alias()
        current = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**current, **{names.get(key, key): value for key, value in changes.items()}})


class LoRAConfig(_FrozenConfig):
    """A LoRA to apply, by its file on the server."""

    file: str = Field(min_length=1)
    weight: float = Field(default=0.6, ge=-10, le=10, allow_inf_nan=False)
    mode: LoRAMode = LoRAMode.All

    _by_name = field_validator("mode", mode="before")(_parse_member)


class ControlNetConfig(_FrozenConfig):
    """A control to apply, by its file on the server.

    ``input_override`` is read only for union controls, whose own metadata names no input type.
    """

    file: str = ""
    weight: float = Field(default=1.0, ge=0, le=10, allow_inf_nan=False)
    guidance_start: Share = 0.0
    guidance_end: Share = 1.0
    no_prompt: bool = False
    global_average_pooling: bool = True
    down_sampling_rate: float = Field(default=1.0, ge=1, le=64, allow_inf_nan=False)
    control_mode: ControlMode = Field(
        default=ControlMode.Balanced, validation_alias=AliasChoices("control_mode", "control_importance")
    )
    target_blocks: tuple[str, ...] = ()
    input_override: ControlInputType = ControlInputType.Unspecified

    _by_name = field_validator("control_mode", "input_override", mode="before")(_parse_member)


class ImageGenerationConfig(_FrozenConfig):
    """Everything about a run but the prompt and the pictures.

    Sizes are in pixels; those of the canvas, the first pass and tiles are multiples of 64. Defaults are those
    of a new configuration in the app (protocol §2.4). ``cfg_scale`` and ``scheduler`` are accepted for
    ``guidance_scale`` and ``sampler``; samplers are also accepted by their display names.

    Raises
    ------
    InvalidInputError
        A value is out of range or a field does not exist; the message has one line per field.
    """

    model: str = ""
    width: UnitSide = Field(default=1024, validation_alias=AliasChoices("width", "start_width"))
    height: UnitSide = Field(default=1024, validation_alias=AliasChoices("height", "start_height"))
    seed: int = Field(default=-1, ge=-1, le=MAX_SEED)
    """-1 draws one before the request is sent; on the wire there is no random seed."""
    steps: int = Field(default=20, ge=1, le=150)
    guidance_scale: Guidance = Field(default=4.5, validation_alias=AliasChoices("guidance_scale", "cfg_scale"))
    strength: Share = 1.0
    sampler: Annotated[SamplerType, BeforeValidator(_parse_sampler)] = Field(
        default=SamplerType.UniPCAYS, validation_alias=AliasChoices("sampler", "scheduler")
    )
    seed_mode: SeedMode = SeedMode.ScaleAlike
    shift: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False)
    """Ignored while ``resolution_dependent_shift`` is true and the model honours that (protocol §2.5)."""
    resolution_dependent_shift: bool = True
    batch_count: int = Field(default=1, ge=1, le=100)
    """Passes, one after the other; the client loops, a server ignores it."""
    batch_size: int = Field(default=1, ge=1, le=4)
    """Images in one pass."""
    clip_skip: int = Field(default=1, ge=1, le=23)
    loras: tuple[LoRAConfig, ...] = ()
    controls: tuple[ControlNetConfig, ...] = ()

    hires_fix: bool = False
    hires_fix_width: OptionalUnitSide = Field(
        default=448, validation_alias=AliasChoices("hires_fix_width", "hires_fix_start_width")
    )
    hires_fix_height: OptionalUnitSide = Field(
        default=448, validation_alias=AliasChoices("hires_fix_height", "hires_fix_start_height")
    )
    hires_fix_strength: Share = 0.7
    upscaler: str = ""
    upscaler_scale_factor: int = Field(default=0, ge=0, le=4)
    face_restoration: str = ""
    refiner_model: str = ""
    refiner_start: Share = 0.85
    image_guidance_scale: Guidance = 1.5
    sharpness: float = Field(default=0.0, ge=0, le=30, allow_inf_nan=False)

    mask_blur: float = Field(default=1.5, ge=0, le=100, allow_inf_nan=False)
    mask_blur_outset: int = Field(default=0, ge=-1000, le=1000)
    preserve_original_after_inpaint: bool = True
    color_calibration: ColorCalibration = ColorCalibration.Disabled

    tiled_decoding: bool = False
    decoding_tile_width: TileSide = 640
    decoding_tile_height: TileSide = 640
    decoding_tile_overlap: OptionalUnitSide = 128
    tiled_diffusion: bool = False
    diffusion_tile_width: TileSide = 1024
    diffusion_tile_height: TileSide = 1024
    diffusion_tile_overlap: OptionalUnitSide = 128

    speed_up_with_guidance_embed: bool = True
    guidance_embed: Guidance = 3.5
    t5_text_encoder: bool = True
    separate_clip_l: bool = False
    clip_l_text: str = ""
    separate_open_clip_g: bool = False
    open_clip_g_text: str = ""
    separate_t5: bool = False
    t5_text: str = ""
    zero_negative_prompt: bool = False
    expand_prompt_to_json: bool = False

    tea_cache: bool = False
    tea_cache_start: int = Field(default=5, ge=0, le=1000)
    tea_cache_end: int = Field(default=-1, ge=-1000, le=1000)
    tea_cache_threshold: Share = 0.06
    tea_cache_max_skip_steps: int = Field(default=3, ge=0, le=1000)
    cfg_zero_star: bool = False
    cfg_zero_init_steps: int = Field(default=0, ge=0, le=1000)
    stochastic_sampling_gamma: Share = 0.3

    original_image_width: SideLength = 0
    original_image_height: SideLength = 0
    crop_top: int = Field(default=0, ge=-65_535, le=65_535)
    crop_left: int = Field(default=0, ge=-65_535, le=65_535)
    target_image_width: SideLength = 0
    target_image_height: SideLength = 0
    negative_original_image_width: SideLength = 0
    negative_original_image_height: SideLength = 0
    aesthetic_score: float = Field(default=6.0, ge=0, le=10, allow_inf_nan=False)
    negative_aesthetic_score: float = Field(default=2.5, ge=0, le=10, allow_inf_nan=False)

    clip_weight: float = Field(default=1.0, ge=0, le=10, allow_inf_nan=False)
    negative_prompt_for_image_prior: bool = True
    image_prior_steps: int = Field(default=5, ge=1, le=150)
    stage_2_steps: int = Field(default=10, ge=1, le=150)
    stage_2_guidance: Guidance = Field(default=1.0, validation_alias=AliasChoices("stage_2_guidance", "stage_2_cfg"))
    stage_2_shift: float = Field(default=1.0, gt=0, le=100, allow_inf_nan=False)

    num_frames: int = Field(default=14, ge=1, le=1000)
    fps: int = Field(default=5, ge=1, le=120, validation_alias=AliasChoices("fps", "fps_id"))
    motion_scale: int = Field(
        default=127, ge=0, le=255, validation_alias=AliasChoices("motion_scale", "motion_bucket_id")
    )
    guiding_frame_noise: Share = Field(default=0.02, validation_alias=AliasChoices("guiding_frame_noise", "cond_aug"))
    start_frame_guidance: Guidance = Field(
        default=1.0, validation_alias=AliasChoices("start_frame_guidance", "start_frame_cfg")
    )
    causal_inference_enabled: bool = False
    causal_inference: int = Field(default=3, ge=0, le=1000)
    """Latent frames; 0 also switches it off."""
    causal_inference_pad: int = Field(default=0, ge=0, le=1000)
    compression_artifacts: CompressionMethod = CompressionMethod.Disabled
    compression_artifacts_quality: float = Field(default=43.1, ge=0, le=100, allow_inf_nan=False)

    name: str = ""
    """Name of the preset; servers ignore it."""

    _by_name = field_validator("seed_mode", "compression_artifacts", "color_calibration", mode="before")(_parse_member)

    @property
    def cfg_scale(self) -> float:
        """Another name of ``guidance_scale``."""
        return self.guidance_scale

    @property
    def scheduler(self) -> str:
        """Display name of ``sampler``."""
        return self.sampler.display_name

    @classmethod
    def from_app_json(cls, data: Mapping[str, Any]) -> Self:
        """A configuration from the app's JSON object, complete or partial; see ``parse_app_json``."""
        return cls(**parse_app_json(data))

    def to_app_json(self) -> dict[str, Any]:
        """The complete JSON object that the app copies and pastes, floats as exact 32-bit floats."""
        data = build_object(self)
        data["loras"] = [build_object(lora) for lora in self.loras]
        data["controls"] = [build_object(control) for control in self.controls]
        if not self.causal_inference_enabled:
            data["causalInference"] = data["causalInferencePad"] = 0
        return data


def list_app_keys() -> Mapping[str, str]:
    """The keys of the app's JSON object, each with the field of ``ImageGenerationConfig`` that it sets."""
    return list_keys(ImageGenerationConfig)


_IGNORED_KEYS = frozenset({"id", "name", "version"})
"""Keys that the app writes or reads besides the settings."""


def check_keys(data: Mapping[str, Any]) -> None:
    """Refuses keys that are not the app's, which would be ignored.

    Raises
    ------
    UnknownNameError
        Names the ones that are like it.
    """
    keys = list_app_keys()
    if unknown := next((key for key in data if key not in keys and key not in _IGNORED_KEYS), None):
        raise UnknownNameError(
            f"there is no key {unknown!r}.{suggest(unknown, keys)}", name=unknown, parameter="configuration"
        )


def parse_app_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that an app JSON object sets, ready for ``ImageGenerationConfig(**fields)``.

    Sizes are floored to multiples of 64, as the app does. ``null`` counts as absent.

    Raises
    ------
    InvalidInputError
        The value is not an object, or a nested value has the wrong form.
    """
    fields = parse_fields(ImageGenerationConfig, data, "A configuration")
    for name in UNIT_SIZES & fields.keys():
        if isinstance(fields[name], int | float) and math.isfinite(fields[name]):
            fields[name] = int(fields[name]) // UNIT * UNIT
    for name, kind, what in (("loras", LoRAConfig, "A LoRA"), ("controls", ControlNetConfig, "A control")):
        if name in fields:
            items = fields[name]
            if not isinstance(items, list):
                raise InvalidInputError(f"must be a list, got {type(items).__name__}", parameter=name, value=items)
            fields[name] = tuple(kind(**parse_fields(kind, item, what)) for item in items)
    if isinstance(fields.get("seed"), int) and fields["seed"] < 0:
        fields["seed"] = -1
    if "causal_inference" in fields:
        fields["causal_inference_enabled"] = bool(fields["causal_inference"])
        if not fields["causal_inference"]:
            del fields["causal_inference"]  # 0 says "off", not how many frames there would be
    return fields
