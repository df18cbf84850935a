"""The configuration of a run as a value, in pixels, and what of it the app's JSON sets.

Field names are the app's, in snake_case; the wire's names are accepted as aliases where they differ.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Self, Unpack

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    field_validator,
)

from drawthings_mcp.errors import DrawThingsWarning, InvalidInputError
from drawthings_mcp.faces import Text, say
from drawthings_mcp.generation.app_json import UNIT_SIZES, build_object, list_keys, parse_fields
from drawthings_mcp.generation.checked import (
    CheckedConfig,
    Count,
    Float32,
    Guidance,
    InApp,
    Int32,
    OptionalUnitSide,
    Score,
    Share,
    Shift,
    SideLength,
    Steps,
    TileSide,
    UInt8,
    UInt32,
    UnitSide,
    parse_member,
    parse_sampler,
)
from drawthings_mcp.generation.enums import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    LoRAMode,
    SamplerType,
    SeedMode,
)
from drawthings_mcp.generation.fields import ConfigurationFields, ControlFields
from drawthings_mcp.limits import MAX_GIVEN_UNITS, MAX_SEED, UNIT
from drawthings_mcp.validation import shorten

_MOST_LISTED = 8
"""Unknown keys that a note names."""


class LoRAConfig(CheckedConfig):
    """A LoRA to apply, by its file on the server."""

    file: str = Field(min_length=1)
    weight: Annotated[Float32, InApp(-10, 10)] = 0.6
    mode: LoRAMode = LoRAMode.All

    if TYPE_CHECKING:

        def __init__(self, file: str, weight: float = ..., mode: LoRAMode | str | int = ...) -> None: ...

    _by_name = field_validator("mode", mode="before")(parse_member)


class ControlNetConfig(CheckedConfig):
    """A control to apply, by its file on the server.

    ``input_override`` is read only for union controls, whose own metadata names no input type.
    """

    file: str = ""
    weight: Score = 1.0
    guidance_start: Share = 0.0
    guidance_end: Share = 1.0
    no_prompt: bool = False
    global_average_pooling: bool = True
    down_sampling_rate: Annotated[Float32, InApp(1, 64)] = 1.0
    control_mode: ControlMode = Field(
        default=ControlMode.Balanced, validation_alias=AliasChoices("control_mode", "control_importance")
    )
    target_blocks: tuple[str, ...] = ()
    input_override: ControlInputType = ControlInputType.Unspecified

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ControlFields]) -> None: ...

    _by_name = field_validator("control_mode", "input_override", mode="before")(parse_member)


class ImageGenerationConfig(CheckedConfig):
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
    steps: Steps = 20
    guidance_scale: Guidance = Field(default=4.5, validation_alias=AliasChoices("guidance_scale", "cfg_scale"))
    strength: Share = 1.0
    sampler: Annotated[SamplerType, BeforeValidator(parse_sampler)] = Field(
        default=SamplerType.UniPCAYS, validation_alias=AliasChoices("sampler", "scheduler")
    )
    seed_mode: SeedMode = SeedMode.ScaleAlike
    shift: Shift = 1.0
    """Ignored while ``resolution_dependent_shift`` is true and the model honours that (protocol §2.5)."""
    resolution_dependent_shift: bool = True
    batch_count: Annotated[UInt32, InApp(1, 100)] = 1
    """Passes, one after the other; the client loops, a server ignores it."""
    batch_size: Annotated[UInt32, InApp(1, 4)] = 1
    """Images in one pass."""
    clip_skip: Annotated[UInt32, InApp(1, 23)] = 1
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
    upscaler_scale_factor: Annotated[UInt8, InApp(0, 4)] = 0
    face_restoration: str = ""
    refiner_model: str = ""
    refiner_start: Share = 0.85
    image_guidance_scale: Guidance = 1.5
    sharpness: Annotated[Float32, InApp(0, 30)] = 0.0

    mask_blur: Annotated[Float32, InApp(0, 100)] = 1.5
    mask_blur_outset: Annotated[Int32, InApp(-1000, 1000)] = 0
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
    tea_cache_start: Count = 5
    tea_cache_end: Annotated[Int32, InApp(-1000, 1000)] = -1
    tea_cache_threshold: Share = 0.06
    tea_cache_max_skip_steps: Count = 3
    cfg_zero_star: bool = False
    cfg_zero_init_steps: Count = 0
    stochastic_sampling_gamma: Share = 0.3

    original_image_width: SideLength = 0
    original_image_height: SideLength = 0
    crop_top: Annotated[Int32, InApp(-65_535, 65_535)] = 0
    crop_left: Annotated[Int32, InApp(-65_535, 65_535)] = 0
    target_image_width: SideLength = 0
    target_image_height: SideLength = 0
    negative_original_image_width: SideLength = 0
    negative_original_image_height: SideLength = 0
    aesthetic_score: Score = 6.0
    negative_aesthetic_score: Score = 2.5

    clip_weight: Score = 1.0
    negative_prompt_for_image_prior: bool = True
    image_prior_steps: Steps = 5
    stage_2_steps: Steps = 10
    stage_2_guidance: Guidance = Field(default=1.0, validation_alias=AliasChoices("stage_2_guidance", "stage_2_cfg"))
    stage_2_shift: Shift = 1.0

    num_frames: Annotated[UInt32, InApp(1, 1000)] = 14
    fps: Annotated[UInt32, InApp(1, 120)] = Field(default=5, validation_alias=AliasChoices("fps", "fps_id"))
    motion_scale: Annotated[UInt32, InApp(0, 255)] = Field(
        default=127, validation_alias=AliasChoices("motion_scale", "motion_bucket_id")
    )
    guiding_frame_noise: Share = Field(default=0.02, validation_alias=AliasChoices("guiding_frame_noise", "cond_aug"))
    start_frame_guidance: Guidance = Field(
        default=1.0, validation_alias=AliasChoices("start_frame_guidance", "start_frame_cfg")
    )
    causal_inference_enabled: bool = False
    causal_inference: Count = 3
    """Latent frames; 0 also switches it off."""
    causal_inference_pad: Count = 0
    compression_artifacts: CompressionMethod = CompressionMethod.Disabled
    compression_artifacts_quality: Annotated[Float32, InApp(0, 100)] = 43.1
    shift_for_audio: Shift = 3.0
    uses_sol_attention: bool = False
    sol_attention_start: Count = 2
    sol_attention_tau: Share = 0.5

    name: str = ""
    """Name of the preset; servers ignore it."""

    _by_name = field_validator("seed_mode", "compression_artifacts", "color_calibration", mode="before")(parse_member)

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ConfigurationFields]) -> None: ...

        # The names are known here.
        def replace(self, **changes: Unpack[ConfigurationFields]) -> Self: ...  # type: ignore[override]

    @property
    def cfg_scale(self) -> float:
        """Another name of ``guidance_scale``."""
        return self.guidance_scale

    @cfg_scale.setter
    def cfg_scale(self, value: float) -> None:
        self.guidance_scale = value

    @property
    def scheduler(self) -> str:
        """Display name of ``sampler``."""
        return self.sampler.display_name

    @scheduler.setter
    def scheduler(self, value: str) -> None:
        self.sampler = SamplerType.parse(value)

    def list_files(self) -> tuple[str, ...]:
        """The files on a server that it names, each once."""
        parts = (*(lora.file for lora in self.loras), *(control.file for control in self.controls))
        named = (self.model, self.refiner_model, self.upscaler, self.face_restoration, *parts)
        return tuple(dict.fromkeys(filter(None, named)))

    @classmethod
    def from_app_json(cls, data: Mapping[str, Any]) -> Self:
        """A configuration from the app's JSON object, complete or partial; see ``parse_app_json``.

        Values outside the app's user interface are kept. What is not known here, such as keys of a newer app, is left
        out with a ``DrawThingsWarning`` that names it.
        """
        settings = parse_app_json(data)
        if settings.unknown:
            warnings.warn(f"not known here and left out: {settings.describe_unknown()}", DrawThingsWarning, 2)
        return cls.from_saved(**settings.fields)

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


def name_key(error: InvalidInputError) -> Text:
    """An error about a field as one about its key in the app's JSON object."""
    keys = {name: key for key, name in list_app_keys().items()}
    if error.parameter not in keys:
        return Text("{error}", error=error)
    return Text("{key}: {problem}", key=say(keys[error.parameter]), problem=say(error.problem))


