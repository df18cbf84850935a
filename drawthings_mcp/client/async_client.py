"""The client of one Draw Things server.

Owns the runs; questions are ``questions``', the connection is ``connection``'s, what messages mean ``wire``'s.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack

import anyio.to_thread

from drawthings_mcp.client.channel import receive
from drawthings_mcp.client.collect import EventCallback, collect_images
from drawthings_mcp.client.info import is_simulated
from drawthings_mcp.client.questions import USER, AskingClient
from drawthings_mcp.client.results import check_target
from drawthings_mcp.client.retry import Run, read_persistently
from drawthings_mcp.client.video import SavedVideo, VideoRecorder
from drawthings_mcp.errors import DrawThingsWarning, ServerDiedError
from drawthings_mcp.events import Event
from drawthings_mcp.generation import GeneratedImage, GenerationRequest, ImageGenerationConfig
from drawthings_mcp.library import save_image
from drawthings_mcp.requests import ComposedRequests, Pictures, compose_requests
from drawthings_mcp.wire import ResponseReader, build_request


class AsyncDrawThingsClient(AskingClient):
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
        False accepts any certificate within its dates that holds a name, since gRPC takes no other, and neither reads
        nor writes pins.
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
        run = Run(self._connection, message)
        async with self._explained_errors():
            await run.send()
        try:
            async with aclosing(read_persistently(partial(self._read_events, run), run.send_again)) as events:
                yield events
        finally:
            # Leaving the iterator alone would let the server render on.
            run.call.cancel()

    async def _read_events(self, run: Run) -> AsyncGenerator[Event]:
        reader = ResponseReader()
        try:
            async with self._explained_errors():
                self.simulated = is_simulated(await receive(run.call.initial_metadata()))
                async for message in run.call:
                    for event in reader.feed(message):
                        yield event
        except ServerDiedError as error:
            error.complete = reader.complete
            raise
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
        on_event: EventCallback | None = None,
        **pictures: Unpack[Pictures],
    ) -> list[GeneratedImage]:
        """Runs all passes that the configuration asks for and gives their images in order.

        The server is asked for its files first; what it would crash on is refused, what it would silently do otherwise
        is refused or warned about with ``DrawThingsWarning``.

        Parameters
        ----------
        config
            A seed of -1 is drawn; ``batch_count`` passes are run, each with the next seeds.
        on_event
            Called with the events of all passes; ``fraction`` begins anew with each.
        **pictures
            ``negative_prompt``, ``input_image``, ``mask_image``, ``moodboard``, ``hint_images`` and ``fit``; see
            ``requests.compose_requests``.

        Raises
        ------
        UnknownNameError
            The server lacks a file that the configuration names; carries the nearest three.
        InvalidInputError
            A picture cannot be used, or the server would not survive the request.
        DrawThingsError
            As ``generate``.
        """
        composed = await self.compose(prompt, config, **pictures)
        images: list[GeneratedImage] = []
        for request in composed.requests:
            images += await self.generate(request, on_event)
        return images

    async def generate_video(
        self,
        prompt: str,
        config: ImageGenerationConfig,
        *,
        output_dir: str | Path = "output",
        prefix: str = "video",
        on_event: EventCallback | None = None,
        **pictures: Unpack[Pictures],
    ) -> SavedVideo:
        """Runs one pass of a model that makes videos and saves frames, sound and one file that moves.

        However long the video is, at most two decoded frames are in memory. Nothing is ever overwritten.

        Parameters
        ----------
        output_dir
            Made when it is missing.
        prefix
            The beginning of all names.
        **pictures
            As for ``generate_image``; ``input_image`` is the first frame for models that begin with one.

        Raises
        ------
        InvalidInputError
            The model makes pictures, or ``batch_count`` is above 1; or as ``generate_image``.
        StorageError
            A file cannot be written; frames before it stay.
        DrawThingsError
            As ``generate_image``.
        """
        folder = check_target(output_dir, prefix)
        composed = await self.compose(prompt, config, **pictures)
        recorder = VideoRecorder(composed, folder, prefix, str(self.address))
        async with self.stream(recorder.request) as events:
            return await recorder.record(events, lambda: self.simulated, on_event)

    async def compose(
        self, prompt: str, config: ImageGenerationConfig, **pictures: Unpack[Pictures]
    ) -> ComposedRequests:
        """The requests that ``generate_image`` would send, one per pass, ready for ``stream``.

        Warns with ``DrawThingsWarning`` about what the server would silently do otherwise.

        Parameters
        ----------
        **pictures
            As for ``generate_image``.

        Raises
        ------
        DrawThingsError
            As ``generate_image``, but nothing is run.
        """
        catalog, files = await self.look_up(config)
        compose = partial(compose_requests, prompt, config, **pictures, catalog=catalog, files=files)
        composed = await anyio.to_thread.run_sync(compose)
        for warning in composed.warnings:
            warnings.warn(warning, DrawThingsWarning, stacklevel=2)
        return composed

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
        folder = check_target(output_dir, prefix)
        save = partial(save_image, server=str(self.address))
        return [(await anyio.to_thread.run_sync(save, image, folder, prefix)).path for image in images]
