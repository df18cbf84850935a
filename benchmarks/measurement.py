"""What one measurement is, and how two ways of doing the same are timed fairly."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure and what it should be.

    Attributes
    ----------
    name
        What was measured.
    value
        The figure; less is better.
    unit
        ``ms``, ``MiB``, ``x`` for a ratio.
    goal
        The most that is acceptable; None where there is no promise.
    note
        What the figure was compared with.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is within its goal, or has none."""
        return self.goal is None or self.value <= self.goal


@dataclass(frozen=True, slots=True)
class Duel:
    """Seconds that two callables took, round by round, in turn; two neighbours had the same machine."""

    ours: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Our best round over the reference's best: what is left when nobody else uses the machine."""
        return min(self.ours) / min(self.reference)

    @property
    def median_ratio(self) -> float:
        """The same of the medians: what to expect on a busy machine."""
        return statistics.median(self.ours) / statistics.median(self.reference)

    @property
    def paired_ratio(self) -> float:
        """The median of the rounds' own ratios: neither a lucky round nor a disturbed one decides."""
        return statistics.median(ours / reference for ours, reference in zip(self.ours, self.reference, strict=True))

    @property
    def note(self) -> str:
        """Both best rounds, and the ratio of the medians."""
        ours, reference = (f"{min(seconds) * 1e3:.1f} ms" for seconds in (self.ours, self.reference))
        return f"{ours} against {reference}; medians {self.median_ratio:.2f}x"


def time_side_by_side(
    ours: Callable[[], object],
    reference: Callable[[], object],
    rounds: int = 15,
    clock: Callable[[], float] = time.perf_counter,
    *,
    settled: bool = False,
) -> Duel:
    """Time two callables in turn, so that what disturbs the machine disturbs both.

    Both run once before, unmeasured; each goes first in every other round; garbage is not collected meanwhile.
    ``time.thread_time`` as the clock leaves out the time that others had the processor. ``settled`` has each timed run
    follow one of its own kind, so that neither pays for the memory that the other gave back.
    """
    works = (ours, reference)
    ours(), reference()
    seconds: tuple[list[float], list[float]] = ([], [])
    gc.disable()
    try:
        for number in range(rounds):
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                if settled:
                    works[side]()
                seconds[side].append(time_once(works[side], clock))
    finally:
        gc.enable()
    return Duel(tuple(seconds[0]), tuple(seconds[1]))


def time_once(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that one call takes."""
    start = clock()
    work()
    return clock() - start


def measure_peak() -> float:
    """MiB that this process took at its peak, without what it inherited from the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(words[1]) for words in lines if words[0] == "VmHWM:") / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