@cache
def list_ranges() -> Mapping[str, InApp]:
    """The fields of ``ImageGenerationConfig`` that have a range in the app's user interface, each with that range."""
    return {
        name: part
        for name, field in ImageGenerationConfig.model_fields.items()
        for part in field.metadata
        if isinstance(part, InApp)
    }


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What an app JSON object sets.

    Attributes
    ----------
    fields
        Of an ``ImageGenerationConfig``, ready for ``from_saved``.
    unknown
        What is not known here, and so is none of the fields: keys, words and numbers, for people.
    """

    fields: dict[str, Any]
    unknown: tuple[str, ...] = ()

    def describe_unknown(self) -> str:
        """The first few of what is not known, in one line."""
        more = len(self.unknown) - _MOST_LISTED
        return ", ".join(self.unknown[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def parse_app_json(data: Mapping[str, Any]) -> AppSettings:
    """What an app JSON object sets, complete or partial, of this age or a newer one.

    Sizes are pixels, floored to multiples of 64 as the app does, or at most 32 units of 64. ``null`` counts as absent.
    A value may lie outside the app's user interface; one that the wire cannot hold counts as unknown.

    Raises
    ------
    InvalidInputError
        The value is not an object, or a value in it is of the wrong type.
    """
    fields, unknown = parse_fields(ImageGenerationConfig, data, "A configuration")
    for name in UNIT_SIZES & fields.keys():
        value = fields[name]
        if isinstance(value, int | float) and math.isfinite(value):
            fields[name] = int(value) // (1 if value <= MAX_GIVEN_UNITS else UNIT) * UNIT
    if isinstance(fields.get("loras"), list):
        named = [item for item in fields["loras"] if not isinstance(item, Mapping) or item.get("file")]
        unknown += ["a LoRA without a file"] * (len(named) < len(fields["loras"]))
        fields["loras"] = named
    for name, kind, what in (("loras", LoRAConfig, "A LoRA"), ("controls", ControlNetConfig, "A control")):
        if name in fields:
            items = fields[name]
            if not isinstance(items, list):
                raise InvalidInputError(f"must be a list, got {type(items).__name__}", parameter=name, value=items)
            parsed = [_parse_item(kind, item, what) for item in items]
            fields[name] = tuple(item for item, _ in parsed)
            unknown += [f"{key} in {name}" for _, keys in parsed for key in keys]
    if isinstance(fields.get("seed"), int) and fields["seed"] < 0:
        fields["seed"] = -1
    unknown += _drop_unsendable(ImageGenerationConfig, fields)
    if "causal_inference" in fields:
        fields["causal_inference_enabled"] = bool(fields["causal_inference"])
        if not fields["causal_inference"]:
            del fields["causal_inference"]  # 0 says "off", not how many frames there would be
    ImageGenerationConfig.from_saved(**fields)
    return AppSettings(fields, tuple(dict.fromkeys(unknown)))


def _parse_item(
    kind: type[LoRAConfig | ControlNetConfig], data: Any, what: str
) -> tuple[LoRAConfig | ControlNetConfig, list[str]]:
    fields, unknown = parse_fields(kind, data, what)
    unknown += _drop_unsendable(kind, fields)
    return kind.from_saved(**fields), unknown


def _drop_unsendable(kind: type[CheckedConfig], fields: dict[str, Any]) -> list[str]:
    keys = {name: key for key, name in list_keys(kind).items()}
    return [f"{keys[name]} {shorten(fields.pop(name))}" for name in kind.list_unsendable(fields)]
