"""Finished pictures as messages: sizes first, then payloads whole or in pieces (protocol §7.1, §7.6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drawthings_mcp._generated import image_service_pb2 as pb

CHUNK_SIZE = 4_194_304
"""Bytes per piece, and the total from which pieces are made at all."""


def list_messages(
    images: Sequence[bytes], sounds: Sequence[bytes], *, scale_factor: int, chunked: bool
) -> Iterator[pb.ImageGenerationResponse]:
    """The last part of a stream.

    Parameters
    ----------
    images, sounds
        Payloads in order. Without images the run has failed, and one bare message says so.
    scale_factor
        Factor of the upscaler that was applied, 1 for none.
    chunked
        The client can join pieces.
    """
    total = sum(map(len, images))
    if not images:
        yield pb.ImageGenerationResponse(scaleFactor=scale_factor, chunkState=pb.LAST_CHUNK)
        return
    yield pb.ImageGenerationResponse(downloadSize=total)
    cuts = chunked and total > CHUNK_SIZE
    for image in images:
        for piece, state in _cut(image, cuts=cuts):
            yield pb.ImageGenerationResponse(generatedImages=[piece], scaleFactor=scale_factor, chunkState=state)
    for sound in sounds:
        for piece, state in _cut(sound, cuts=cuts):
            yield pb.ImageGenerationResponse(generatedAudio=[piece], scaleFactor=scale_factor, chunkState=state)


def _cut(payload: bytes, *, cuts: bool) -> Iterator[tuple[bytes, pb.ChunkState]]:
    """Pieces of a payload; all but the last say that more will come."""
    if not cuts:
        yield payload, pb.LAST_CHUNK
        return
    for start in range(0, len(payload), CHUNK_SIZE):
        is_last = start + CHUNK_SIZE >= len(payload)
        yield payload[start : start + CHUNK_SIZE], pb.LAST_CHUNK if is_last else pb.MORE_CHUNKS
