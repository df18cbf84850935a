"""One tiny picture: only a real run shows how a server packs its pictures, and that they can be read."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import anyio.to_thread

from drawthings_mcp.catalog import Model
from drawthings_mcp.client.server_client import ServerClient
from drawthings_mcp.errors import EmptyResultError, InvalidInputError
from drawthings_mcp.events import ImageReceived
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.limits import MIN_SIDE
from drawthings_mcp.presets.mode_table import recommended_configuration
from drawthings_mcp.tensors.header import Codec, parse_header
from drawthings_mcp.tensors.image import decode_image

_PROMPT = "a red apple"
_STEPS = 2

_VERSIONS = (
    *("pixart", "v1", "v2", "ssd_1b", "cosmos2.5_2b", "sd3", "sdxl_base_v0.9", "flux2_4b", "z_image", "auraflow"),
    *("sd3_large", "ernie_image", "flux2_9b", "flux1", "hidream_i1", "qwen_image", "flux2"),
)
"""Versions by the number of their parameters, the smallest first."""

_PRECISIONS = ("_q5p", "_q6p", "_i6x", "_q8p", "_i8x")
"""Parts of a file's name that tell bits per parameter, the fewest first; without one there are sixteen."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How a run went.

    Attributes
    ----------
    model
        File of the model.
    codec
        How the picture was packed.
    size
        Bytes of its payload.
    seconds
        From the request to the decoded picture, loading of the model included.
    """

    model: str
    codec: Codec
    size: int
    seconds: float


async def render_sample(client: ServerClient, models: Sequence[Model]) -> Sample:
    """Makes and decodes the smallest picture with the smallest of the models.

    Raises
    ------
    InvalidInputError
        There is no model.
    DrawThingsError
        The run failed, or its picture cannot be read.
    """
    model = choose_smallest(models)
    started = time.monotonic()
    payload = await _receive_picture(client, GenerationRequest(_PROMPT, _build_configuration(model)))
    await anyio.to_thread.run_sync(decode_image, payload)
    return Sample(model.file, parse_header(payload).codec, len(payload), time.monotonic() - started)


def choose_smallest(models: Iterable[Model]) -> Model:
    """The model that is likely to be loaded first: fewest parameters, then fewest bits.

    Raises
    ------
    InvalidInputError
        There is no model.
    """
    smallest = min(models, key=_rank, default=None)
    if smallest is None:
        raise InvalidInputError("There is no model that makes pictures from text. Download one first.")
    return smallest


def _rank(model: Model) -> tuple[int, int, str]:
    version = _VERSIONS.index(model.version) if model.version in _VERSIONS else len(_VERSIONS)
    bits = next((place for place, part in enumerate(_PRECISIONS) if part in model.file), len(_PRECISIONS))
    return version, bits, model.file


def _build_configuration(model: Model) -> ImageGenerationConfig:
    recommended = ImageGenerationConfig(**recommended_configuration(model.file, model.version))
    # Only the model is tried: whatever a recipe adds might be missing, and would take its time.
    return ImageGenerationConfig(
        model=model.file,
        width=MIN_SIDE,
        height=MIN_SIDE,
        steps=_STEPS,
        seed=1,
        sampler=recommended.sampler,
        guidance_scale=recommended.guidance_scale,
        shift=recommended.shift,
    )


async def _receive_picture(client: ServerClient, request: GenerationRequest) -> bytes:
    async with client.stream(request) as events:
        payloads = [event.payload async for event in events if isinstance(event, ImageReceived)]
    if not payloads:
        raise EmptyResultError("The server finished without a picture. Its log says why.")
    return payloads[0]
