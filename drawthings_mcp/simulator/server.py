"""A simulated server: opening, listening, closing, and the six methods of its gRPC service (protocol §1.1)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import secrets
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Self, TypeAlias

import anyio
import grpc
import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import SIMULATED_HEADER
from drawthings_mcp.simulator.catalog import OPTIONAL_FILES, Inventory
from drawthings_mcp.simulator.certificate import check_pair, make_certificate
from drawthings_mcp.simulator.parsing import Journal
from drawthings_mcp.simulator.queue import Job, Outcome, ReceivedRequest, RunQueue, RunRecord
from drawthings_mcp.tensors.header import Codec

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_HEADERS = ((SIMULATED_HEADER, "1"),)

_CRASH_DETAILS = "Socket closed"
"""What a client sees when the server's process dies."""
_REFUSAL_DETAILS = "unknown error processing request"
"""What a real server answers to a wrong secret (protocol §7.7)."""
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


class ImageGenerationService(pb_grpc.ImageGenerationServiceServicer):
    """A direct server, not a proxy; the parameters are those of ``Simulator``. Uploads are added to the inventory."""

    def __init__(self, queue: RunQueue, inventory: Inventory, *, shared_secret: str, model_browser: bool) -> None:
        self._queue = queue
        self._inventory = inventory
        self._shared_secret = shared_secret
        self._model_browser = model_browser
        self._identifier = secrets.randbits(64) or 1

    async def GenerateImage(self, request: pb.ImageGenerationRequest, context: _Context) -> None:  # noqa: N802
        """One run. Headers are sent at once, messages when its turn has come."""
        await self._require_secret(request.sharedSecret, context)
        await context.send_initial_metadata(_HEADERS)
        job = self._queue.submit(request)
        try:
            await _forward(job, context)
        except grpc.aio.InternalError as exc:
            # A message could not be written: gRPC may notice that before it reports that the client has gone.
            raise asyncio.CancelledError from exc
        finally:
            job.cancel()

    async def FilesExist(  # noqa: N802
        self, request: pb.FileListRequest, context: _Context
    ) -> pb.FileExistenceResponse:
        """Three parallel arrays in the order of the request."""
        await self._require_secret(request.sharedSecret, context)
        existences = [self._inventory.has(file) for file in request.files]
        wanted = set(request.filesWithHash)
        hashes = [
            self._inventory.hash_file(file) if exists and file in wanted else b""
            for file, exists in zip(request.files, existences, strict=True)
        ]
        return pb.FileExistenceResponse(files=request.files, existences=existences, hashes=hashes)

    async def UploadFile(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.FileUploadRequest], context: _Context
    ) -> AsyncIterator[pb.UploadResponse]:
        """A model file in pieces: only its name and hash are kept, never the content (protocol §8.5)."""
        upload: _Upload | None = None
        is_first = True
        try:
            async for request in request_iterator:
                if is_first:
                    await self._require_secret(request.sharedSecret, context)
                    is_first = False
                if request.WhichOneof("request") == "initRequest":
                    upload = _Upload(request.initRequest)
                    yield upload.reply("upload started")
                elif upload is None:
                    raise _UploadError(grpc.StatusCode.INVALID_ARGUMENT, "a chunk came before the initial request")
                else:
                    upload.feed(request.chunk)
                    yield upload.reply("chunk received")
            if upload is None:
                raise _UploadError(grpc.StatusCode.INVALID_ARGUMENT, "nothing was sent")
            self._inventory.uploads[upload.filename] = upload.finish()
            yield upload.reply("upload completed")
        except _UploadError as exc:
            await context.abort(exc.code, str(exc))

    async def Echo(self, request: pb.EchoRequest, context: _Context) -> pb.EchoReply:  # noqa: N802
        """A greeting, and the catalog where browsing is on. A wrong secret is no error here."""
        await context.send_initial_metadata(_HEADERS)
        if not self._knows_secret(request.sharedSecret):
            return pb.EchoReply(sharedSecretMissing=True)
        reply = pb.EchoReply(message=f"HELLO {request.name}", serverIdentifier=self._identifier)
        if self._model_browser:
            reply.files.extend(self._inventory.list_files())
            reply.override.CopyFrom(self._inventory.build_override())
        return reply

    async def Pubkey(self, request: pb.PubkeyRequest, context: _Context) -> pb.PubkeyResponse:  # noqa: N802
        """Empty: only a proxy has a key."""
        return pb.PubkeyResponse()

    async def Hours(self, request: pb.HoursRequest, context: _Context) -> pb.HoursResponse:  # noqa: N802
        """Empty: only a proxy has thresholds."""
        return pb.HoursResponse()

    def _knows_secret(self, secret: str) -> bool:
        return not self._shared_secret or hmac.compare_digest(secret.encode(), self._shared_secret.encode())

    async def _require_secret(self, secret: str, context: _Context) -> None:
        if not self._knows_secret(secret):
            await context.abort(grpc.StatusCode.INTERNAL, _REFUSAL_DETAILS)


