"""The client of one Draw Things server.

Owns the methods; how the server is reached is ``connection``'s, what messages mean is ``wire``'s.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio.to_thread
import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.catalog import Catalog
from drawthings_mcp.client.address import Address, parse_address
from drawthings_mcp.client.collect import EventCallback, collect_images
from drawthings_mcp.client.connection import Connection
from drawthings_mcp.client.info import ServerInfo, is_simulated
from drawthings_mcp.client.options import build_policy
from drawthings_mcp.client.probe import CONNECT_TIMEOUT
from drawthings_mcp.client.status import may_be_a_wrong_secret, translated_errors
from drawthings_mcp.client.trust import Security, TlsMode
from drawthings_mcp.errors import (
    DrawThingsWarning,
    InvalidInputError,
    RequestRefusedError,
    ServerDiedError,
    ServerError,
    SharedSecretError,
    UnsupportedRequestError,
)
from drawthings_mcp.events import Event
from drawthings_mcp.generation import GeneratedImage, GenerationRequest, ImageGenerationConfig
from drawthings_mcp.library import save_image
from drawthings_mcp.requests import HintImages, compose_requests, list_files
from drawthings_mcp.tensors import Fit, ImageLike
from drawthings_mcp.wire import ResponseReader, build_request, parse_catalog

USER = "drawthings-mcp"
"""Name under which a server knows its caller."""

ReplyT = TypeVar("ReplyT")

REPLY_TIMEOUT = 120.0
"""Seconds for everything but a run. A server may hold a reply back until the current run is done (protocol §9.2);
runs have no limit, for a queued one is silent until it starts (protocol §6.4)."""


class AsyncDrawThingsClient:
    """A client of one server, used inside ``async with``; on asyncio only, as gRPC is.

    The connection is made at the first call and renewed when the server was restarted. One client serves any
    number of tasks of its event loop; a server renders one request at a time.

    Parameters
    ----------
    address
        ``host``, ``host:port``, ``[IPv6]:port``; the port is 7859 by default.
    insecure
        True for plaintext (``tls="off"``), False for TLS (``tls="on"``).
    verify_ssl
        False accepts any certificate and neither reads nor writes pins.
    tls
        ``auto``: TLS, and plaintext only if the server is on this machine; ``on``: TLS; ``off``: plaintext.
    ca_file
        PEM of a CA's or the server's certificate: then chain and host name are verified. Without it Draw Things'
        shared certificate is accepted, which proves no identity, and any other is pinned at first use.
    shared_secret
        The server's, if it has one.
    state_dir
        Folder of the pins; the user's data folder by default.
    connect_timeout
        Seconds for finding out what speaks at the address, and again for connecting.

    Raises
    ------
    InvalidInputError
        The address is not one, or options contradict each other.
    """

    def __init__(
        self,
        address: str = "localhost:7859",
        *,
        insecure: bool | None = None,
        verify_ssl: bool = True,
        tls: TlsMode = "auto",
        ca_file: str | Path | None = None,
        shared_secret: str = "",
        state_dir: str | Path | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self.address: Address = parse_address(address)
        policy = build_policy(insecure=insecure, verify_ssl=verify_ssl, tls=tls, ca_file=ca_file, state_dir=state_dir)
        self.simulated = False
        """Whether the server turned out to be the simulator, known from its first answer on."""
        self._shared_secret = shared_secret
        self._connection = Connection(self.address, policy, connect_timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r})"

    @property
    def security(self) -> Security | None:
        """How the connection is protected; None before the first call."""
        return self._connection.security

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._connection.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def stream(self, request: GenerationRequest) -> AsyncGenerator[AsyncIterator[Event]]:
        """Sends a request and gives its events as they come; leaving the context stops the run.

        Examples
        --------
        >>> async with client.stream(request) as events:
        ...     async for event in events:
        ...         print(event.fraction)

        Raises
        ------
        InvalidInputError
            The request cannot be sent; see ``wire.build_request``.
        ServerError
            The server, or the way to it, failed; also raised by the iterator.
        GenerationError
            From the iterator: the run ended without what it was asked for.
        """
        build = partial(build_request, request, shared_secret=self._shared_secret, user=USER)
        message = await anyio.to_thread.run_sync(build)
        async with self._explained_errors():
            stub = await self._connection.get_stub()
            call: grpc.aio.UnaryStreamCall[Any, pb.ImageGenerationResponse] = stub.GenerateImage(message)
        try:
            async with aclosing(self._read_events(call)) as events:
                yield events
        finally:
            # Leaving the iterator alone would let the server render on.
            call.cancel()

    async def _read_events(
        self, call: grpc.aio.UnaryStreamCall[Any, pb.ImageGenerationResponse]
    ) -> AsyncGenerator[Event]:
        reader = ResponseReader()
        async with self._explained_errors():
            self.simulated = is_simulated(await _receive(call.initial_metadata()))
            async for message in call:
                for event in reader.feed(message):
                    yield event
        for event in reader.finish():
            yield event

    async def generate(self, request: GenerationRequest, on_event: EventCallback | None = None) -> list[GeneratedImage]:
        """Runs one pass and gives its images, or the frames of its video.

        Parameters
        ----------
        on_event
            Called with every event, in order; the run waits for it. May be a coroutine function.

        Raises
        ------
        DrawThingsError
            As ``stream``; or ``TensorError`` when an image cannot be decoded.
        """
        async with self.stream(request) as events:
            images = await collect_images(events, request, on_event)
        return [replace(image, simulated=self.simulated) for image in images]

    async def generate_image(
        self,
        prompt: str,
        config: ImageGenerationConfig,
        *,
        negative_prompt: str = "",
        input_image: ImageLike | None = None,
        mask_image: ImageLike | None = None,
        moodboard: Sequence[ImageLike] = (),
        hint_images: HintImages | None = None,
        fit: Fit = "crop",
        on_event: EventCallback | None = None,
    ) -> list[GeneratedImage]:
        """Runs all passes that the configuration asks for and gives their images in order.

        The server is asked for its files first; what it would crash on is refused, what it would silently do otherwise
        is refused or warned about with ``DrawThingsWarning``.

        Parameters
        ----------
        config
            A seed of -1 is drawn; ``batch_count`` passes are run, each with the next seeds.
        input_image
            The canvas: a path, bytes of an image file, a Pillow image or an ``(H, W, C)`` array. Its pixels count only
            when ``strength`` is below 1 or the model edits.
        mask_image
            As ``input_image``: white is repainted, black is kept. Of the size of the input image or of the
            configuration.
        moodboard
            Further references, in order, for models that edit and controls that look at pictures.
        hint_images
            Ready maps by the kind of the control that reads them, e.g. ``{"canny": "edges.png"}``.
        fit
            How pictures of other proportions are brought to the canvas: ``crop``, ``pad`` or ``stretch``.
        on_event
            Called with the events of all passes; ``fraction`` begins anew with each.

        Raises
        ------
        UnknownNameError
            The server lacks a file that the configuration names; carries the nearest three.
        InvalidInputError
            A picture cannot be used, or the server would not survive the request.
        DrawThingsError
            As ``generate``.
        """
        catalog, files = await self.look_up(config)
        compose = partial(
            compose_requests,
            prompt,
            config,
            negative_prompt=negative_prompt,
            input_image=input_image,
            mask_image=mask_image,
            moodboard=moodboard,
            hint_images=hint_images,
            fit=fit,
            catalog=catalog,
            files=files,
        )
        composed = await anyio.to_thread.run_sync(compose)
        for warning in composed.warnings:
            warnings.warn(warning, DrawThingsWarning, stacklevel=2)
        images: list[GeneratedImage] = []
        for request in composed.requests:
            images += await self.generate(request, on_event)
        return images

    async def look_up(self, config: ImageGenerationConfig) -> tuple[Catalog | None, dict[str, bool] | None]:
        """What the server says of the files that a configuration names: its catalog or, without browsing, single files.

        Both are None for a server that answers neither question.

        Raises
        ------
        ServerError
            The server, or the way to it, failed.
        """
        try:
            catalog = (await self.echo()).catalog
            files = None if catalog is not None else await self.files_exist(list_files(config))
        except UnsupportedRequestError:
            return None, None
        return catalog, files

    async def echo(self) -> ServerInfo:
        """What the server says of itself.

        Raises
        ------
        SharedSecretError
            It wants a shared secret, or another one.
        ServerError
            The server, or the way to it, failed.
        """
        with self._translated_errors():
            stub = await self._connection.get_stub()
            request = pb.EchoRequest(name=USER, sharedSecret=self._shared_secret or None)
            call = stub.Echo(request, timeout=REPLY_TIMEOUT)
            reply: pb.EchoReply = await _receive(call)
            self.simulated = is_simulated(await call.initial_metadata())
        if reply.sharedSecretMissing:
            problem = "another shared secret than the one given" if self._shared_secret else "a shared secret"
            raise SharedSecretError(
                f"{self.address} wants {problem}. Set the one that the server was started with: --shared-secret or "
                "DRAWTHINGS_SHARED_SECRET."
            )
        return ServerInfo(reply.message, reply.serverIdentifier, parse_catalog(reply), self.simulated)

    async def catalog(self) -> Catalog:
        """Models, LoRAs, controls, upscalers and embeddings that the server offers.

        Raises
        ------
        UnsupportedRequestError
            The server does not let its models be browsed.
        ServerError
            As ``echo``.
        """
        info = await self.echo()
        if info.catalog is None:
            raise UnsupportedRequestError(
                f"{self.address} does not list its models. Switch model browsing on (Advanced settings → API Server, "
                "or --model-browser of the stand-alone server); file names can be used and checked without it."
            )
        return info.catalog

    async def files_exist(self, names: Sequence[str]) -> dict[str, bool]:
        """Which files are in the server's model folders, in the order of the names.

        Raises
        ------
        ServerError
            The server, or the way to it, failed.
        """
        async with self._explained_errors():
            stub = await self._connection.get_stub()
            request = pb.FileListRequest(files=names, sharedSecret=self._shared_secret or None)
            reply: pb.FileExistenceResponse = await _receive(stub.FilesExist(request, timeout=REPLY_TIMEOUT))
        if len(reply.existences) != len(names):
            raise RequestRefusedError(
                f"{self.address} answered for {len(reply.existences)} of {len(names)} files. Update Draw Things."
            )
        return dict(zip(names, reply.existences, strict=True))

    async def save_images(
        self, images: Sequence[GeneratedImage], output_dir: str | Path = "output", prefix: str = "image"
    ) -> list[Path]:
        """Writes images as PNG with their metadata: ``prefix.png``, ``prefix-2.png``, …, never over a file that exists.

        Parameters
        ----------
        output_dir
            Made when it is missing.

        Raises
        ------
        InvalidInputError
            The prefix is not the beginning of a file's name.
        StorageError
            A file cannot be written.
        """
        if not prefix or Path(prefix).name != prefix:
            raise InvalidInputError(f"prefix: must be the beginning of a file's name without folders, got {prefix!r}.")
        folder = Path(output_dir).expanduser()
        save = partial(save_image, server=str(self.address))
        return [await anyio.to_thread.run_sync(save, image, folder, prefix) for image in images]

    @asynccontextmanager
    async def _explained_errors(self) -> AsyncGenerator[None]:
        """Translates gRPC's errors, and finds out whether a refusal means a wrong secret."""
        try:
            with self._translated_errors():
                yield
        except RequestRefusedError as error:
            if may_be_a_wrong_secret(error):
                await self._check_secret(error)
            raise

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            with translated_errors(str(self.address)):
                yield
        except ServerDiedError:
            self._connection.forget_channel()
            raise

    async def _check_secret(self, refusal: RequestRefusedError) -> None:
        """Raises when the secret is the reason of a refusal: only the reply to an echo says so."""
        try:
            await self.echo()
        except SharedSecretError as error:
            raise error from refusal.__cause__
        except ServerError:
            return


async def _receive(call: Awaitable[ReplyT]) -> ReplyT:
    """The reply of a unary call."""
    try:
        return await call
    except anyio.get_cancelled_exc_class():
        # grpc.aio raises a cancellation of its own making, which the scope that cancelled would not know again.
        await anyio.lowlevel.checkpoint()
        raise
