"""How much of a run is done, from the signposts that the server announces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drawthings_mcp._generated import image_service_pb2 as pb

_ORDER = (
    "textEncoded",
    "imageEncoded",
    "sampling",
    "imageDecoded",
    "secondPassImageEncoded",
    "secondPassSampling",
    "secondPassImageDecoded",
    "faceRestored",
    "imageUpscaled",
)
"""Signposts in the order in which a run passes them (protocol §7.2)."""

_RANK: Mapping[str, int] = {kind: rank for rank, kind in enumerate(_ORDER)}

_SAMPLING = frozenset({"sampling", "secondPassSampling"})

_TRANSFER_SHARE = 0.05
"""Part of the bar that is kept for the transfer, so that the bar does not stand at the end while bytes flow."""


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
                self._units[kind] = max(getattr(signpost, kind).step, 0) if kind in _SAMPLING else 1

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
