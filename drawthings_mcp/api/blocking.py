"""The blocking front of the async client, for scripts and notebooks, and a picture in one call.

The async client runs in an event loop in a thread of its own; this module has no logic besides that.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from drawthings_mcp.address import Address
from drawthings_mcp.api.async_client import AsyncDrawThingsClient, Pictures
from drawthings_mcp.api.recipes import read_recipe
from drawthings_mcp.api.results import EventCallback, GeneratedImage, check_png, collected_warnings, warn_caller
from drawthings_mcp.api.videos import SavedVideo
from drawthings_mcp.catalog import Catalog, Model
from drawthings_mcp.client.server_client import ServerInfo
from drawthings_mcp.client.trust import Security, TlsMode
from drawthings_mcp.errors import GenerationError, InvalidInputError, TimeLimitError
from drawthings_mcp.events import Event
from drawthings_mcp.faces import Text
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig, ResultImage
from drawthings_mcp.planning.compose import Plan

P = ParamSpec("P")
T = TypeVar("T")

_MAX_WAIT_SECONDS = 1.0
"""A Ctrl-C that arrives just before a wait begins is noticed only when that wait ends."""


class ClientOptions(TypedDict, total=False):
    """The options of ``AsyncDrawThingsClient``."""

    insecure: bool | None
    verify_ssl: bool
    tls: TlsMode
    ca_file: str | Path | None
    shared_secret: str
    state_dir: str | Path | None
    connect_timeout: float
    timeout: float | None


def _documented(method: Callable[P, T]) -> Callable[P, T]:
    """Gives a method the docstring of the asynchronous one; its own first line is for editors."""
    method.__doc__ = getattr(AsyncDrawThingsClient, method.__name__).__doc__
    return method


class DrawThingsClient:
    """A client of one server, used inside ``with``, from any thread.

    Takes the options of ``AsyncDrawThingsClient`` and has its methods. ``on_event`` is called in the client's own
    thread. A call that is interrupted, e.g. with Ctrl-C, stops the run on the server.

    Parameters
    ----------
    timeout
        Seconds that one call may take; None for no limit. A call that takes longer is stopped, also on the server, and
        ``TimeLimitError`` is raised, which is a ``TimeoutError``. A server that is busy makes calls wait.

    Examples
    --------
    >>> with DrawThingsClient("studio.local", shared_secret="…") as client:
    ...     images = client.generate_image("a lighthouse at dusk", config)
    ...     client.save_images(images)
    """

    def __init__(self, address: str = "localhost:7859", **options: Unpack[ClientOptions]) -> None:
        self._timeout = options.pop("timeout", None)
        self._client = AsyncDrawThingsClient(address, **options)  # type: ignore[misc]
        self._portal: BlockingPortal | None = None
        self._thread: int | None = None
        self._exits = ExitStack()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r})"

    @property
    def address(self) -> Address:
        """Where the server is."""
        return self._client.address

    @property
    def security(self) -> Security | None:
        """How the connection is protected; None before the first call."""
        return self._client.security

    def __enter__(self) -> Self:
        if self._portal is not None:
            raise InvalidInputError("The client is open already; make a second one for a second `with` block.")
        with ExitStack() as exits:
            portal = exits.enter_context(start_blocking_portal("asyncio", name="drawthings-client"))
            exits.enter_context(portal.wrap_async_context_manager(self._client))
            self._exits = exits.pop_all()
        self._portal = portal
        self._thread = portal.call(threading.get_ident)
        return self

    def __exit__(self, *error: Any) -> None:
        self._portal = None
        self._exits.__exit__(*error)

    @_documented
    def generate(self, request: GenerationRequest, on_event: EventCallback | None = None) -> list[GeneratedImage]:
        """Runs one pass and gives its images, or the frames of its video."""
        return self._run(self._client.generate, request, on_event)

    @_documented
    def generate_image(
        self,
        prompt: str,
        config: ImageGenerationConfig,
        *,
        on_event: EventCallback | None = None,
        **pictures: Unpack[Pictures],
    ) -> list[GeneratedImage]:
        """Runs all passes that the configuration asks for and gives their images in order."""
        return self._run(self._client.generate_image, prompt, config, on_event=on_event, **pictures)

    @_documented
    def generate_video(
        self,
        prompt: str,
        config: ImageGenerationConfig,
        *,
        output_dir: str | Path = "output",
        prefix: str = "video",
        on_event: EventCallback | None = None,
        **pictures: Unpack[Pictures],
    ) -> SavedVideo:
        """Runs one pass of a model that makes videos and saves frames, sound and one file that moves."""
        method = partial(self._client.generate_video, output_dir=output_dir, prefix=prefix, on_event=on_event)
        return self._run(partial(method, prompt, config, **pictures))

    @contextmanager
    def stream(self, request: GenerationRequest) -> Iterator[Iterator[Event]]:
        """Sends a request and gives its events as they come; leaving the context stops the run.

        Examples
        --------
        >>> with client.stream(plan.requests[0]) as events:
        ...     for event in events:
        ...         print(event.fraction)

        Raises
        ------
        InvalidInputError
            The request cannot be sent.
        ServerError
            The server, or the way to it, failed; also raised by the iterator.
        GenerationError
            From the iterator: the run ended without what it was asked for.
        """
        with self._get_portal().wrap_async_context_manager(self._client.stream(request)) as events:

            def read() -> Iterator[Event]:
                while (event := self._run(_read_next, events)) is not None:
                    yield event

            yield read()

    @_documented
    def compose(self, prompt: str, config: ImageGenerationConfig, **pictures: Unpack[Pictures]) -> Plan:
        """The requests that ``generate_image`` would send, one per pass, ready for ``generate``."""
        return self._run(self._client.compose, prompt, config, **pictures)

    @_documented
    def echo(self) -> ServerInfo:
        """What the server says of itself."""
        return self._run(self._client.echo)

    @_documented
    def catalog(self) -> Catalog:
        """Models, LoRAs, controls, upscalers and embeddings that the server offers."""
        return self._run(self._client.catalog)

    @_documented
    def files_exist(self, names: Sequence[str]) -> dict[str, bool]:
        """Which files are in the server's model folders, in the order of the names."""
        return self._run(self._client.files_exist, names)

    @_documented
    def save_images(
        self, images: Sequence[ResultImage], output_dir: str | Path = "output", prefix: str = "image"
    ) -> list[Path]:
        """Writes images as PNG with their metadata, never over a file that exists."""
        return self._run(self._client.save_images, images, output_dir, prefix)

    def _get_portal(self) -> BlockingPortal:
        if self._portal is None:
            raise InvalidInputError("The client is not open. Use it inside `with DrawThingsClient(...) as client:`.")
        if threading.get_ident() == self._thread:
            raise InvalidInputError(
                "The client was called from inside on_event, where it would wait for itself for ever. Keep what is "
                "needed and call it after the run, or use AsyncDrawThingsClient."
            )
        return self._portal

    def _run(self, method: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        notes: list[str] = []

        async def call() -> T:
            with collected_warnings(notes), anyio.move_on_after(self._timeout) as scope:
                return await method(*args, **kwargs)
            assert scope.cancelled_caught
            template = (
                "{seconds:g} s were not enough for the call, which was stopped. Give it more, or None for no limit."
            )
            raise TimeLimitError(Text(template, seconds=self._timeout), parameter="timeout", value=self._timeout)

        future: Future[T] = self._get_portal().start_task_soon(call)
        try:
            while not future.done():
                wait([future], timeout=_MAX_WAIT_SECONDS)
            return future.result()
        except CancelledError as error:
            raise GenerationError("The client was closed before the call was done; the run was stopped.") from error
        except BaseException:
            # Ctrl-C ends the waiting here, not the run there.
            future.cancel()
            raise
        finally:
            for note in notes:
                warn_caller(note)


async def _read_next(events: AsyncIterator[Event]) -> Event | None:
    return await anext(events, None)


class ModelMetadata:
    """What a server's catalog tells of its models; takes what ``DrawThingsClient`` takes.

    The server is asked at the first question.
    """

    def __init__(self, address: str = "localhost:7859", **options: Unpack[ClientOptions]) -> None:
        self._address = address
        self._options = options
        self._catalog: Catalog | None = None

    def get_model(self, name: str) -> Model:
        """The model of a file or display name.

        Raises
        ------
        UnknownNameError
            There is none; has the nearest three.
        ServerError
            The server does not list its models, or failed.
        """
        if self._catalog is None:
            with DrawThingsClient(self._address, **self._options) as client:
                self._catalog = client.catalog()
        return self._catalog.get_model(name)

    def get_latent_info(self, name: str) -> dict[str, Any]:
        """Version, scale and native size of a model, as JSON-serialisable dict; raises as ``get_model``.

        ``default_scale`` is the native side in units of 64 pixels, ``native_size`` the same in pixels.
        """
        model = self.get_model(name)
        return {
            "file": model.file,
            "name": model.name,
            "version": model.version,
            "default_scale": model.default_scale,
            "native_size": model.native_side,
        }


def generate_image(
    prompt: str | None = None,
    *,
    address: str = "localhost:7859",
    config: ImageGenerationConfig | None = None,
    settings_from: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
    output: str | Path | None = None,
    client_options: ClientOptions | None = None,
    on_event: EventCallback | None = None,
    **options: Any,
) -> list[GeneratedImage]:
    """Connects, makes the pictures of one prompt and disconnects.

    Parameters
    ----------
    config
        Without it the recommended settings of ``model`` are used, or of the model that suits best among those that the
        server has, at the model's native size.
    settings_from
        In place of ``config``: a picture of the library by its id, or a file of any program whose metadata are read.
        Its prompts, model, settings, seed and size are used where the call gives none, as far as the server can follow
        them; ``DrawThingsWarning`` says what was left out. ``prompt`` may be left out then.
    size
        Side of a square, or width and height, in pixels: multiples of 64.
    output
        PNG file to save the picture in, as ``GeneratedImage.save``; further pictures are numbered.
    client_options
        Of ``DrawThingsClient``, e.g. ``{"shared_secret": "…"}``.
    on_event
        As for ``DrawThingsClient.generate_image``.
    **options
        Its pictures (``input_image``, ``mask_image``, ``negative_prompt`` …), and fields of ``ImageGenerationConfig``,
        which win over ``config`` and over recommended settings.

    Examples
    --------
    >>> (image,) = generate_image("a red fox in snow", size=512, output="fox.png", seed=7)

    Raises
    ------
    DrawThingsError
        As ``DrawThingsClient.generate_image`` and ``GeneratedImage.save``.
    """
    names = Pictures.__annotations__
    pictures = cast(Pictures, {name: value for name, value in options.items() if name in names})
    fields = {name: value for name, value in options.items() if name not in names}
    if size is not None:
        fields["width"], fields["height"] = _read_size(size)
    target = None if output is None else check_png(output, "output")
    if prompt is None and settings_from is None:
        raise InvalidInputError("is required.", parameter="prompt")
    with DrawThingsClient(address, **(client_options or {})) as client:
        if settings_from is not None:
            prompt, config = _begin_with(client, settings_from, prompt or "", config, fields, pictures)
        elif config is None:
            model = str(fields.get("model") or "")
            config = ImageGenerationConfig(**client._run(client._client.recommend, model))
        images = client.generate_image(prompt or "", config.replace(**fields), on_event=on_event, **pictures)
    if target is not None:
        for image in images:
            image.save(target)
    return images


def _begin_with(
    client: DrawThingsClient,
    picture: str | Path,
    prompt: str,
    config: ImageGenerationConfig | None,
    fields: dict[str, Any],
    pictures: Pictures,
) -> tuple[str, ImageGenerationConfig]:
    """Prompt and configuration of a picture; its negative prompt is put among the pictures."""
    if config is not None:
        raise InvalidInputError("stands in place of config: give either of them.", parameter="settings_from")
    model = str(fields.pop("model", "") or "")
    begin = partial(client._client.begin_with, prompt=prompt, model=model, input_image=pictures.get("input_image"))
    request = client._run(begin, read_recipe(picture))
    pictures.setdefault("negative_prompt", request.negative_prompt)
    return request.prompt, request.configuration


def _read_size(size: int | tuple[int, int]) -> tuple[int, int]:
    try:
        width, height = (size, size) if isinstance(size, int | str) else size
    except (TypeError, ValueError):
        width = height = -1
    if isinstance(size, str) or width == -1:
        text = f"must be the side of a square or (width, height), such as 512 or (768, 512), got {size!r}"
        raise InvalidInputError(text, parameter="size", value=size)
    return width, height
