"""What a programmer asks for → the requests of all passes, ready to be sent.

The one entrance: everything that a server would not survive or silently do otherwise is refused or warned about.
Blocking, since pictures are read; knows no connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from drawthings_mcp.catalog import Catalog, Model
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.planning.canvas import read_canvas
from drawthings_mcp.planning.check import check_request
from drawthings_mcp.planning.context import Case, examine
from drawthings_mcp.planning.hints import HintImages, list_references, read_hints
from drawthings_mcp.planning.known import load_known
from drawthings_mcp.planning.overrides import build_override
from drawthings_mcp.planning.passes import list_passes
from drawthings_mcp.planning.references import read_references
from drawthings_mcp.planning.rules import FILE_RULES, apply_rules
from drawthings_mcp.tensors.fitting import Fit
from drawthings_mcp.tensors.pixels import ImageLike


@dataclass(frozen=True, slots=True)
class ComposedRequests:
    """What to send.

    Attributes
    ----------
    requests
        One per pass, in order, each with its seed.
    warnings
        Plain sentences: what will not be as it was asked for, and how to change it.
    model
        What is known of the model; None when nothing is.
    """

    requests: tuple[GenerationRequest, ...]
    warnings: tuple[str, ...] = ()
    model: Model | None = None


class Pictures(TypedDict, total=False):
    """What a run can be given beside prompt and configuration, as ``compose_requests`` takes it."""

    negative_prompt: str
    input_image: ImageLike | None
    mask_image: ImageLike | None
    moodboard: Sequence[ImageLike]
    hint_images: HintImages | None
    fit: Fit


def compose_requests(
    prompt: str,
    config: ImageGenerationConfig,
    *,
    negative_prompt: str = "",
    input_image: ImageLike | None = None,
    mask_image: ImageLike | None = None,
    moodboard: Sequence[ImageLike] = (),
    hint_images: HintImages | None = None,
    fit: Fit = "crop",
    catalog: Catalog | None = None,
    files: Mapping[str, bool] | None = None,
) -> ComposedRequests:
    """The requests of all passes.

    Parameters
    ----------
    config
        A seed of -1 is drawn; ``batch_count`` passes follow each other.
    input_image
        The canvas, upright and fitted to the size of the configuration. Its clear parts are painted, unless a mask says
        otherwise.
    mask_image
        White is repainted, black is kept. Of the size of the input image, and then fitted along with it, or of exactly
        the size of the configuration.
    moodboard
        Further pictures, in order, for models that edit and for controls that look at pictures.
    hint_images
        Ready maps for controls by kind; see ``requests.hints.read_hints`` for how each is drawn.
    fit
        How pictures of other proportions are brought to the canvas: ``crop``, ``pad`` or ``stretch``.
    catalog
        What the server lists; None when it does not let its models be browsed.
    files
        Whether the server has single files, as ``files_exist`` says for ``list_files``.

    Raises
    ------
    UnknownNameError
        A file that the configuration names is not on the server; carries the nearest three.
    InvalidImageError
        A picture cannot be used.
    InvalidInputError
        As ``check_request``.
    """
    override = build_override(config, catalog, load_known())
    case = examine(GenerationRequest(prompt, config, negative_prompt, override=override), catalog, files)
    apply_rules(FILE_RULES, case)  # no picture mends these, so none is read before
    size = (config.width, config.height)
    canvas = read_canvas(input_image, mask_image, size, fit, paints_clear_parts=_paints_clear_parts(case))
    case = case.with_request(canvas=canvas.pixels, mask=canvas.classes)
    references = read_references((*moodboard, *list_references(hint_images)), size)
    hints, notes = read_hints(hint_images, case, fit)
    request = replace(case.request, hints=(*references, *hints))
    return ComposedRequests(
        requests=tuple(replace(request, configuration=configuration) for configuration in list_passes(config)),
        warnings=(*canvas.warnings, *notes, *check_request(request, catalog, files)),
        model=case.model,
    )


def _paints_clear_parts(case: Case) -> bool:
    """What masks do to videos is not known, and transparent decoders leave clear parts alone (protocol §4.2, §4.4)."""
    return not (case.makes_video or case.has_alpha_decoder)
