"""The six methods on the wire; each is a thin answer (protocol §1.1)."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.limits import SIMULATED_HEADER
from drawthings_mcp.simulator.catalog import Shelf
from drawthings_mcp.simulator.runs import Job, Outcome, RunQueue
from drawthings_mcp.simulator.uploads import UploadError, receive_upload

_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_HEADERS = ((SIMULATED_HEADER, "1"),)

_CRASH_DETAILS = "Socket closed"
"""What a client sees when the server's process dies under it."""
_REFUSAL_DETAILS = "unknown error processing request"
"""The plain error that a wrong secret comes out as (protocol §7.7)."""


class ImageGenerationService(pb_grpc.ImageGenerationServiceServicer):
    """A direct server.

    Parameters
    ----------
    queue
        Where runs go.
    shelf
        The files that are there.
    uploads
        The dictionary behind the shelf's uploads, which this service fills.
    shared_secret
        Empty for none.
    model_browser
        Whether Echo lists files and their specifications.
    """

    def __init__(
        self, queue: RunQueue, shelf: Shelf, uploads: dict[str, bytes], *, shared_secret: str, model_browser: bool
    ) -> None:
        self._queue = queue
        self._shelf = shelf
        self._uploads = uploads
        self._shared_secret = shared_secret
        self._model_browser = model_browser
        self._identifier = secrets.randbits(64) or 1

    async def GenerateImage(self, request: pb.ImageGenerationRequest, context: _Context) -> None:  # noqa: N802
        """One run. Headers go out at once, messages when its turn has come."""
        await self._require_secret(request.sharedSecret, context)
        await context.send_initial_metadata(_HEADERS)
        job = self._queue.submit(request)
        try:
            await _forward(job, context)
        except grpc.aio.InternalError as exc:
            # A message could not be written: gRPC may notice that before it tells of the client's going.
            raise asyncio.CancelledError from exc
        finally:
            job.cancel()

    async def FilesExist(  # noqa: N802
        self, request: pb.FileListRequest, context: _Context
    ) -> pb.FileExistenceResponse:
        """Three parallel arrays in the order of the request."""
        await self._require_secret(request.sharedSecret, context)
        existences = [self._shelf.has(file) for file in request.files]
        wanted = set(request.filesWithHash)
        hashes = [
            self._shelf.hash_file(file) if exists and file in wanted else b""
            for file, exists in zip(request.files, existences, strict=True)
        ]
        return pb.FileExistenceResponse(files=request.files, existences=existences, hashes=hashes)

    async def UploadFile(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.FileUploadRequest], context: _Context
    ) -> AsyncIterator[pb.UploadResponse]:
        """A model file in pieces."""
        try:
            async for reply in receive_upload(self._admit(request_iterator, context), self._uploads):
                yield reply
        except UploadError as exc:
            await context.abort(exc.code, str(exc))

    async def Echo(self, request: pb.EchoRequest, context: _Context) -> pb.EchoReply:  # noqa: N802
        """A greeting, and the catalog where browsing is on. A wrong secret is no error here."""
        await context.send_initial_metadata(_HEADERS)
        if not self._knows_secret(request.sharedSecret):
            return pb.EchoReply(sharedSecretMissing=True)
        reply = pb.EchoReply(message=f"HELLO {request.name}", serverIdentifier=self._identifier)
        if self._model_browser:
            reply.files.extend(self._shelf.list_files())
            reply.override.CopyFrom(self._shelf.build_override())
        return reply

    async def Pubkey(self, request: pb.PubkeyRequest, context: _Context) -> pb.PubkeyResponse:  # noqa: N802
        """Empty: only a proxy has a key."""
        return pb.PubkeyResponse()

    async def Hours(self, request: pb.HoursRequest, context: _Context) -> pb.HoursResponse:  # noqa: N802
        """Empty: only a proxy has thresholds."""
        return pb.HoursResponse()

    async def _admit(
        self, requests: AsyncIterator[pb.FileUploadRequest], context: _Context
    ) -> AsyncIterator[pb.FileUploadRequest]:
        """The messages of an upload whose first one has the secret."""
        is_first = True
        async for request in requests:
            if is_first:
                await self._require_secret(request.sharedSecret, context)
                is_first = False
            yield request

    def _knows_secret(self, secret: str) -> bool:
        return not self._shared_secret or hmac.compare_digest(secret.encode(), self._shared_secret.encode())

    async def _require_secret(self, secret: str, context: _Context) -> None:
        if not self._knows_secret(secret):
            await context.abort(grpc.StatusCode.INTERNAL, _REFUSAL_DETAILS)


async def _forward(job: Job, context: _Context) -> None:
    """Pass on what the run says, and how it ended."""
    async for item in job.messages:
        if isinstance(item, pb.ImageGenerationResponse):
            await context.write(item)
        elif item is Outcome.CRASHED:
            await context.abort(grpc.StatusCode.UNAVAILABLE, _CRASH_DETAILS)
        elif item is Outcome.FAILED:
            await context.abort(grpc.StatusCode.INTERNAL, "the simulator itself failed, its log says why")
