"""Work that goes on when its caller stops waiting, and whose result is asked for later."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from drawthings_mcp.errors import DrawThingsError, UnknownNameError
from drawthings_mcp.faces import Phrase, Step, Text
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.results import SavedImage, describe_saved

ResultT = TypeVar("ResultT")

_MEANT = re.compile(r"^(?:job)?[\s#_:-]*j?(?=\d+$)")
"""What may stand before a job's number."""
_KEPT = 50
"""Finished jobs that can still be asked for; their pictures are found in other ways too."""


class JobCancelledError(DrawThingsError):
    """A job was cancelled before it was done.

    Attributes
    ----------
    saved
        The pictures that it had finished.
    """

    def __init__(self, job: str, saved: Sequence[SavedImage]) -> None:
        super().__init__(Text("{job} was cancelled. {saved}", job=job, saved=describe_saved(saved)))
        self.saved = tuple(saved)


class Job(Generic[ResultT]):
    """One piece of work.

    Attributes
    ----------
    id
        ``j1``, counted from the start of the process.
    fraction, message
        How far it is, 0 to 1, and what it does.
    saved
        The pictures that it has finished; they stay when it ends before its time.
    owner
        Who began it, as far as several clients have jobs.
    listeners
        Get every step while somebody waits.
    is_handed_out
        Whether a caller was told of it, and so may ask for it.
    """

    def __init__(self, job_id: str, owner: object = None) -> None:
        self.id = job_id
        self.owner = owner
        self.fraction = 0.0
        self.message = "Waiting"
        self.saved: list[SavedImage] = []
        self.listeners: list[Report] = []
        self.is_handed_out = False
        self._started = anyio.current_time()
        self._done = anyio.Event()
        self._scope = anyio.CancelScope()
        self._result: ResultT | None = None
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._done.is_set()

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return anyio.current_time() - self._started

    async def run(self, work: Callable[[Job[ResultT]], Awaitable[ResultT]]) -> None:
        """Does the work; raises only when it is cancelled from outside."""
        try:
            with self._scope:
                self._result = await work(self)
        except Exception as error:
            self._error = error
        finally:
            if self._result is None and self._error is None:
                self._error = JobCancelledError(self.id, self.saved)
            self._done.set()

    async def wait(self, seconds: float) -> bool:
        """Waits for the end, at most some seconds; whether it came."""
        with anyio.move_on_after(seconds):
            await self._done.wait()
        return self.is_done

    async def cancel(self) -> None:
        """Ends it, and waits until it has cleaned up."""
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._done.wait()

    def get_result(self) -> ResultT:
        """What it made; raises what it ended with instead."""
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def keep(self, result: ResultT) -> None:
        """Replaces the result, once that was shown, by what is to be kept of it."""
        self._result = result

    async def report(self, fraction: float, message: str) -> None:
        """Notes how far it is, and passes it on."""
        self.fraction, self.message = fraction, message
        for listener in list(self.listeners):
            await listener(fraction, message)


class Jobs(Generic[ResultT]):
    """The jobs of one server; they run in ``tasks`` and end with it."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._jobs: dict[str, Job[ResultT]] = {}
        self._count = 0

    def start(self, work: Callable[[Job[ResultT]], Awaitable[ResultT]], owner: object = None) -> Job[ResultT]:
        """Begins a piece of work, which gets its job to report its progress to."""
        self._count += 1
        job: Job[ResultT] = Job(f"j{self._count}", owner)
        finished = [known.id for known in self._jobs.values() if known.is_done]
        for old in finished[: max(0, len(finished) - _KEPT)]:
            del self._jobs[old]
        self._jobs[job.id] = job
        self._tasks.start_soon(job.run, work)
        return job

    def get(self, job_id: str, owner: object = None) -> Job[ResultT]:
        """The job with an id that was handed out, in upper or lower case; its owner's newest for the empty text."""
        known = {job.id: job for job in self._jobs.values() if job.is_handed_out}
        own = (job.id for job in reversed(known.values()) if job.owner is owner)
        wanted = _MEANT.sub("j", job_id.strip().lower()) or next(own, "")
        job = known.get(wanted)
        if job is None:
            running = [one.id for one in known.values() if not one.is_done]
            there = f"Running: {', '.join(running)}." if running else "None is running."
            missing = Text("There is no job {job!r} in this session.", job=job_id)
            raise UnknownNameError(
                Text(
                    "{missing} {there} Pictures of earlier jobs are saved: latest, or {search}.",
                    missing=missing if job_id.strip() else Phrase("No render was handed back as a job."),
                    there=Phrase(there),
                    search=Step("search"),
                ),
                name=job_id,
                nearest=running,
            )
        return job