async def _forward(job: Job, context: _Context) -> None:
    """Pass on a run's messages, and how it ended."""
    async for item in job.messages:
        if isinstance(item, pb.ImageGenerationResponse):
            await context.write(item)
        elif item is Outcome.CRASHED:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _CRASH_DETAILS)
        elif item is Outcome.FAILED:
            await context.abort(grpc.StatusCode.INTERNAL, "the simulator itself failed, its log says why")


class _UploadError(Exception):
    """An upload breaks the rules; ``code`` is the status that the client gets."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Upload:
    """One file that is being uploaded."""

    def __init__(self, announced: pb.InitUploadRequest) -> None:
        self._announced = announced
        self._hash = hashlib.sha256()
        self._received = 0
        self.filename = announced.filename

    def feed(self, chunk: pb.FileChunk) -> None:
        if chunk.offset != self._received:
            raise _UploadError(grpc.StatusCode.DATA_LOSS, f"expected offset {self._received}, got {chunk.offset}")
        self._hash.update(chunk.content)
        self._received += len(chunk.content)

    def finish(self) -> bytes:
        """Return the SHA-256 of a file that arrived whole."""
        if self._received != self._announced.totalSize:
            message = f"expected {self._announced.totalSize} bytes, got {self._received}"
            raise _UploadError(grpc.StatusCode.INVALID_ARGUMENT, message)
        if self._hash.digest() != self._announced.sha256:
            raise _UploadError(grpc.StatusCode.DATA_LOSS, "the SHA-256 does not match")
        return self._hash.digest()

    def reply(self, message: str) -> pb.UploadResponse:
        return pb.UploadResponse(
            chunkUploadSuccess=True, receivedOffset=self._received, message=message, filename=self.filename
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
        Built-in files that this server lacks; by default those that few have.
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
        missing_files: Collection[str] = OPTIONAL_FILES,
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
        journal = Journal()
        inventory = Inventory(frozenset(missing_files))
        codec = Codec.FPZIP if response_compression else Codec.RAW
        self._queue = RunQueue(inventory, journal, codec, step_seconds)
        self.requests: Sequence[ReceivedRequest] = self._queue.requests
        """The latest requests for images, oldest first, including those still in the queue."""
        self.runs: Sequence[RunRecord] = self._queue.runs
        """The latest runs that have ended, oldest first."""
        self.crashes = journal.crashes
        """Why requests would have crashed a real server, oldest first."""
        self.degradations = journal.degradations
        """What a real server would have silently left out or replaced, oldest first."""
        self.uploads: Mapping[str, bytes] = inventory.uploads
        """SHA-256 of each file that was uploaded, by name."""
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

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=_CHANNEL_OPTIONS)
        pb_grpc.add_ImageGenerationServiceServicer_to_server(self._make_service(), self._server)
        self._port = self._listen(self._server)
        await self._server.start()
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._queue.work)
        _logger.info("%s listens at %s.", self._name, self.address)
        return self

    async def __aexit__(self, *_: object) -> None:
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
