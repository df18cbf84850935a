"""A client of one Draw Things server: what it can be asked, and the events of its runs."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import anyio
import anyio.to_thread

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.address import Address, parse_address
from drawthings_mcp.catalog import Catalog, ServerInventory, UnansweredError
from drawthings_mcp.client.channel import Run, ServerChannel, ask_again, read_persistently, receive
from drawthings_mcp.client.probe import CONNECT_TIMEOUT
from drawthings_mcp.client.status import SET_SECRET, may_be_a_wrong_secret, rule_out_secret, translated_errors
from drawthings_mcp.client.trust import Security, TlsMode, build_policy
from drawthings_mcp.errors import (
    InvalidInputError,
    RequestRefusedError,
    ServerDiedError,
    ServerError,
    SharedSecretError,
    UnsupportedRequestError,
)
from drawthings_mcp.events import Event
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.generation import GenerationRequest
from drawthings_mcp.limits import SIMULATED_HEADER
from drawthings_mcp.wire.catalog import parse_catalog
from drawthings_mcp.wire.request import build_request
from drawthings_mcp.wire.response import ResponseReader, measure_yield

ResultT = TypeVar("ResultT")

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
"""Names of files that are uploaded: a server uses them as they are (protocol §8.5)."""
_PIECE = 1 << 20
_UNACKNOWLEDGED = 50
"""Bytes of a piece of a file, and pieces that may be on their way at once (protocol §8.5)."""

USER = "drawthings-mcp"
"""Name under which a server knows its caller."""

REPLY_TIMEOUT = 4 * 3600.0
"""Seconds for everything but a run: four hours. A server may hold a reply back until the runs before it are done
(protocol §8.1); whoever wants an answer sooner cancels. Runs have no limit at all (protocol §6.4)."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself: the reply to an echo.

    ``identifier`` is drawn at each start of the server: it tells a restart, and that two addresses are one server; 0
    from a proxy. ``catalog`` is None when the server does not let its models be browsed; it may have some all the same.
    ``simulated``: this is the simulator, whose pictures no model made.
    """

    message: str
    identifier: int
    catalog: Catalog | None
    simulated: bool = False

    def take_inventory(self) -> ServerInventory:
        """What the server has; without browsing, files that are named have to be asked about."""
        return ServerInventory(self.catalog, can_ask=True)


def _measure_file(file: Path) -> tuple[int, bytes]:
    """Bytes, and their SHA-256."""
    with file.open("rb") as opened:
        return file.stat().st_size, hashlib.file_digest(opened, "sha256").digest()


def _is_simulated(headers: Iterable[tuple[str, str | bytes]] | None) -> bool:
    """Whether the headers of a response are the simulator's."""
    return any(name == SIMULATED_HEADER for name, _ in headers or ())


