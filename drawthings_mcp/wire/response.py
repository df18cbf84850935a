"""Messages of a response stream → events (protocol §7). Feed it; it does no I/O.

Chunks are joined here, announced bytes counted, and progress is estimated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.errors import EmptyResultError, GenerationError, TruncatedTransferError
from drawthings_mcp.events import (
    AudioReceived,
    Event,
    Finished,
    ImageReceived,
    PreviewReceived,
    RemoteDownload,
    Sampling,
    Stage,
    StageReached,
    TransferAnnounced,
)
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.limits import MAX_UPSCALE_FACTOR

_STAGES: Mapping[str, Stage | None] = {
    "textEncoded": Stage.TEXT_ENCODED,
    "imageEncoded": Stage.IMAGE_ENCODED,
    "sampling": None,
    "imageDecoded": Stage.IMAGE_DECODED,
    "secondPassImageEncoded": Stage.SECOND_PASS_IMAGE_ENCODED,
    "secondPassSampling": None,
    "secondPassImageDecoded": Stage.SECOND_PASS_IMAGE_DECODED,
    "faceRestored": Stage.FACE_RESTORED,
    "imageUpscaled": Stage.IMAGE_UPSCALED,
}
"""Signposts in the order in which a run passes them (protocol §7.2), with what they end; None for sampling."""
_RANK: Mapping[str, int] = {kind: rank for rank, kind in enumerate(_STAGES)}
_TRANSFER_SHARE = 0.05
"""Part of the bar that is kept for the transfer, so that the bar does not stand at the end while bytes flow."""
MAX_TRANSFER = 4 << 30
"""Bytes of tensors of one run that are held at most, 4 GiB: 81 uncompressed frames of 2880² fit, and a server
that never stops sending does not fill the memory."""
_BYTES_PER_PIXEL = 16
"""Twice the four channels of 16 bits that the largest results have: some servers round sizes up."""
_LEAST_TRANSFER = 32 << 20
"""Bytes that any run may send: tensors have headers, and sound does not follow from the size of pictures."""


class ProgressEstimate:
    """A share of the run that is done, 0 to 1, which never falls.

    Sampling counts as many units as it has steps, every other announced signpost as one (protocol §7.2). The
    server's sequence need not be complete nor in order; the estimate only ever keeps its highest value.
    """

    def __init__(self) -> None:
        self._units: dict[str, int] = {}
        self.fraction = 0.0

    def announce(self, signposts: Iterable[pb.ImageGenerationSignpostProto]) -> None:
        """Takes in the unordered set of what to expect."""
        for signpost in signposts:
            kind = signpost.WhichOneof("signpost")
            if kind is not None:
                self._units[kind] = max(getattr(signpost, kind).step, 0) if _STAGES[kind] is None else 1

    def get_total(self, kind: str) -> int:
        """Announced steps of a sampling signpost; 0 when it was not announced."""
        return self._units.get(kind, 0)

    def reach(self, kind: str, step: int = 1) -> float:
        """Notes that a signpost was passed, or that a sampling step is about to begin; returns the fraction."""
        total = sum(self._units.values())
        if total:
            rank = _RANK[kind]
            before = sum(units for other, units in self._units.items() if _RANK[other] < rank)
            within = min(max(step, 0), self._units.get(kind, 0))
            self._raise_to((before + within) / total * (1 - _TRANSFER_SHARE))
        return self.fraction

    def transfer(self, received: int, announced: int) -> None:
        """Notes how many bytes of the result are there."""
        share = min(received / announced, 1.0) if announced else 0.0
        self._raise_to(1 - _TRANSFER_SHARE + _TRANSFER_SHARE * share)

    def _raise_to(self, fraction: float) -> None:
        self.fraction = max(self.fraction, fraction)


def measure_yield(configuration: ImageGenerationConfig) -> int:
    """The most bytes of pictures that a run can send back (protocol §2.1, §8.3).

    Whether its model makes frames is not known here, so each run may.
    """
    c = configuration
    factor = MAX_UPSCALE_FACTOR if c.upscaler else 1
    pixel_count = c.width * c.height * factor**2 * c.batch_size * max(c.num_frames, 1)
    return min(max(pixel_count * _BYTES_PER_PIXEL, _LEAST_TRANSFER), MAX_TRANSFER)


class ResponseReader:
    """Reads one response stream: ``feed`` every message in order, then ``finish``.

    Images are held back until all announced bytes are there, so that a transfer that breaks off is known
    before anything is decoded. A message with nothing set is a heartbeat and gives no event.

    Parameters
    ----------
    most
        Bytes of pictures, and as many of sound, that the run can yield; see ``measure_yield``.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = MAX_TRANSFER if most is None else most
        self._progress = ProgressEstimate()
        self._announced: int | None = None
        self._received = 0
        self._heard = 0
        self._partial_image = bytearray()
        self._partial_audio = bytearray()
        self._held: list[tuple[bytes, int]] = []
        self._images = 0
        self._audio = 0

    def feed(self, message: pb.ImageGenerationResponse) -> list[Event]:
        """The events of one message; raises ``GenerationError`` when the server sends more than can be held."""
        self._progress.announce(message.signposts)
        events: list[Event] = []
        if message.HasField("remoteDownload"):
            events.append(self._read_download(message.remoteDownload))
        if message.HasField("currentSignpost"):
            events.extend(self._read_signpost(message.currentSignpost))
        if message.HasField("previewImage"):
            events.append(PreviewReceived(message.previewImage, self._progress.fraction))
        if message.HasField("downloadSize"):
            self._announced = message.downloadSize
            events.append(TransferAnnounced(message.downloadSize, self._progress.fraction))
        self._read_images(message)
        events.extend(self._release_images())
        events.extend(self._read_audio(message))
        return events

    @property
    def complete(self) -> tuple[bytes, ...]:
        """Payloads of images that are whole but held back, because others are still to come."""
        return tuple(payload for payload, _ in self._held)

    def finish(self) -> list[Event]:
        """The last events, once the stream ended well.

        Raises
        ------
        TruncatedTransferError
            The last chunk is missing, or fewer bytes came than were announced.
        EmptyResultError
            The server sent no image at all, which is how it reports failure and cancellation (protocol §7.7).
        """
        announced = self._announced or 0
        if self._partial_image or self._partial_audio or self._received < announced:
            missing = f"{self._received:,} of {announced:,} bytes" if announced else "no last chunk"
            raise TruncatedTransferError(
                f"The transfer of the result broke off: {missing} arrived. Generate it again with the same seed.",
                complete=self.complete,
            )
        if not self._images:
            raise EmptyResultError(
                "The server finished without a picture. It does not say why: usually the model or a file that it "
                "needs is missing, memory ran out, or the run was cancelled in Draw Things. Try a smaller size or "
                "another model, and look at the server's log."
            )
        return [Finished(images=self._images, audio=self._audio)]

    def _read_download(self, download: pb.RemoteDownloadResponse) -> RemoteDownload:
        return RemoteDownload(
            received=download.bytesReceived,
            expected=download.bytesExpected,
            item=download.item,
            items=download.itemsExpected,
            fraction=self._progress.fraction,
        )

    def _read_signpost(self, signpost: pb.ImageGenerationSignpostProto) -> list[Event]:
        # Step 0 is an empty inner message: only the presence of a member shows which one is meant.
        kind = signpost.WhichOneof("signpost")
        if kind is None:
            return []
        if stage := _STAGES[kind]:
            return [StageReached(stage, self._progress.reach(kind))]
        step = getattr(signpost, kind).step
        fraction = self._progress.reach(kind, step)
        return [Sampling(step, self._progress.get_total(kind), fraction, second_pass=kind == "secondPassSampling")]

    def _read_images(self, message: pb.ImageGenerationResponse) -> None:
        if not message.generatedImages:
            return
        self._count(sum(map(len, message.generatedImages)))
        self._progress.transfer(self._received, self._announced or 0)
        factor = message.scaleFactor if message.scaleFactor > 0 else 1
        self._held.extend((payload, factor) for payload in _join(message, self._partial_image, message.generatedImages))

    def _release_images(self) -> list[Event]:
        if self._partial_image or self._received < (self._announced or 0):
            return []
        held, self._held = self._held, []
        first = self._images
        self._images += len(held)
        return [
            ImageReceived(payload, first + place, factor, self._progress.fraction)
            for place, (payload, factor) in enumerate(held)
        ]

    def _read_audio(self, message: pb.ImageGenerationResponse) -> list[Event]:
        if not message.generatedAudio:
            return []
        self._heard += sum(map(len, message.generatedAudio))
        self._check(self._heard)
        payloads = _join(message, self._partial_audio, message.generatedAudio)
        first = self._audio
        self._audio += len(payloads)
        return [
            AudioReceived(payload, first + place, self._progress.fraction) for place, payload in enumerate(payloads)
        ]

    def _count(self, size: int) -> None:
        self._received += size
        self._check(self._received)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise GenerationError(
                f"The server sent more than {self._most / 1e6:.0f} MB, which is more than the request can yield; the "
                "run was stopped. Update Draw Things, or ask for fewer or smaller pictures."
            )


def _join(message: pb.ImageGenerationResponse, partial: bytearray, items: Iterable[bytes]) -> list[bytes]:
    """Payloads that are whole with this message; the chunk state counts only where there are items."""
    payloads = list(items)
    if message.chunkState == pb.MORE_CHUNKS:
        partial += payloads[0]
        return []
    if partial:
        payloads[0] = bytes(partial) + payloads[0]
        partial.clear()
    return payloads
