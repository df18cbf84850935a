"""What a session has shown so far.

Owns the memory that keeps pictures from being shown twice. A value: whoever keeps the session keeps the newest one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Ledger:
    """The pictures that the results of one session carried.

    Attributes
    ----------
    results
        How many results were recorded.
    shown
        Id → number of the result that showed it last, counted from 1; on a contact sheet counts as shown.
    """

    results: int = 0
    shown: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __contains__(self, name: object) -> bool:
        return name in self.shown

    def record(self, ids: Iterable[str]) -> Ledger:
        """The ledger after one more result that showed these; ``Plan.shown`` lists them."""
        number = self.results + 1
        return Ledger(number, MappingProxyType({**self.shown, **dict.fromkeys(ids, number)}))

    def forget(self, ids: Collection[str]) -> Ledger:
        """The ledger after a result with these was not delivered."""
        return Ledger(self.results, MappingProxyType({name: at for name, at in self.shown.items() if name not in ids}))
