"""A prompt, a configuration and pictures → the requests of all passes, ready to be sent.

What a server would not survive or would silently do in another way is refused or noted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from drawthings_mcp.catalog import Model, ServerInventory
from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import (
    GenerationRequest,
    Hint,
    HintTensor,
    HintType,
    ImageGenerationConfig,
    draw_seed,
    list_batch_seeds,
)
from drawthings_mcp.generation.app_json import shorten_float32
from drawthings_mcp.generation.configuration import list_app_keys
from drawthings_mcp.limits import Fit
from drawthings_mcp.planning.canvas import read_canvas
from drawthings_mcp.planning.context import Context, look_up
from drawthings_mcp.planning.guard import check_content, check_files
from drawthings_mcp.planning.hints import HintImages, list_references, read_hints
from drawthings_mcp.planning.known import build_override
from drawthings_mcp.planning.region import Region
from drawthings_mcp.planning.sizes import Size
from drawthings_mcp.presets.preset import find_family
from drawthings_mcp.tensors.fitting import fit_pixels, flatten_transparent
from drawthings_mcp.tensors.layout import build_tensor, pixels_to_tensor
from drawthings_mcp.tensors.pixels import ImageLike, Pixels, ensure_pixels

_RGBA = 4
_OPAQUE = 255

DRAWN = "drawn for each picture"
"""Origin of a seed that nobody gave."""
DEFAULT = "default"
"""Origin of what no layer of settings has: the app's default."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before the first request.

    Attributes
    ----------
    requests
        One per pass, in order, each with its seed; they differ in the seed only.
    notes
        Sentences about what was decided for the caller, or will not be as it was asked for, and how to change it.
    model
        What is known of the model; its version is empty when nothing is.
    size
        What is rendered, and what of it is kept.
    output
        Width and height to which that is brought in the end; None for no change.
    alpha
        ``(H, W)``, uint8, of the picture that is enlarged: the result gets it as well; None for an opaque one.
    mode
        What is done, by the name of a mode; empty when a whole configuration was given.
    preset
        Name of the topmost settings that were used; empty when there are none.
    region
        The part of the canvas that the requests are about, and that is put back; None for the whole of it.
    origins
        Field of the configuration → where its value came from; fields with the app's default are absent.
    """

    requests: tuple[GenerationRequest, ...]
    notes: tuple[str, ...]
    model: Model
    size: Size
    mode: str = ""
    preset: str = ""
    region: Region | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    output: tuple[int, int] | None = None
    alpha: Pixels | None = field(default=None, repr=False, compare=False)

    @property
    def configuration(self) -> ImageGenerationConfig:
        """That of the first request."""
        return self.requests[0].configuration

    @property
    def family(self) -> str:
        """Of the model; empty when it belongs to none."""
        return find_family(self.model.version)

    def list_settings(self) -> list[tuple[str, Any, str]]:
        """Key in the app's JSON, value and origin of every setting; the seed and the count as they were asked for."""
        data = self.configuration.to_app_json()
        if self.origins.get("seed") == DRAWN:
            data["seed"] = -1
        data["batchCount"] = len(self.requests)
        keys = list_app_keys()
        return [(key, _shorten(value), self.origins.get(keys[key], DEFAULT)) for key, value in data.items()]


def _shorten(value: Any) -> Any:
    """Numbers as somebody would write them; the app's JSON has every digit of a 32-bit float."""
    if isinstance(value, list):
        return [_shorten(item) for item in value]
    if isinstance(value, dict):
        return {key: _shorten(item) for key, item in value.items()}
    return shorten_float32(value) if isinstance(value, float) else value


def compose(
    prompt: str,
    config: ImageGenerationConfig,
    inventory: ServerInventory | None = None,
    *,
    negative_prompt: str = "",
    canvas: ImageLike | None = None,
    mask: ImageLike | None = None,
    moodboard: ImageLike | Sequence[ImageLike] = (),
    hints: HintImages | None = None,
    fit: Fit = "crop",
) -> Plan:
    """The requests of all passes. Blocks, since pictures are read.

    Parameters
    ----------
    config
        A seed of -1 is drawn; ``batch_count`` passes follow each other.
    inventory
        What the server has; without it names cannot be checked.
    canvas
        Its clear parts are painted, unless a mask says otherwise.
    mask
        White is repainted, black is kept. Of the size of the canvas, and fitted like it, or of the configuration.
    moodboard
        Further pictures, in order, for models that edit and for controls that look at pictures; one, or several.
    hints
        Ready maps for controls by kind; see ``planning.hints.read_hints`` for how each is drawn.
    fit
        How pictures of another shape are brought to the size: ``crop``, ``pad`` or ``stretch``.

    Raises
    ------
    UnansweredError
        The server has to be asked about files first.
    InvalidInputError
        As ``guard.check_files`` and ``check_content``, or a picture cannot be used.
    """
    inventory = inventory or ServerInventory()
    override = build_override(config, inventory)
    context = look_up(GenerationRequest(prompt, config, negative_prompt, override=override), inventory)
    file_notes = check_files(context)  # no picture changes these, so none is read before
    size = (config.width, config.height)
    shown = [*_list_pictures(moodboard), *list_references(hints)]
    first = _take_as_reference(canvas, mask, context, fit)
    if first is not None:
        canvas, shown = None, [first, *shown]
    # What masks do to videos is not known, and transparent decoders leave clear parts alone (protocol §4.2, §4.4).
    paints_clear_parts = not (context.makes_video or context.has_alpha_decoder)
    pixels, classes, warnings = read_canvas(canvas, mask, size, fit, paints_clear_parts=paints_clear_parts)
    context = context.with_request(canvas=pixels, mask=classes)
    multiple = context.facts.reference_multiple if context.facts else 0
    references = read_references(shown, size, keeps_alpha=context.makes_alpha, multiple=multiple)
    maps, map_notes = read_hints(hints, context, fit)
    context = context.with_request(hints=(*references, *maps))
    notes = (*warnings, *map_notes, *file_notes, *check_content(context))
    requests = tuple(replace(context.request, configuration=one) for one in list_passes(config))
    return Plan(requests, notes, context.model or Model(config.model, config.model), Size(*size))


