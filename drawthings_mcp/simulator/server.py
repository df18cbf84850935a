"""A simulated server: opening, listening, closing."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import grpc
import grpc.aio

from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.simulator.catalog import Inventory
from drawthings_mcp.simulator.certificate import check_pair, make_certificate
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.queue import ReceivedRequest, RunQueue, RunRecord
from drawthings_mcp.simulator.service import ImageGenerationService
from drawthings_mcp.tensors.header import Codec

_logger = logging.getLogger("drawthings_mcp.simulator")

_LAST_PORT = 65_535
_MAX_MESSAGE_SIZE = 1 << 30
_MAX_STREAMS = 100
_IDENTITY_ONLY = 1
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_SIZE),
    ("grpc.max_send_message_length", _MAX_MESSAGE_SIZE),
    ("grpc.max_concurrent_streams", _MAX_STREAMS),
    # A compressed request is answered UNIMPLEMENTED (protocol §6.4).
    ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ONLY),
    # Without it a second server on the same port would start, and each would get some of the calls.
    ("grpc.so_reuseport", 0),
)


class Simulator:
    """A Draw Things-compatible server that draws without a model; an async context manager.

    The parameters correspond to a real server's command line (protocol §9.2). ::

        async with Simulator(shared_secret="s") as simulator:
            channel = grpc.aio.insecure_channel(simulator.address)

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    tls
        Whether to speak TLS, with ``certificate`` or one made at start.
    certificate
        Certificate and private key, both PEM.
    shared_secret
        The password that clients have to send; empty for none.
    response_compression
        Whether tensors are packed with fpzip.
    model_browser
        Whether Echo lists files and their specifications.
    step_seconds
        Duration of one sampling step.
    missing_files
        Built-in files that this server lacks.
    name
        What the server calls itself in its log.

    Raises
    ------
    InvalidInputError
        A parameter makes no sense; on entering: the address cannot be used.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        certificate: tuple[bytes, bytes] | None = None,
        shared_secret: str = "",
        response_compression: bool = True,
        model_browser: bool = True,
        step_seconds: float = 0.0,
        missing_files: Collection[str] = (),
        name: str = "simulator",
    ) -> None:
        if not 0 <= port <= _LAST_PORT:
            raise InvalidInputError(
                f"must be 0 to {_LAST_PORT}, got {port}; 0 takes a free one.", parameter="port", value=port
            )
        if not (math.isfinite(step_seconds) and step_seconds >= 0):
            raise InvalidInputError(
                f"must be 0 or more, got {step_seconds}.", parameter="step_seconds", value=step_seconds
            )
        if certificate:
            check_pair(*certificate)
        self._host = f"[{host}]" if ":" in host else host
        self._wanted_port = port
        self._port = 0
        self._name = name
        self._certificate = (certificate or make_certificate()) if tls else None
        self._journal = Journal()
        inventory = Inventory(frozenset(missing_files))
        codec = Codec.FPZIP if response_compression else Codec.RAW
        self._queue = RunQueue(inventory, self._journal, codec, step_seconds)
        self._make_service = partial(
            ImageGenerationService, self._queue, inventory, shared_secret=shared_secret, model_browser=model_browser
        )

    @property
    def address(self) -> str:
        """``host:port`` where it listens; the port is known once it does."""
        return f"{self._host}:{self._port}"

    @property
    def certificate_pem(self) -> bytes | None:
        """The certificate that it shows, PEM; None without TLS. It can be trusted as a root."""
        return self._certificate[0] if self._certificate else None

    @property
    def crashes(self) -> list[str]:
        """Why requests would have crashed a real server, oldest first."""
        return self._journal.crashes

    @property
    def degradations(self) -> list[str]:
        """What a real server would have silently left out or replaced, oldest first."""
        return self._journal.degradations

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """The latest requests for images, oldest first, including those still in the queue."""
        return self._queue.requests

    @property
    def runs(self) -> Sequence[RunRecord]:
        """The latest runs that have ended, oldest first."""
        return self._queue.runs

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=_CHANNEL_OPTIONS)
        pb_grpc.add_ImageGenerationServiceServicer_to_server(self._make_service(), self._server)
        self._port = self._listen(self._server)
        await self._server.start()
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._queue.work)
        _logger.info("%s listens at %s.", self._name, self.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._server.stop(None)
        self._tasks.cancel_scope.cancel()
        # The error is not passed on: it would come out wrapped in a group, and it is not the queue's.
        await self._tasks.__aexit__(None, None, None)

    async def serve(self) -> None:
        """Open, listen until cancelled, close."""
        async with self:
            await anyio.sleep_forever()

    def _listen(self, server: grpc.aio.Server) -> int:
        address = f"{self._host}:{self._wanted_port}"
        try:
            if self._certificate is None:
                return server.add_insecure_port(address)
            certificate, key = self._certificate
            return server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
        except RuntimeError as exc:
            raise InvalidInputError(
                f"The simulator cannot listen at {address}: the port is taken or the host is not this machine's. "
                "Choose another port, or 0 for a free one."
            ) from exc
