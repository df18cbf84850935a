"""Values whose fields are checked on construction and on assignment, and the ranges that bound them.

Two ranges bound a field. What its slot on the wire can hold bounds every value. The narrower range of the app's user
interface (``InApp``) bounds what somebody sets here, by construction, assignment or ``replace``; what the app saved may
lie outside of it and is kept as it is (``from_saved``), because most fields are read by few models (protocol §2.8). The
guard compares those with the range that the model at hand reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

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
)

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation.app_json import MAX_FLOAT32
from drawthings_mcp.generation.enums import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    LoRAMode,
    SamplerType,
    SeedMode,
)
from drawthings_mcp.limits import MAX_GIVEN_UNITS, MAX_SIDE, MIN_SIDE, UNIT
from drawthings_mcp.validation import build_refusal, shorten, suggest


def _to_pixels(value: Any) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if 0 < value <= MAX_GIVEN_UNITS:
        return value * UNIT
    if value % UNIT:
        below = value - value % UNIT
        raise ValueError(f"must be a multiple of {UNIT}, got {value}; nearest are {below} and {below + UNIT}")
    return value


def parse_sampler(value: Any) -> Any:
    return SamplerType.parse(value) if isinstance(value, str) else value


def parse_member(value: Any, info: Any) -> Any:
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
_UNSENDABLE = frozenset({"greater_than_equal", "less_than_equal", "enum"})
"""Kinds of pydantic's errors."""


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


UInt8: TypeAlias = Annotated[int, Field(ge=0, le=2**8 - 1)]
UInt32: TypeAlias = Annotated[int, Field(ge=0, le=2**32 - 1)]
Int32: TypeAlias = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Float32: TypeAlias = Annotated[float, Field(ge=-MAX_FLOAT32, le=MAX_FLOAT32, allow_inf_nan=False)]
_Units: TypeAlias = Annotated[int, BeforeValidator(_to_pixels), Field(ge=0, le=(2**16 - 1) * UNIT)]

UnitSide: TypeAlias = Annotated[_Units, InApp(MIN_SIDE, MAX_SIDE)]
OptionalUnitSide: TypeAlias = Annotated[_Units, InApp(0, MAX_SIDE)]
TileSide: TypeAlias = Annotated[_Units, InApp(UNIT, MAX_SIDE)]
Share: TypeAlias = Annotated[Float32, InApp(0, 1)]
Guidance: TypeAlias = Annotated[Float32, InApp(0, 50)]
Shift: TypeAlias = Annotated[Float32, InApp(0, 100, is_open=True)]
Score: TypeAlias = Annotated[Float32, InApp(0, 10)]
SideLength: TypeAlias = Annotated[UInt32, InApp(0, 65_535)]
Steps: TypeAlias = Annotated[UInt32, InApp(1, 150)]
Count: TypeAlias = Annotated[Int32, InApp(0, 1000)]


@cache
def _names_by_alias(kind: type[BaseModel]) -> Mapping[str, str]:
    return {
        str(alias): name
        for name, field in kind.model_fields.items()
        if isinstance(field.validation_alias, AliasChoices)
        for alias in field.validation_alias.choices
    }


class CheckedConfig(BaseModel):
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
