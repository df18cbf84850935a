"""The life of a simulated server: opened, listening, closed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

import anyio
import grpc
import grpc.aio

from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.simulator.catalog import Shelf
from drawthings_mcp.simulator.certificate import check_pair, make_certificate
from drawthings_mcp.simulator.journal import Journal
from drawthings_mcp.simulator.options import Options
from drawthings_mcp.simulator.run import RunSettings
from drawthings_mcp.simulator.runs import ReceivedRequest, RunQueue, RunRecord
from drawthings_mcp.simulator.service import ImageGenerationService
from drawthings_mcp.tensors.header import Codec

_logger = logging.getLogger("drawthings_mcp.simulator")

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
    """A Draw Things-compatible server that paints instead of computing; an async context manager.

    ::

        async with Simulator(shared_secret="s") as simulator:
            channel = grpc.aio.insecure_channel(simulator.address)

    Parameters
    ----------
    host, port, tls, certificate, shared_secret, response_compression, model_browser, step_seconds, missing_files, name
        As in :class:`~drawthings_mcp.simulator.options.Options`.

    Attributes
    ----------
    options
        How it was set up.

    Raises
    ------
    InvalidInputError
        An option makes no sense, or on entering: the address cannot be listened at.
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
        self.options = Options(
            host=host,
            port=port,
            tls=tls,
            certificate=certificate,
            shared_secret=shared_secret,
            response_compression=response_compression,
            model_browser=model_browser,
            step_seconds=step_seconds,
            missing_files=frozenset(missing_files),
            name=name,
        )
        if certificate:
            check_pair(*certificate)
        self._certificate = (certificate or make_certificate()) if tls else None
        self._journal = Journal()
        self._uploads: dict[str, bytes] = {}
        self._shelf = Shelf(self.options.missing_files, self._uploads)
        codec = Codec.FPZIP if response_compression else Codec.RAW
        self._queue = RunQueue(RunSettings(self._shelf, self._journal, codec, step_seconds))
        self._port = 0

    @property
    def address(self) -> str:
        """``host:port`` where it listens."""
        return f"{self.options.bracketed_host}:{self._port}"

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
        """The latest requests for images, oldest first, queued ones included."""
        return self._queue.requests

    @property
    def runs(self) -> Sequence[RunRecord]:
        """The latest runs that have ended, oldest first."""
        return self._queue.runs

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=_CHANNEL_OPTIONS)
        service = ImageGenerationService(
            self._queue,
            self._shelf,
            self._uploads,
            shared_secret=self.options.shared_secret,
            model_browser=self.options.model_browser,
        )
        pb_grpc.add_ImageGenerationServiceServicer_to_server(service, self._server)
        self._port = self._listen(self._server)
        await self._server.start()
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._queue.work)
        _logger.info("%s listens at %s.", self.options.name, self.address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._server.stop(None)
        self._tasks.cancel_scope.cancel()
        # Not told of the error: it would come out wrapped in a group, and it is not the queue's.
        await self._tasks.__aexit__(None, None, None)

    async def serve(self) -> None:
        """Open, listen until cancelled, close."""
        async with self:
            await anyio.sleep_forever()

    def _listen(self, server: grpc.aio.Server) -> int:
        address = f"{self.options.bracketed_host}:{self.options.port}"
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