def _list_pictures(moodboard: ImageLike | Sequence[ImageLike]) -> Sequence[ImageLike]:
    is_one = isinstance(moodboard, str | bytes) or any(
        hasattr(moodboard, one) for one in ("__fspath__", "__array_interface__")
    )
    return cast("Sequence[ImageLike]", [moodboard] if is_one else moodboard)


def _take_as_reference(canvas: ImageLike | None, mask: ImageLike | None, context: Context, fit: Fit) -> Pixels | None:
    """The canvas as the first reference where only that keeps its alpha, or makes it count; None where it stays.

    Models that look at references take them in this order whether the first is the canvas or not (protocol §5.4), but
    the canvas itself has no alpha on the wire (protocol §4.3).
    """
    c = context.configuration
    if canvas is None or mask is not None or c.strength < 1 or not context.wants_canvas_among_references:
        return None
    pixels = fit_pixels(ensure_pixels(canvas), (c.width, c.height), fit)
    is_clear_somewhere = pixels.shape[2] == _RGBA and bool((pixels[..., 3] < _OPAQUE).any())
    return pixels if is_clear_somewhere or not context.makes_alpha else None


def list_passes(configuration: ImageGenerationConfig) -> list[ImageGenerationConfig]:
    """The configurations of all passes, in order; a seed of -1 is drawn.

    Servers ignore ``batch_count`` (protocol §2.4). No seed occurs twice: a pass begins with the seed that follows the
    last image of the one before.
    """
    seed = draw_seed() if configuration.seed == -1 else configuration.seed
    images = configuration.batch_count * configuration.batch_size
    seeds = list_batch_seeds(seed, images)[:: configuration.batch_size]
    return [configuration.replace(seed=seed, batch_count=1) for seed in seeds]


def read_references(
    moodboard: Sequence[ImageLike], size: tuple[int, int], *, keeps_alpha: bool = False, multiple: int = 0
) -> tuple[Hint, ...]:
    """The hint with all moodboard pictures in order; none without pictures. ``size`` is that of the canvas.

    A server scales them to what the model wants and keeps their proportions, so they are left as they are, but for
    those with more pixels than the canvas: a server would throw away what is beyond. Clear parts become grey unless
    ``keeps_alpha``; sides become multiples of ``multiple`` pixels, 0 for any.
    """
    pictures = [
        _scale_reference(_read_reference(image, size, place, len(moodboard)), size, multiple)
        for place, image in enumerate(moodboard, 1)
    ]
    tensors = tuple(_build_reference(pixels, keeps_alpha=keeps_alpha) for pixels in pictures)
    return (Hint(HintType.Shuffle, tensors),) if tensors else ()


def _read_reference(image: ImageLike, size: tuple[int, int], place: int, count: int) -> Pixels:
    try:
        return ensure_pixels(image, pixel_count=size[0] * size[1])
    except InvalidImageError as error:
        where = f"picture {place} of {count}: " if count > 1 else ""
        raise InvalidImageError(Text("{where}{error}", where=where, error=error), parameter="moodboard") from error


def _scale_reference(pixels: Pixels, size: tuple[int, int], multiple: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = min(1.0, (size[0] * size[1] / (width * height)) ** 0.5)
    wanted = max(1, int(width * scale)), max(1, int(height * scale))
    if multiple:
        wanted = max(multiple, wanted[0] // multiple * multiple), max(multiple, wanted[1] // multiple * multiple)
    return fit_pixels(pixels, wanted, "stretch")


def _build_reference(pixels: Pixels, *, keeps_alpha: bool) -> HintTensor:
    """Three channels, or alpha and three where a picture is clear in places and may stay so."""
    if pixels.shape[2] == _RGBA and keeps_alpha and (pixels[..., 3] < _OPAQUE).any():
        return HintTensor(build_tensor(pixels)[0])
    return HintTensor(pixels_to_tensor(flatten_transparent(pixels)[0] if pixels.shape[2] == _RGBA else pixels))
