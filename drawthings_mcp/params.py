"""What a generation can be asked for: one model for the tool's schema, the shell's options and Python's keywords.

To add a parameter, add a field here and use it where the plan is made (``planning``); the tool and the command line
make their arguments from the fields, the description included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import prod
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.faces import Text
from drawthings_mcp.limits import (
    MAX_AXES,
    MAX_MOODBOARD,
    MAX_PANELS,
    MAX_SEED,
    MAX_SIDE,
    MAX_SWEPT,
    MAX_VARIANTS,
    MIN_SIDE,
    Fit,
)
from drawthings_mcp.validation import build_refusal, shorten, suggest_argument

ImageFormat: TypeAlias = Literal["square", "landscape", "portrait", "16:9", "9:16", "3:2", "2:3", "4:3", "3:4"]
PreviewMode: TypeAlias = Literal["auto", "always", "never"]
GenerationMode: TypeAlias = Literal["text2image", "image2image", "edit", "inpaint"]
UPSCALE = "upscale"
"""In place of a mode: what runs do that enlarge a picture."""
AskedMode: TypeAlias = Literal["auto", "text2image", "image2image", "edit", "inpaint"]

_ID = re.compile(r"[avpi]\d+", re.IGNORECASE)
_IDS = re.compile(r"\s*[avpi]\d+(?:(?:\s*[,;+&\s]\s*|\s+and\s+)[avpi]\d+)+\s*", re.IGNORECASE)
_IN_PROMPT = re.compile(r"<lora:([^:<>]+)(?::([-\d.]+))?>", re.IGNORECASE)
"""A LoRA as other programs write it into the prompt."""
_COLON = re.compile(r"([^:@]+):(-?\d+(?:\.\d+)?)")
"""The same without the brackets."""
_NOTHING = frozenset({"", "none", "null"})
"""What models write into an argument that they mean to leave out."""


def _names_nothing(item: Any) -> bool:
    return item is None or (isinstance(item, str) and item.strip().lower() in _NOTHING)


def unwrap(value: Any) -> Any:
    """``["v1"]`` as its only element; ``[]``, None and ``"none"`` as the empty text."""
    item = (value or [""])[0] if isinstance(value, list) and len(value) < 2 else value
    return "" if _names_nothing(item) else item


def split(value: Any) -> Any:
    """``"v1"`` and ``"v1, v2"`` as lists; what names nothing is left out."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return value
    named = [item for item in items if not _names_nothing(item)]
    return [
        part
        for item in named
        for part in (_ID.findall(item) if isinstance(item, str) and _IDS.fullmatch(item) else [item])
    ]


def _unwrap_picture(value: Any, info: ValidationInfo) -> Any:
    """One picture; of several, the error says where the others go."""
    item = unwrap(value)
    named = split(item) if isinstance(item, str | list) else []
    if isinstance(named, list) and len(named) > 1 and all(isinstance(name, str) for name in named):
        first, *others = (shorten(name) for name in named)
        rest = f"{', '.join(others)} as moodboard" if info.field_name == "canvas" else "leave out the others"
        raise ValueError(f"takes one picture, got {len(named)}: give {first} here and {rest}")
    return item


def _read_weighted(value: Any) -> Any:
    """A LoRA and its weight, also as other programs write them."""
    if isinstance(value, dict) and value.keys() <= {"name", "file", "weight"} and {"name", "file"} & value.keys():
        return value.get("file") or value["name"], value.get("weight")
    if not isinstance(value, str):
        return value
    written = _IN_PROMPT.fullmatch(value.strip()) or _COLON.fullmatch(value.strip())
    return parse_weighted("@".join(filter(None, written.groups())) if written else value)


def parse_weighted(text: str) -> tuple[str, float | None]:
    """``name@weight`` as name and weight; None stands for the LoRA's own weight."""
    name, at, weight = text.rpartition("@")
    if not at:
        return text, None
    if not name.strip():
        raise ValueError(f"{shorten(text)} names no LoRA; write it like name@0.8")
    try:
        return name, float(weight)
    except ValueError:
        raise ValueError(f"{shorten(weight)} is not a weight; write it like name@0.8") from None


