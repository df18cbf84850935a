"""The images of one pass, each with the configuration that reproduces it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import DrawThingsWarning, InvalidInputError
from drawthings_mcp.events import Event, ImageReceived
from drawthings_mcp.generation import (
    GenerationRequest,
    ImageGenerationConfig,
    ResultImage,
    SeedMode,
    list_batch_seeds,
)
from drawthings_mcp.library.originals import save_image
from drawthings_mcp.tasks import raised_alone
from drawthings_mcp.tensors.image import decode_image, explained_as_received
from drawthings_mcp.tensors.png import encode_png

if TYPE_CHECKING:
    from PIL import Image

EventCallback: TypeAlias = Callable[[Event], Any]
"""Called with every event; what it returns is awaited when it can be."""

_PACKAGE = str(Path(__file__).parents[1])

_collected: ContextVar[list[str] | None] = ContextVar("collected", default=None)
"""Warnings of a call that another thread waits for, which raises them at its own caller."""

_LAYERED = "qwen_image_layered"
"""Models of which the batch size is the number of layers of one picture (protocol §2.1, slot 10)."""


class GeneratedImage(ResultImage):
    """One picture that a server made; see ``ResultImage`` for its attributes. Notebooks show it."""

    __slots__ = ()

    def save(self, path: str | Path) -> Path:
        """Writes a PNG file with the prompt and all settings in it, and gives its path.

        Parameters
        ----------
        path
            Ends in ``.png``; folders are made. A file that exists is left alone: ``lion-2.png`` then.

        Raises
        ------
        InvalidInputError
            The name does not end in ``.png``.
        StorageError
            The file cannot be written.
        """
        target = check_png(path, "path")
        return save_image(self, target.parent, target.stem).path

    def to_pil(self) -> Image.Image:
        """A Pillow image with a copy of the pixels, RGB or RGBA."""
        from PIL import Image

        return Image.fromarray(self.pixels)

    def _repr_png_(self) -> bytes:
        return encode_png(self.pixels)


@contextmanager
def collected_warnings(notes: list[str]) -> Iterator[None]:
    """Keeps the warnings of a call for ``warn_caller`` in the thread that waits for it."""
    token = _collected.set(notes)
    try:
        yield
    finally:
        _collected.reset(token)


def warn_caller(note: str) -> None:
    """Warns with ``DrawThingsWarning`` at the line outside of this package that called it."""
    notes = _collected.get()
    if notes is not None:
        notes.append(note)
        return
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        warnings.warn(note, DrawThingsWarning, stacklevel=2)
    else:
        where = frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__")
        registry = frame.f_globals.setdefault("__warningregistry__", {})
        warnings.warn_explicit(DrawThingsWarning(note), DrawThingsWarning, *where, registry=registry)


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
    notes: list[str] = []
    factors: dict[int, int] = {}
    with raised_alone():
        async with anyio.create_task_group() as decoding:
            async for event in events:
                if isinstance(event, ImageReceived):
                    decoding.start_soon(_decode, event, decoded, notes)
                    factors[event.index] = event.upscale_factor
                await report(on_event, event)
    for note in dict.fromkeys(notes):
        warn_caller(note)
    for index in {pixels.shape: index for index, pixels in decoded.items()}.values():
        warn_about_size(request.configuration, decoded[index], factors[index])
    return [
        GeneratedImage(decoded[index], request.prompt, request.negative_prompt, configuration)
        for index, configuration in enumerate(list_result_configurations(request.configuration, len(decoded)))
    ]


async def _decode(event: ImageReceived, decoded: dict[int, NDArray[np.uint8]], notes: list[str]) -> None:
    decode = partial(decode_image, event.payload, report=notes.append)
    with explained_as_received():
        decoded[event.index] = await anyio.to_thread.run_sync(decode)


async def report(on_event: EventCallback | None, event: Event) -> None:
    """Calls back with an event and waits for the answer."""
    answer = on_event(event) if on_event is not None else None
    if inspect.isawaitable(answer):
        await answer


def list_result_configurations(configuration: ImageGenerationConfig, count: int) -> list[ImageGenerationConfig]:
    """The configuration that reproduces each image of a pass, in order.

    An image of a batch has a seed of its own only where the server seeds each one (protocol §2.4). All others, and
    the frames of a video, come only from the pass as it was sent.

    Parameters
    ----------
    configuration
        As it was sent.
    count
        Images that came back.
    """
    sent = configuration.replace(batch_count=1)
    if not _seeds_each_image(configuration, count):
        return [sent] * count
    return [sent.replace(seed=seed, batch_size=1) for seed in list_batch_seeds(configuration.seed, count)]


def _seeds_each_image(configuration: ImageGenerationConfig, count: int) -> bool:
    return (
        configuration.seed_mode is SeedMode.ScaleAlike
        and count == configuration.batch_size
        and not configuration.model.startswith(_LAYERED)
    )


def warn_about_size(configuration: ImageGenerationConfig, pixels: NDArray[np.uint8], upscale_factor: int) -> None:
    """Warns when an image is not of the size that was asked for; it is passed on as it came.

    Parameters
    ----------
    pixels
        ``(H, W, C)``.
    upscale_factor
        By how much the server says that it enlarged the image.
    """
    wanted = (configuration.width * upscale_factor, configuration.height * upscale_factor)
    size = (pixels.shape[1], pixels.shape[0])
    if size != wanted:
        warn_caller(
            f"The server returned {size[0]}x{size[1]} instead of {wanted[0]}x{wanted[1]}. Another model may have been "
            "used, or this one has its own sizes; compare model and size with the server's log."
        )


def check_png(path: str | Path, parameter: str) -> Path:
    """The file to write a picture in; refuses a name that does not end in ``.png``."""
    target = Path(path).expanduser()
    if target.suffix.lower() != ".png":
        problem = f"pictures are written as PNG: name it {target.stem or 'picture'}.png, not {target.name!r}."
        raise InvalidInputError(problem, parameter=parameter, value=target.name)
    return target


def check_target(output_dir: str | Path, prefix: str) -> Path:
    """The folder to save in.

    Raises
    ------
    InvalidInputError
        The prefix is not the beginning of a file's name.
    """
    if not prefix or Path(prefix).name != prefix:
        problem = f"must be the beginning of a file's name without folders, got {prefix!r}."
        raise InvalidInputError(problem, parameter="prefix", value=prefix)
    return Path(output_dir).expanduser()
