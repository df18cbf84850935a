"""The blocking front of the async client, for scripts and notebooks, and a picture in one call.

The async client runs in an event loop in a thread of its own; this module has no logic besides that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from drawthings_mcp.address import Address
from drawthings_mcp.api.async_client import AsyncDrawThingsClient, Pictures
from drawthings_mcp.api.results import EventCallback
from drawthings_mcp.api.videos import SavedVideo
from drawthings_mcp.catalog import Catalog
from drawthings_mcp.client.server_client import ServerInfo
from drawthings_mcp.client.trust import Security, TlsMode
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import GeneratedImage, GenerationRequest, ImageGenerationConfig
from drawthings_mcp.planning.compose import Plan
from drawthings_mcp.presets.mode_table import recommended_configuration

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


def _documented(method: Callable[P, T]) -> Callable[P, T]:
    """Gives a method the docstring of the asynchronous one; its own first line is for editors."""
    method.__doc__ = getattr(AsyncDrawThingsClient, method.__name__).__doc__
    return method


class DrawThingsClient:
    """A client of one server, used inside ``with``, from any thread.

    Takes the options of ``AsyncDrawThingsClient`` and has its methods. ``on_event`` is called in the client's own
    thread. A call that is interrupted, e.g. with Ctrl-C, stops the run on the server.

    Examples
    --------
    >>> with DrawThingsClient("studio.local", shared_secret="…") as client:
    ...     images = client.generate_image("a lighthouse at dusk", config)
    ...     client.save_images(images)
    """

    def __init__(self, address: str = "localhost:7859", **options: Unpack[ClientOptions]) -> None:
        self._client = AsyncDrawThingsClient(address, **options)
        self._portal: BlockingPortal | None = None
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
        self, images: Sequence[GeneratedImage], output_dir: str | Path = "output", prefix: str = "image"
    ) -> list[Path]:
        """Writes images as PNG with their metadata, never over a file that exists."""
        return self._run(self._client.save_images, images, output_dir, prefix)

    def _run(self, method: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._portal is None:
            raise InvalidInputError("The client is not open. Use it inside `with DrawThingsClient(...) as client:`.")
        future: Future[T] = self._portal.start_task_soon(partial(method, *args, **kwargs))
        try:
            while not future.done():
                wait([future], timeout=_MAX_WAIT_SECONDS)
            return future.result()
        except BaseException:
            # Ctrl-C ends the waiting here, not the run there.
            future.cancel()
            raise


def generate_image(
    prompt: str,
    *,
    address: str = "localhost:7859",
    config: ImageGenerationConfig | None = None,
    client_options: ClientOptions | None = None,
    on_event: EventCallback | None = None,
    **options: Any,
) -> list[GeneratedImage]:
    """Connects, makes the pictures of one prompt and disconnects.

    Parameters
    ----------
    config
        Without it the recommended settings of ``model`` are used, or of the model that suits best among those that the
        server has.
    client_options
        Of ``DrawThingsClient``, e.g. ``{"shared_secret": "…"}``.
    on_event
        As for ``DrawThingsClient.generate_image``.
    **options
        Its pictures (``input_image``, ``mask_image``, ``negative_prompt`` …), and fields of ``ImageGenerationConfig``,
        which win over ``config`` and over recommended settings.

    Examples
    --------
    >>> (image,) = generate_image("a red fox in snow", width=768, height=512, seed=7)

    Raises
    ------
    DrawThingsError
        As ``DrawThingsClient.generate_image``.
    """
    names = Pictures.__annotations__
    pictures = cast(Pictures, {name: value for name, value in options.items() if name in names})
    fields = {name: value for name, value in options.items() if name not in names}
    with DrawThingsClient(address, **(client_options or {})) as client:
        configuration = config.replace(**fields) if config is not None else _recommend(client, fields)
        return client.generate_image(prompt, configuration, on_event=on_event, **pictures)


def _recommend(client: DrawThingsClient, fields: dict[str, Any]) -> ImageGenerationConfig:
    model = fields.get("model")
    recommended = recommended_configuration(model) if model else client._run(client._client.recommend)
    return ImageGenerationConfig(**recommended).replace(**fields)