_NUMBER = re.compile(r"-?\d*\.?\d+")
_EDGES = ("left", "top", "right", "bottom")
_CORNERS = (("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))
_SHORT_SIDES = {"w": "width", "h": "height", "left": "x", "top": "y"}


def parse_box(value: Any) -> Any:
    """Left, top, right and bottom of a box that is a text, ``{left, top, right, bottom}`` or ``{x, y, width, height}``.

    What is none of these comes back as it is.
    """
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | dict | str):
        value = value[0]
    if isinstance(value, str):
        numbers = [float(number) for number in _NUMBER.findall(value)]
        return numbers if len(numbers) == len(_EDGES) else ([] if _names_nothing(value) else value)
    if not isinstance(value, dict):
        return [] if value is None else value
    for names in (_EDGES, *_CORNERS):
        if value.keys() == set(names):
            return [value[name] for name in names]
    named = {_SHORT_SIDES.get(name, name): side for name, side in value.items()}
    if named.keys() == {"x", "y", "width", "height"} and all(isinstance(side, int | float) for side in named.values()):
        x, y = named["x"], named["y"]
        # Shares that add up to 1 do so but for the last digit.
        return [x, y, round(x + named["width"], 9), round(y + named["height"], 9)]
    return value


def list_boxes(value: Any) -> Any:
    """Boxes as ``parse_box`` reads them; one box where several are meant."""
    is_one = isinstance(value, str | dict) or (
        isinstance(value, list) and len(value) == len(_EDGES) and all(isinstance(edge, int | float) for edge in value)
    )
    items = [value] if is_one else value
    return list(map(parse_box, items)) if isinstance(items, list) else [] if items is None else value


Box: TypeAlias = Annotated[list[float], BeforeValidator(parse_box)]
"""Left, top, right and bottom, in pixels, or as shares of width and height when none is above 1; empty for none."""
Boxes: TypeAlias = Annotated[list[list[float]], BeforeValidator(list_boxes)]
Name: TypeAlias = Annotated[str, BeforeValidator(unwrap)]
"""What names one thing: a model, a preset, a picture in a tool's call."""
Names: TypeAlias = Annotated[list[str], BeforeValidator(split)]
"""What names several."""
Picture: TypeAlias = Annotated[Any, BeforeValidator(_unwrap_picture), WithJsonSchema({"type": "string"})]
"""A reference as text, empty for none; or a picture itself: a path, bytes, a Pillow image or an ``(H, W, C)`` array."""
WeightedLoRA: TypeAlias = Annotated[
    tuple[str, float | None],
    BeforeValidator(_read_weighted),
    WithJsonSchema({"type": "string"}),
]
Sweep: TypeAlias = Annotated[
    dict[str, tuple[Any, ...]],
    AfterValidator(lambda axes: check_sweep(axes)),
    WithJsonSchema({"type": "object"}),
]
"""Arguments of ``GenerateParams``, each with the values to try."""
Side: TypeAlias = Annotated[int | None, Field(ge=MIN_SIDE, le=MAX_SIDE)]


def check_sweep(axes: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """The axes of a sweep, each value as the argument has it for which it stands.

    Raises
    ------
    InvalidInputError
        There are too many axes or pictures, or a value is not allowed; names the axis.
    """
    if len(axes) > MAX_AXES:
        text = "takes at most {most} arguments, got {count}: {names}."
        raise InvalidInputError(Text(text, most=MAX_AXES, count=len(axes), names=tuple(axes)))
    checked = {name: tuple(_check_swept(name, value) for value in values) for name, values in axes.items()}
    count = prod(map(len, checked.values()))
    if axes and not 1 < count <= MAX_SWEPT:
        shape = " × ".join(f"{len(values)} {name}" for name, values in checked.items())
        raise InvalidInputError(f"makes 2 to {MAX_SWEPT} pictures, got {shape} = {count}: give other lists of values.")
    return checked


def _check_swept(name: str, value: Any) -> Any:
    allowed = [field for field in GenerateParams.model_fields if field not in _NOT_SWEPT]
    if name not in allowed:
        text = "there are no values to try of {name!r}.{hint}"
        raise InvalidInputError(Text(text, name=name, hint=suggest_argument(name, allowed)))
    return getattr(GenerateParams(**{"prompt": "x", name: value}), name)


_NOT_SWEPT = frozenset({"sweep", "prompts", "variants", "dry_run", "preview"})
"""What is about a whole call, not about one of its pictures."""

_NOT_ASKED = frozenset({"prompt", "dry_run", "preview"})
"""What does not change how pictures for a prompt look."""


def _digest_picture(picture: Any) -> str:
    data = picture if isinstance(picture, bytes) else getattr(picture, "tobytes", lambda: str(picture).encode())()
    return sha256(data).hexdigest()


class GenerateParams(BaseModel):
    """One call, checked for ranges; names are still as the caller wrote them. None: whatever suits the model.

    ``hints`` are ready maps for controls: the kind of map, the picture, and the control's weight or None.

    Raises
    ------
    InvalidInputError
        A value is out of range or there is no such parameter; one line for each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = Field(default="", max_length=10_000, description="What to make, or what to change.")
    mode: AskedMode = Field(default="auto", description="auto: mask → inpaint, picture → edit, none → text2image")
    model: Name = Field(
        default="auto", description="auto, z-image, qwen-image, flux, custom, or a model's file or display name"
    )
    canvas: Picture = Field(default="", description="Main source image: id (v3, a1), latest, path or URL")
    moodboard: Annotated[tuple[Picture, ...], BeforeValidator(split)] = Field(
        default=(), max_length=MAX_MOODBOARD, description="Further references, in order."
    )
    mask: Picture = Field(default="", description="White is repainted, black kept.")
    negative_prompt: str = Field(default="", max_length=10_000, description="What to avoid; many models ignore it.")
    image_format: ImageFormat | None = Field(default=None, description="Shape, at the model's native size.")
    width: Side = Field(default=None, description="Pixels; wins over image_format.")
    height: Side = Field(default=None, description="Pixels; wins over image_format.")
    variants: int = Field(
        default=1, ge=1, le=MAX_VARIANTS, description="How many pictures, each with a seed of its own."
    )
    seed: int | None = Field(default=None, ge=-1, le=MAX_SEED, description="Repeats a picture; -1 draws one.")
    steps: int | None = Field(default=None, ge=1, le=150, description="Sampling steps. Default: by model.")
    guidance_scale: float | None = Field(
        default=None, ge=0, le=50, description="How closely to follow the prompt. Default: by model."
    )
    strength: float | None = Field(
        default=None, ge=0, le=1, description="How far to change the canvas; 1 ignores its pixels."
    )
    sampler: Name = Field(default="", description="E.g. Euler A Trailing. Default: by model.")
    loras: Annotated[tuple[WeightedLoRA, ...], BeforeValidator(split)] = Field(
        default=(), max_length=16, description="name@weight, added to the preset's."
    )
    preset: Name = Field(default="", description="Name of a preset, yours or built in.")
    configuration: dict[str, Any] = Field(default={}, description="Keys of the app's configuration JSON.")
    settings_from: Picture = Field(
        default="", description="Picture whose prompt, model, seed and settings to start from; yours win."
    )
    sweep: Sweep = Field(
        default={},
        description='Tries values of 1 or 2 arguments, up to 25 pictures: {"steps": [4, 8], "seed": [1, 2]}.',
    )
    prompts: Annotated[tuple[str, ...], BeforeValidator(split)] = Field(
        default=(), max_length=MAX_PANELS, description="2-12 prompts in place of prompt, a picture each: panels."
    )
    dry_run: bool = Field(default=False, description="Only report every setting and its origin; render nothing.")
    preview: PreviewMode | None = Field(default=None, description="Whether the pictures are shown to you.")
    hints: tuple[tuple[str, Picture, float | None], ...] = Field(
        default=(), description="Ready map for a control, e.g. canny=edges.png@0.7."
    )
    fit: Fit = Field(default="crop", description="How a canvas of another shape is fitted to the size.")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise build_refusal(error, type(self).model_fields) from None
        self._check_count()
        has_recipe = is_given(self.settings_from) or "settings_from" in self.sweep
        if not (self.prompt or self.prompts or "prompt" in self.sweep or has_recipe):
            raise InvalidInputError("is required.", parameter="prompt")

    def _check_count(self) -> None:
        """Refuses what says in two ways which pictures to make."""
        if len(self.prompts) == 1 or (self.prompts and self.prompt):
            text = "takes 2 to {most} prompts and stands in place of {prompt}: give either of them."
            raise InvalidInputError(Text(text, most=MAX_PANELS), parameter="prompts")
        if bool(self.sweep) + bool(self.prompts) + (self.variants > 1) > 1:
            raise InvalidInputError(Text("{sweep}, {prompts} and {variants} above 1 exclude each other: give one."))

    def replace(self, **values: Any) -> GenerateParams:
        """The same call with other values, which are not checked again."""
        return self.model_copy(update=values)

    @property
    def digest(self) -> str:
        """What is asked for besides the prompt, in 16 hexadecimal digits: equal for calls that ask for the same."""
        asked = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            # Pictures can be arrays, which are not compared as a whole.
            if name not in _NOT_ASKED and (type(value) is not type(field.default) or value != field.default):
                asked[name] = value
        text = json.dumps(asked, sort_keys=True, default=_digest_picture)
        return sha256(text.encode("utf-8", "replace")).hexdigest()[:16]

    @property
    def has_picture(self) -> bool:
        """Whether there is something to start from."""
        return is_given(self.canvas) or bool(self.moodboard)

    @property
    def resolved_mode(self) -> GenerationMode:
        """The mode, with ``auto`` resolved by the pictures."""
        if self.mode != "auto":
            return self.mode
        if is_given(self.mask):
            return "inpaint"
        return "edit" if self.has_picture else "text2image"


def is_given(picture: Any) -> bool:
    """Whether a parameter for a picture has one."""
    return picture is not None and not (isinstance(picture, str) and not picture)


SIMPLE = ("prompt", "mode", "model", "image_format", "width", "height", "variants", "canvas", "moodboard")
"""Parameters that a small model is offered."""
FULL = tuple(name for name in GenerateParams.model_fields if name not in {"hints", "fit"})
"""Parameters that the tool has. Ready maps and ``fit`` are for the shell and Python."""
