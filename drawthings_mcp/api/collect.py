"""Events of one pass → its images, decoded while the rest is still on its way."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.api.results import list_result_configurations, warn_about_size
from drawthings_mcp.events import Event, ImageReceived
from drawthings_mcp.generation import GeneratedImage, GenerationRequest
from drawthings_mcp.tensors.image import decode_image

EventCallback: TypeAlias = Callable[[Event], Any]
"""Called with every event; what it returns is awaited when it can be."""


async def collect_images(
    events: AsyncIterator[Event], request: GenerationRequest, on_event: EventCallback | None
) -> list[GeneratedImage]:
    """The images of a pass, in order.

    Raises
    ------
    TensorError
        An image cannot be decoded.
    Exception
        Whatever the events or the callback raise.
    """
    decoded: dict[int, NDArray[np.uint8]] = {}
    factors: dict[int, int] = {}
    with raised_alone():
        async with anyio.create_task_group() as decoding:
            async for event in events:
                if isinstance(event, ImageReceived):
                    decoding.start_soon(_decode, event, decoded)
                    factors[event.index] = event.upscale_factor
                await report(on_event, event)
    for index in {pixels.shape: index for index, pixels in decoded.items()}.values():
        warn_about_size(request.configuration, decoded[index], factors[index])
    return [
        GeneratedImage(decoded[index], request.prompt, request.negative_prompt, configuration)
        for index, configuration in enumerate(list_result_configurations(request.configuration, len(decoded)))
    ]


async def _decode(event: ImageReceived, decoded: dict[int, NDArray[np.uint8]]) -> None:
    decoded[event.index] = await anyio.to_thread.run_sync(decode_image, event.payload)


async def report(on_event: EventCallback | None, event: Event) -> None:
    """Tells a callback of an event and waits for it."""
    answer = on_event(event) if on_event is not None else None
    if inspect.isawaitable(answer):
        await answer


@contextmanager
def raised_alone() -> Iterator[None]:
    """Raises the first error of a task group by itself, so that callers can catch it by its class."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = _find_first(group)
        raise error from error.__cause__


def _find_first(group: BaseExceptionGroup) -> BaseException:
    first = group.exceptions[0]
    return _find_first(first) if isinstance(first, BaseExceptionGroup) else first
