"""Model files sent by clients: only name, size and hash are kept, never the content (protocol §8.5)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import grpc

from drawthings_mcp._generated import image_service_pb2 as pb


class UploadError(Exception):
    """An upload broke the rules; carries the status that the client gets."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Upload:
    """One file on its way in."""

    def __init__(self, announced: pb.InitUploadRequest) -> None:
        self._announced = announced
        self._hash = hashlib.sha256()
        self.received = 0

    @property
    def filename(self) -> str:
        return self._announced.filename

    def feed(self, chunk: pb.FileChunk) -> None:
        if chunk.offset != self.received:
            raise UploadError(grpc.StatusCode.DATA_LOSS, f"expected offset {self.received}, got {chunk.offset}")
        self._hash.update(chunk.content)
        self.received += len(chunk.content)

    def finish(self) -> bytes:
        """The SHA-256 of a file that arrived whole."""
        if self.received != self._announced.totalSize:
            message = f"expected {self._announced.totalSize} bytes, got {self.received}"
            raise UploadError(grpc.StatusCode.INVALID_ARGUMENT, message)
        if self._hash.digest() != self._announced.sha256:
            raise UploadError(grpc.StatusCode.DATA_LOSS, "the SHA-256 does not match")
        return self._hash.digest()

    def reply(self, message: str) -> pb.UploadResponse:
        return pb.UploadResponse(
            chunkUploadSuccess=True, receivedOffset=self.received, message=message, filename=self.filename
        )


async def receive_upload(
    requests: AsyncIterator[pb.FileUploadRequest], uploads: dict[str, bytes]
) -> AsyncIterator[pb.UploadResponse]:
    """Take in one file and note its hash in ``uploads``; every accepted message is acknowledged.

    Raises
    ------
    UploadError
        The stream breaks the rules.
    """
    upload: _Upload | None = None
    async for request in requests:
        if request.WhichOneof("request") == "initRequest":
            upload = _Upload(request.initRequest)
            yield upload.reply("upload started")
        elif upload is None:
            raise UploadError(grpc.StatusCode.INVALID_ARGUMENT, "a chunk came before the initial request")
        else:
            upload.feed(request.chunk)
            yield upload.reply("chunk received")
    if upload is None:
        raise UploadError(grpc.StatusCode.INVALID_ARGUMENT, "nothing was sent")
    uploads[upload.filename] = upload.finish()
    yield upload.reply("upload completed")