class ServerClient:
    """A connection to one server, used inside ``async with``; on asyncio only, as gRPC is.

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
        self._channel = ServerChannel(self.address, policy, connect_timeout)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r})"

    @property
    def security(self) -> Security | None:
        """How the connection is protected; None before the first call."""
        return self._channel.security

    async def __aenter__(self) -> Self:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise InvalidInputError(
                "The client runs on asyncio only, as gRPC does. Start the program with asyncio.run(main()), or use "
                "DrawThingsClient, which has a thread of its own."
            ) from None
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._channel.__aexit__(*error)

    async def take_inventory(self) -> ServerInventory:
        """What the server has, as far as it says so; see ``work_out`` for the rest."""
        try:
            return (await ask_again(self.echo, self._channel)).take_inventory()
        except UnsupportedRequestError:
            return ServerInventory()

    async def work_out(self, inventory: ServerInventory, work: Callable[[], ResultT]) -> ResultT:
        """The result of a function that may look into an inventory, run in a thread; raises what the function raises.

        Where the inventory lacks an answer the server is asked, the answer is kept, and the function is run again.
        """
        while True:
            try:
                return await anyio.to_thread.run_sync(work)
            except UnansweredError as question:
                files = question.files
            try:
                inventory.answers.update(await self.files_exist(files))
            except UnsupportedRequestError:
                inventory.can_ask = False

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
            stub = await self._channel.get_stub()
            request = pb.EchoRequest(name=USER, sharedSecret=self._shared_secret or None)
            call = stub.Echo(request, timeout=REPLY_TIMEOUT)
            reply: pb.EchoReply = await receive(call)
            self.simulated = _is_simulated(await call.initial_metadata())
        if reply.sharedSecretMissing:
            wanted = Phrase("another shared secret than the one given" if self._shared_secret else "a shared secret")
            template = "{server} wants {wanted}. Give the one that it was started with: {step}."
            raise SharedSecretError(Text(template, server=str(self.address), wanted=wanted, step=SET_SECRET))
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
            template = "{server} does not list its models. {step:C}; file names can be used and checked without it."
            raise UnsupportedRequestError(Text(template, server=str(self.address), step=Step("switch_on_browsing")))
        return info.catalog

    async def files_exist(self, names: Sequence[str]) -> dict[str, bool]:
        """Which files are in the server's model folders, in the order of the names.

        Raises
        ------
        ServerError
            The server, or the way to it, failed.
        """
        async with self._explained_errors():
            stub = await self._channel.get_stub()
            request = pb.FileListRequest(files=names, sharedSecret=self._shared_secret or None)
            reply: pb.FileExistenceResponse = await receive(stub.FilesExist(request, timeout=REPLY_TIMEOUT))
        if len(reply.existences) != len(names):
            found = Phrase(f"{self.address} answered for {len(reply.existences)} of {len(names)} files")
            raise RequestRefusedError(Text("{found}. {step:C}.", found=found, step=Step("update_server")))
        return dict(zip(names, reply.existences, strict=True))

    async def upload(self, file: Path) -> None:
        """Puts a model file into the server's folder, under its own name (protocol §8.5).

        Raises
        ------
        InvalidInputError
            The file has another name than servers can be told, or cannot be read.
        ServerError
            The server, or the way to it, failed.
        """
        if not _PLAIN_NAME.fullmatch(file.name):
            raise InvalidInputError(f"{file.name!r} is no name for a model file on a server.")
        try:
            size, sha256 = await anyio.to_thread.run_sync(_measure_file, file)
        except OSError as exc:
            raise InvalidInputError(f"{file} cannot be read: {exc}.") from exc
        start = pb.InitUploadRequest(filename=file.name, sha256=sha256, totalSize=size)
        window = anyio.Semaphore(_UNACKNOWLEDGED)
        async with self._explained_errors():
            stub = await self._channel.get_stub()
            call = stub.UploadFile(self._list_pieces(file, start, window))
            try:
                async for _ in call:
                    window.release()
            finally:
                call.cancel()

    async def _list_pieces(
        self, file: Path, start: pb.InitUploadRequest, window: anyio.Semaphore
    ) -> AsyncGenerator[pb.FileUploadRequest]:
        secret = self._shared_secret or None
        yield pb.FileUploadRequest(initRequest=start, sharedSecret=secret)
        async with await anyio.open_file(file, "rb") as opened:
            offset = 0
            while data := await opened.read(_PIECE):
                await window.acquire()
                chunk = pb.FileChunk(content=data, filename=file.name, offset=offset)
                yield pb.FileUploadRequest(chunk=chunk, sharedSecret=secret)
                offset += len(data)

    @asynccontextmanager
    async def stream(self, request: GenerationRequest, *, waits: bool = True) -> AsyncGenerator[AsyncIterator[Event]]:
        """Sends a request and gives its events as they come; leaving the context stops the run.

        Parameters
        ----------
        waits
            Whether a server that goes away before the first event is waited for, and the request sent again.

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
        run = Run(self._channel, message)
        read = partial(self._read_events, measure_yield(request.configuration))
        async with self._explained_errors():
            await run.send()
        try:
            async with aclosing(read_persistently(read, run) if waits else read(run)) as events:
                yield events
        finally:
            # Leaving the iterator alone would let the server render on.
            run.call.cancel()

    async def _read_events(self, most: int, run: Run) -> AsyncGenerator[Event]:
        reader = ResponseReader(most)
        try:
            async with self._explained_errors():
                self.simulated = _is_simulated(await receive(run.call.initial_metadata()))
                async for message in run.call:
                    for event in reader.feed(message):
                        yield event
        except ServerDiedError as error:
            error.complete = reader.complete
            raise
        for event in reader.finish():
            yield event

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
            self._channel.forget_channel()
            raise

    async def _check_secret(self, refusal: RequestRefusedError) -> None:
        """Raises when the secret is the reason of a refusal: only the reply to an echo says so."""
        try:
            await self.echo()
        except SharedSecretError as error:
            raise error from refusal.__cause__
        except ServerError:
            return
        raise rule_out_secret(refusal) from refusal.__cause__
