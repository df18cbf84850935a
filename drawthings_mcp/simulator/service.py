"""The six methods of the gRPC service (protocol §1.1)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.limits import SIMULATED_HEADER
from drawthings_mcp.simulator.catalog import Inventory
from drawthings_mcp.simulator.queue import Job, Outcome, RunQueue

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_HEADERS = ((SIMULATED_HEADER, "1"),)

_CRASH_DETAILS = "Socket closed"
"""What a client sees when the server's process dies."""
_REFUSAL_DETAILS = "unknown error processing request"
"""What a real server answers to a wrong secret (protocol §7.7)."""


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
