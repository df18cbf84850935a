"""``python -m benchmarks [name …]`` measures and compares with the goals; exit code 1 when one is missed."""

from __future__ import annotations

import importlib
import sys

from benchmarks.measurement import Measurement

SUBJECTS = (
    "tensors",
    "video",
    "saving",
    "call",
    "pool",
    "metadata",
    "attachments",
    "memory",
    "search",
    "embeddings",
    "startup",
    "http",
)
LONG = (
    "gallery",
    "soak",
)
"""Subjects that take minutes and run only when they are named."""


def main() -> None:
    subjects = sys.argv[1:] or SUBJECTS
    if unknown := set(subjects) - {*SUBJECTS, *LONG}:
        sys.exit(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join((*SUBJECTS, *LONG))}")
    missed = 0
    for subject in subjects:
        print(f"\n{subject}")
        for measurement in importlib.import_module(f"benchmarks.{subject}").run():
            print(describe(measurement), flush=True)
            missed += not measurement.met
    sys.exit(1 if missed else None)


def describe(measurement: Measurement) -> str:
    goal = "" if measurement.goal is None else f"goal ≤ {measurement.goal:g}"
    verdict = "" if measurement.goal is None else ("ok" if measurement.met else "MISSED")
    figure = f"{measurement.value:.2f} {measurement.unit}"
    return f"  {measurement.name:<52} {figure:>12}  {goal:<13} {verdict:<7} {measurement.note}".rstrip()


if __name__ == "__main__":
    main()
