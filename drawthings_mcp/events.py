"""What a running generation reports: frozen events, in which tensors are still payloads."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias


class Stage(enum.Enum):
    """A landmark of a run; the value is the name to show."""

    TEXT_ENCODED = "text encoded"
    IMAGE_ENCODED = "image encoded"
    IMAGE_DECODED = "image decoded"
    SECOND_PASS_IMAGE_ENCODED = "second pass encoded"
    SECOND_PASS_IMAGE_DECODED = "second pass decoded"
    FACE_RESTORED = "face restored"
    IMAGE_UPSCALED = "image upscaled"


@dataclass(frozen=True, slots=True)
class StageReached:
    """A landmark was passed.

    ``Stage.IMAGE_ENCODED`` comes in every run and proves nothing about an input image (protocol §7.2).
    """

    stage: Stage
    fraction: float
    """Share of the whole run that is done, 0 to 1; never falls within a run."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """A sampling step is about to begin; ``step == total`` when the last one is done."""

    step: int
    total: int
    """The server's own total, which differs from ``steps`` when strength is below 1; 0 when not announced."""
    fraction: float
    second_pass: bool = False


@dataclass(frozen=True, slots=True)
class PreviewReceived:
    """A picture of the run so far, as the payload of a latent tensor ``(N, h, w, C)``."""

    payload: bytes
    fraction: float


@dataclass(frozen=True, slots=True)
class TransferAnnounced:
    """The server is about to send its pictures."""

    size: int
    """Bytes of all image payloads together; audio is not counted."""
    fraction: float


@dataclass(frozen=True, slots=True)
class RemoteDownload:
    """The server fetches a file before it can start."""

    received: int
    """Bytes so far."""
    expected: int
    """Bytes in all, 0 when unknown."""
    item: int
    items: int
    fraction: float


@dataclass(frozen=True, slots=True)
class ImageReceived:
    """One picture (or one frame of a video) has arrived whole."""

    payload: bytes
    index: int
    """Place in the run, from 0."""
    upscale_factor: int
    """Already contained in the size of the tensor."""
    fraction: float


@dataclass(frozen=True, slots=True)
class AudioReceived:
    """One audio tensor has arrived whole: dims ``[2, samples]``, float32, planar."""

    payload: bytes
    index: int
    fraction: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The stream ended well."""

    images: int
    audio: int
    fraction: float = 1.0


Event: TypeAlias = (
    StageReached
    | Sampling
    | PreviewReceived
    | TransferAnnounced
    | RemoteDownload
    | ImageReceived
    | AudioReceived
    | Finished
)
