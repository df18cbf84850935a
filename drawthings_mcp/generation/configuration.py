"""The configuration of a run as a value, in pixels, checked on construction and on assignment.

Field names are the app's, in snake_case; the wire's names are accepted as aliases where they differ.

Two ranges bound a field. What its slot on the wire can hold bounds every value. The narrower range of the app's user
interface (``InApp``) bounds what somebody sets here, by construction, assignment or ``replace``; what the app saved may
lie outside of it and is kept as it is (``from_saved``), because most fields are read by few models (protocol §2.8). The
guard compares those with the range that the model at hand reads.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias, Unpack

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from drawthings_mcp.errors import DrawThingsWarning, InvalidInputError
from drawthings_mcp.faces import Text, say
from drawthings_mcp.generation.app_json import MAX_FLOAT32, UNIT_SIZES, build_object, list_keys, parse_fields
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
from drawthings_mcp.limits import MAX_GIVEN_UNITS, MAX_SEED, MAX_SIDE, MIN_SIDE, UNIT
from drawthings_mcp.validation import build_refusal, shorten, suggest

_MOST_LISTED = 8
"""Unknown keys that a note names."""


def _to_pixels(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if 0 < value <= MAX_GIVEN_UNITS:
        return value * UNIT
    if value % UNIT:
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
        raise ValueError(f"must be one of {', '.join(m.name for m in enum_type)}, got {shorten(value)}")
    return member


_NAMED_ENUMS: dict[str, Any] = {
    "mode": LoRAMode,
    "control_mode": ControlMode,
    "input_override": ControlInputType,
    "seed_mode": SeedMode,
    "compression_artifacts": CompressionMethod,
    "color_calibration": ColorCalibration,
}

_SAVED = {"saved": True}
"""Validation context of values that something saved."""


@dataclass(frozen=True, slots=True)
class InApp:
    """The range of a field in the app's user interface; not applied to what was saved.

    Attributes
    ----------
    ge, le
        The least and the most.
    is_open
        Whether the least is itself outside.
    """

    ge: float
    le: float
    is_open: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return AfterValidator(self._check).__get_pydantic_core_schema__(source, handler)

    def _check(self, value: float, info: ValidationInfo) -> float:
        if info.context is not _SAVED and not self.includes(value):
            raise ValueError(self.explain(value))
        return value

    def includes(self, value: float) -> bool:
        """Whether a value is inside."""
        return (self.ge < value if self.is_open else self.ge <= value) and value <= self.le

    def explain(self, value: object) -> str:
        """What a value outside should have been."""
        least = f"above {self.ge:.10g} and at most" if self.is_open else f"from {self.ge:.10g} to"
        return f"must be {least} {self.le:.10g}, got {shorten(value)}"


_UInt8: TypeAlias = Annotated[int, Field(ge=0, le=2**8 - 1)]
_UInt32: TypeAlias = Annotated[int, Field(ge=0, le=2**32 - 1)]
_Int32: TypeAlias = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
_Float32: TypeAlias = Annotated[float, Field(ge=-MAX_FLOAT32, le=MAX_FLOAT32, allow_inf_nan=False)]
_Units: TypeAlias = Annotated[int, BeforeValidator(_to_pixels), Field(ge=0, le=(2**16 - 1) * UNIT)]

UnitSide: TypeAlias = Annotated[_Units, InApp(MIN_SIDE, MAX_SIDE)]
OptionalUnitSide: TypeAlias = Annotated[_Units, InApp(0, MAX_SIDE)]
TileSide: TypeAlias = Annotated[_Units, InApp(UNIT, MAX_SIDE)]
Share: TypeAlias = Annotated[_Float32, InApp(0, 1)]
Guidance: TypeAlias = Annotated[_Float32, InApp(0, 50)]
Shift: TypeAlias = Annotated[_Float32, InApp(0, 100, is_open=True)]
Score: TypeAlias = Annotated[_Float32, InApp(0, 10)]
SideLength: TypeAlias = Annotated[_UInt32, InApp(0, 65_535)]
Steps: TypeAlias = Annotated[_UInt32, InApp(1, 150)]
Count: TypeAlias = Annotated[_Int32, InApp(0, 1000)]


@cache
def _names_by_alias(kind: type[BaseModel]) -> Mapping[str, str]:
    return {
        str(alias): name
        for name, field in kind.model_fields.items()
        if isinstance(field.validation_alias, AliasChoices)
        for alias in field.validation_alias.choices
    }


class _CheckedConfig(BaseModel):
    """Closed, and refusing with this package's own error. Equal by content, so that it has no hash."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, validate_assignment=True, validate_default=False, frozen=False
    )

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
    def from_saved(cls, **fields: Any) -> Self:
        """A value as it was saved: numbers outside the app's user interface are kept.

        Raises
        ------
        InvalidInputError
            A value is of the wrong type, or the wire cannot hold it.
        """
        try:
            return cls._validate_saved(fields)
        except ValidationError as error:
            raise build_refusal(error, cls.model_fields) from None

    @classmethod
    def list_unsendable(cls, fields: Mapping[str, Any]) -> list[str]:
        """The fields with a number that the wire cannot hold, or that is no member of an enumeration known here."""
        try:
            cls._validate_saved(fields)
        except ValidationError as error:
            return [str(detail["loc"][0]) for detail in error.errors() if detail["type"] in _UNSENDABLE]
        return []

    @classmethod
    def _validate_saved(cls, fields: Mapping[str, Any]) -> Self:
        # ``__init__`` takes no context, so the value is made without it.
        made: Self = cls.__pydantic_validator__.validate_python(
            dict(fields), self_instance=cls.__new__(cls), context=_SAVED
        )
        return made

    @classmethod
    def _check_aliases(cls, given: Mapping[str, Any]) -> None:
        """Refuses a field that is given under two names, of which pydantic would call one unknown."""
        names = _names_by_alias(cls)
        seen: dict[str, str] = {}
        for key in given:
            other = seen.setdefault(names.get(key, key), key)
            if other != key:
                raise InvalidInputError(
                    f"{other} and {key} are the same field; give one of them.", parameter=names.get(key, key)
                )

    def __setattr__(self, name: str, value: Any) -> None:
        fields = type(self).model_fields
        field = _names_by_alias(type(self)).get(name, name)
        if field not in fields and not name.startswith("_"):
            raise InvalidInputError(f"there is no such field.{suggest(name, fields)}", parameter=name, value=value)
        try:
            super().__setattr__(field, value)
        except ValidationError as error:
            raise build_refusal(error, fields) from None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A field by another name of it."""
            if name in (names := _names_by_alias(type(self))):
                return getattr(self, names[name])
            return super().__getattr__(name)

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
        """A copy that shares nothing with this one, with some fields changed; the changes are checked."""
        fields, names = type(self).model_fields, _names_by_alias(type(self))
        required = {name: getattr(self, name) for name, field in fields.items() if field.is_required()}
        given = {names.get(key, key): value for key, value in changes.items()}
        checked = type(self)(**{**required, **given})
        return self.model_copy(update={name: getattr(checked, name) for name in given}, deep=True)


_UNSENDABLE = frozenset({"greater_than_equal", "less_than_equal", "enum"})


class LoRAConfig(_CheckedConfig):
    """A LoRA to apply, by its file on the server."""

    file: str = Field(min_length=1)
    weight: Annotated[_Float32, InApp(-10, 10)] = 0.6
    mode: LoRAMode = LoRAMode.All

    if TYPE_CHECKING:

        def __init__(self, file: str, weight: float = ..., mode: LoRAMode | str | int = ...) -> None: ...

    _by_name = field_validator("mode", mode="before")(_parse_member)


class ControlNetConfig(_CheckedConfig):
    """A control to apply, by its file on the server.

    ``input_override`` is read only for union controls, whose own metadata names no input type.
    """

    file: str = ""
    weight: Score = 1.0
    guidance_start: Share = 0.0
    guidance_end: Share = 1.0
    no_prompt: bool = False
    global_average_pooling: bool = True
    down_sampling_rate: Annotated[_Float32, InApp(1, 64)] = 1.0
    control_mode: ControlMode = Field(
        default=ControlMode.Balanced, validation_alias=AliasChoices("control_mode", "control_importance")
    )
    target_blocks: tuple[str, ...] = ()
    input_override: ControlInputType = ControlInputType.Unspecified

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ControlFields]) -> None: ...

    _by_name = field_validator("control_mode", "input_override", mode="before")(_parse_member)


class ImageGenerationConfig(_CheckedConfig):
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
    sampler: Annotated[SamplerType, BeforeValidator(_parse_sampler)] = Field(
        default=SamplerType.UniPCAYS, validation_alias=AliasChoices("sampler", "scheduler")
    )
    seed_mode: SeedMode = SeedMode.ScaleAlike
    shift: Shift = 1.0
    """Ignored while ``resolution_dependent_shift`` is true and the model honours that (protocol §2.5)."""
    resolution_dependent_shift: bool = True
    batch_count: Annotated[_UInt32, InApp(1, 100)] = 1
    """Passes, one after the other; the client loops, a server ignores it."""
    batch_size: Annotated[_UInt32, InApp(1, 4)] = 1
    """Images in one pass."""
    clip_skip: Annotated[_UInt32, InApp(1, 23)] = 1
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
    upscaler_scale_factor: Annotated[_UInt8, InApp(0, 4)] = 0
    face_restoration: str = ""
    refiner_model: str = ""
    refiner_start: Share = 0.85
    image_guidance_scale: Guidance = 1.5
    sharpness: Annotated[_Float32, InApp(0, 30)] = 0.0

    mask_blur: Annotated[_Float32, InApp(0, 100)] = 1.5
    mask_blur_outset: Annotated[_Int32, InApp(-1000, 1000)] = 0
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
    tea_cache_end: Annotated[_Int32, InApp(-1000, 1000)] = -1
    tea_cache_threshold: Share = 0.06
    tea_cache_max_skip_steps: Count = 3
    cfg_zero_star: bool = False
    cfg_zero_init_steps: Count = 0
    stochastic_sampling_gamma: Share = 0.3

    original_image_width: SideLength = 0
    original_image_height: SideLength = 0
    crop_top: Annotated[_Int32, InApp(-65_535, 65_535)] = 0
    crop_left: Annotated[_Int32, InApp(-65_535, 65_535)] = 0
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

    num_frames: Annotated[_UInt32, InApp(1, 1000)] = 14
    fps: Annotated[_UInt32, InApp(1, 120)] = Field(default=5, validation_alias=AliasChoices("fps", "fps_id"))
    motion_scale: Annotated[_UInt32, InApp(0, 255)] = Field(
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
    compression_artifacts_quality: Annotated[_Float32, InApp(0, 100)] = 43.1
    shift_for_audio: Shift = 3.0
    uses_sol_attention: bool = False
    sol_attention_start: Count = 2
    sol_attention_tau: Share = 0.5

    name: str = ""
    """Name of the preset; servers ignore it."""

    _by_name = field_validator("seed_mode", "compression_artifacts", "color_calibration", mode="before")(_parse_member)

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


def _drop_unsendable(kind: type[_CheckedConfig], fields: dict[str, Any]) -> list[str]:
    keys = {name: key for key, name in list_keys(kind).items()}
    return [f"{keys[name]} {shorten(fields.pop(name))}" for name in kind.list_unsendable(fields)]
