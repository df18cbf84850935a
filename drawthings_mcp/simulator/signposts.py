"""The markers of a run: which come, in which order, with which totals and previews (protocol §7.2, §7.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drawthings_mcp._generated import image_service_pb2 as pb

Signpost = pb.ImageGenerationSignpostProto


@dataclass(frozen=True)
class Sampling:
    """One pass of sampling: ``start`` is the index in the schedule at which it begins, ``steps`` the schedule's end."""

    start: int
    steps: int

    @property
    def total(self) -> int:
        """How many steps are taken."""
        return self.steps - self.start


@dataclass(frozen=True)
class Course:
    """What a run goes through.

    Attributes
    ----------
    first, second
        The passes; ``first`` is None when nothing is sampled.
    encodes
        How often an image is encoded.
    announces_encode
        Whether that is among the announced markers; text-only runs emit it unannounced.
    upscales
        Whether an upscaler follows.
    """

    first: Sampling | None
    second: Sampling | None = None
    encodes: int = 1
    announces_encode: bool = False
    upscales: bool = False


@dataclass(frozen=True)
class Step:
    """One message of progress.

    Attributes
    ----------
    signpost
        Where the run is.
    is_sampling
        Whether work on a step follows.
    estimate
        How far the picture has come, above 0 to 1, when a preview is due, else None.
    """

    signpost: Signpost
    is_sampling: bool = False
    estimate: float | None = None


def list_announced(course: Course) -> list[Signpost]:
    """The set that every message of progress carries; entries of sampling carry their total."""
    announced = [Signpost(textEncoded=Signpost.TextEncoded())]
    if course.announces_encode:
        announced.append(Signpost(imageEncoded=Signpost.ImageEncoded()))
    if course.first:
        announced.append(_at_sampling(course.first.total))
    announced.append(Signpost(imageDecoded=Signpost.ImageDecoded()))
    if course.second:
        announced.append(Signpost(secondPassImageEncoded=Signpost.SecondPassImageEncoded()))
        announced.append(_at_second_sampling(course.second.total))
        announced.append(Signpost(secondPassImageDecoded=Signpost.SecondPassImageDecoded()))
    if course.upscales:
        announced.append(Signpost(imageUpscaled=Signpost.ImageUpscaled()))
    return announced


def list_steps(course: Course) -> Iterator[Step]:
    """Every message of progress, in order."""
    yield Step(Signpost(textEncoded=Signpost.TextEncoded()))
    for _ in range(course.encodes):
        yield Step(Signpost(imageEncoded=Signpost.ImageEncoded()))
    if course.first:
        for index, estimate in _list_indices(course.first):
            yield Step(_at_sampling(index), index < course.first.total, estimate)
    yield Step(Signpost(imageDecoded=Signpost.ImageDecoded()))
    if course.second:
        yield Step(Signpost(secondPassImageEncoded=Signpost.SecondPassImageEncoded()))
        yield Step(Signpost(imageEncoded=Signpost.ImageEncoded()))
        for index, estimate in _list_indices(course.second):
            yield Step(_at_second_sampling(index), index < course.second.total, estimate)
        yield Step(Signpost(secondPassImageDecoded=Signpost.SecondPassImageDecoded()))
    if course.upscales:
        yield Step(Signpost(imageUpscaled=Signpost.ImageUpscaled()))


def _list_indices(sampling: Sampling) -> Iterator[tuple[int, float | None]]:
    """Indices 0 to the total, and how far the picture is where a preview is due: not at the first, not at the last."""
    for index in range(sampling.total + 1):
        place = sampling.start + index
        is_due = place % 2 == 1 or place > max(sampling.start, sampling.steps / 2)
        shows = 0 < index < sampling.total and is_due
        yield index, place / sampling.steps if shows else None


def _at_sampling(step: int) -> Signpost:
    return Signpost(sampling=Signpost.Sampling(step=step))


def _at_second_sampling(step: int) -> Signpost:
    return Signpost(secondPassSampling=Signpost.SecondPassSampling(step=step))
