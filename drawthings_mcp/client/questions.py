"""What a server can be asked beside a run, and the life of a client.

Owns the questions and how their failures are told. Knows no runs.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.address import Address, parse_address
from drawthings_mcp.catalog import Catalog
from drawthings_mcp.client.channel import receive
from drawthings_mcp.client.connection import Connection
from drawthings_mcp.client.info import ServerInfo, is_simulated
from drawthings_mcp.client.options import build_policy
from drawthings_mcp.client.probe import CONNECT_TIMEOUT
from drawthings_mcp.client.retry import ask_again
from drawthings_mcp.client.status import may_be_a_wrong_secret, translated_errors
from drawthings_mcp.client.trust import Security, TlsMode
from drawthings_mcp.errors import (
    RequestRefusedError,
    ServerDiedError,
    ServerError,
    SharedSecretError,
    UnsupportedRequestError,
)
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.requests import list_files
from drawthings_mcp.wire import parse_catalog

USER = "drawthings-mcp"
"""Name under which a server knows its caller."""

REPLY_TIMEOUT = 4 * 3600.0
"""Seconds for everything but a run: four hours. A server may hold a reply back until the runs before it are done
(protocol §8.1); whoever wants an answer sooner cancels. Runs have no limit at all (protocol §6.4)."""


class AskingClient:
    """The part of ``AsyncDrawThingsClient`` that connects and asks; see there for the parameters."""

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

    async def look_up(self, config: ImageGenerationConfig) -> tuple[Catalog | None, dict[str, bool] | None]:
        """What the server says of the files that a configuration names: its catalog or, without browsing, single files.

        Both are None for a server that answers neither question.

        Raises
        ------
        ServerError
            The server, or the way to it, failed.
        """
        try:
            catalog = (await ask_again(self.echo, self._connection)).catalog
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
            reply: pb.EchoReply = await receive(call)
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
            reply: pb.FileExistenceResponse = await receive(stub.FilesExist(request, timeout=REPLY_TIMEOUT))
        if len(reply.existences) != len(names):
            raise RequestRefusedError(
                f"{self.address} answered for {len(reply.existences)} of {len(names)} files. Update Draw Things."
            )
        return dict(zip(names, reply.existences, strict=True))

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
