"""Renders that go on when their caller stops waiting, and whose pictures are asked for later."""

from __future__ import annotations

import json
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from drawthings_mcp.errors import DrawThingsError, StorageError, UnknownNameError
from drawthings_mcp.faces import PYTHON, Face, Phrase, Step, Text
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.results import GenerationResult, SavedImage, describe_saved
from drawthings_mcp.studio.studio import JobRun, Studio

if TYPE_CHECKING:
    from drawthings_mcp.jobs.board import JobBoard, JobRow, JobState
    from drawthings_mcp.params import PreviewMode
    from drawthings_mcp.studio.saver import Prepare

_KEPT = 50
"""Finished jobs that can still be asked for; their pictures are found in other ways too."""
_BOARD_SECONDS = 0.5
"""Between two looks at the board while there are jobs: what is new is written, and read who is to be stopped."""
_TELLING_SECONDS = 1.0
"""Of rendering, before which its pace says nothing."""
_MAX_PROMPT = 200

Arguments: TypeAlias = Mapping[str, Any]
"""What a method of the studio takes, as JSON has it."""


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


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be rendered, in a form that outlives the process.

    Attributes
    ----------
    operation
        A method of the studio.
    preview
        What was said about showing the pictures.
    notes
        What is said of the call besides what its render says.
    output
        The file to write in place of a new one in the output folder; empty for that.
    """

    operation: Literal["generate", "upscale"]
    arguments: Arguments
    preview: PreviewMode | None = None
    notes: tuple[str, ...] = ()
    output: str = ""

    @property
    def digest(self) -> str:
        """Equal for calls that ask for the same pictures."""
        where = [self.output] if self.output else []
        text = json.dumps([self.operation, {**self.arguments, "preview": None}, *where], sort_keys=True)
        return sha256(text.encode("utf-8", "replace")).hexdigest()

    @property
    def prompt(self) -> str:
        """What it is about, cut."""
        given = self.arguments.get("prompt") or " / ".join(map(str, self.arguments.get("prompts", ())))
        source = self.arguments.get("picture") or self.arguments.get("settings_from", "")
        return str(given or f"{self.operation} {source}")[:_MAX_PROMPT]

    async def carry_out(self, studio: Studio, run: JobRun) -> GenerationResult:
        """Renders it."""
        from drawthings_mcp.params import GenerateParams

        if self.operation == "upscale":
            result = await studio.upscale(**self.arguments, run=run)
        else:
            result = await studio.generate(GenerateParams(**self.arguments), run)
        return replace(result, notes=(*result.notes, *self.notes))


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants a render.

    Attributes
    ----------
    name
        Of its client and version, with the name of its token.
    studio
        As it sees it.
    prepare
        Makes what its pictures are shown by.
    session
        Its session, as far as it has one: equal for what one client asks.
    is_view
        Whether a view of it asks, not its model.
    """

    name: str
    studio: Studio = field(repr=False)
    prepare: Prepare | None = None
    session: object = None
    is_view: bool = False

    def is_same(self, session: object, name: str) -> bool:
        """Whether this is a client; one that asked an earlier process has its name alone."""
        return self.session is session if self.session is not None else self.name == name


class Job:
    """One render.

    Attributes
    ----------
    id
        ``j1``, counted per state folder.
    key
        What its pictures are recorded with.
    digest
        That of the order as its asker gave it.
    fraction, message
        How far it is, 0 to 1, and what it does.
    saved
        The pictures that it has finished; they stay when it ends before its time.
    listeners
        Get every step while somebody waits.
    is_handed_out
        Whether a caller was told of it, and so may ask for it.
    is_delivered
        Whether its asker got what came of it.
    preview
        What is there of the picture that is rendered, as the payload of a latent, and its model's version.
    """

    def __init__(self, job_id: str, key: str, order: Order, asker: Asker, digest: str) -> None:
        self.id = job_id
        self.digest = digest
        self.key = key
        self.order = order
        self.asker = asker
        self.fraction = 0.0
        self.message = "Waiting"
        self.saved: list[SavedImage] = []
        self.listeners: list[Report] = []
        self.is_handed_out = False
        self.is_delivered = False
        self.preview: tuple[bytes, str] = (b"", "")
        self._began: tuple[float, float] | None = None
        self._started = anyio.current_time()
        self._done = anyio.Event()
        self._scope = anyio.CancelScope()
        self._result: GenerationResult | None = None
        self._error: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._done.is_set()

    @property
    def has_begun(self) -> bool:
        """Whether it was sent to a server."""
        return self._began is not None

    @property
    def state(self) -> JobState:
        """In one word."""
        if self._result is not None:
            return "done"
        if self._error is None:
            return "running" if self.has_begun else "queued"
        return "cancelled" if isinstance(self._error, JobCancelledError) else "failed"

    @property
    def seconds(self) -> float:
        """Since it was started."""
        return anyio.current_time() - self._started

    @property
    def seconds_left(self) -> float | None:
        """By its pace since it is rendered; None as long as nothing can be said."""
        if self._began is None or self.is_done:
            return None
        moment, done = self._began
        elapsed = anyio.current_time() - moment
        is_telling = elapsed >= _TELLING_SECONDS and self.fraction > done
        return elapsed * (1 - self.fraction) / (self.fraction - done) if is_telling else None

    async def begin(self) -> None:
        """It is rendered from now on."""
        self._began = (anyio.current_time(), self.fraction)

    async def run(
        self, work: Callable[[], Awaitable[GenerationResult]], close: Callable[[], Awaitable[object]]
    ) -> None:
        """Does the work; raises only when it is cancelled from outside.

        Parameters
        ----------
        close
            Notes how it ended, before anybody is told.
        """
        try:
            with self._scope:
                self._result = await work()
        except Exception as error:
            self._error = error
        finally:
            if self._result is None and self._error is None:
                self._error = JobCancelledError(self.id, self.saved)
            with anyio.CancelScope(shield=True):
                await close()
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

    def build_run(self) -> JobRun:
        """What its order is carried out with."""
        return JobRun(
            report=self.report,
            output=Path(self.order.output) if self.order.output else None,
            prepare=self.asker.prepare,
            key=self.key,
            begin=self.begin,
            saved=self.saved,
            peek=self.peek,
        )

    def peek(self, payload: bytes, version: str) -> None:
        """Notes what is there of the picture."""
        self.preview = payload, version

    def get_result(self) -> GenerationResult:
        """What it made; raises what it ended with instead."""
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def note_delivery(self) -> None:
        """Its asker has the pictures: what is kept of them are the files."""
        self.is_delivered = True
        self._result = self.get_result().without_pixels()

    async def report(self, fraction: float, message: str) -> None:
        """Notes how far it is, and passes it on."""
        self.fraction, self.message = fraction, message
        for listener in list(self.listeners):
            await listener(fraction, message)

    def describe(self, face: Face = PYTHON) -> dict[str, Any]:
        """What the board says of it, in the words of a face."""
        error = self._error
        if isinstance(error, DrawThingsError):
            message = error.word(face)
        else:
            message = "".join(traceback.format_exception_only(error)).strip() if error is not None else self.message
        return {
            "state": self.state,
            "fraction": 1.0 if self.state == "done" else self.fraction,
            "message": "" if self.state == "done" else message,
            "seconds_left": self.seconds_left,
            "pictures": [image.id for image in self.saved],
        }


class Jobs:
    """The jobs of one server; they run in ``tasks`` and end with it."""

    def __init__(self, tasks: TaskGroup, studio: Studio) -> None:
        self._tasks = tasks
        self._jobs: dict[str, Job] = {}
        self._state_dir = studio.settings.state_dir
        self._shown: dict[str, dict[str, Any]] = {}
        self._is_watching = False
        self._unlisted = 0
        self._starting = anyio.Lock()
        self._writing = anyio.Lock()

    @cached_property
    def board(self) -> JobBoard:
        """Where all processes write; to be used in threads, which is where it is imported."""
        from drawthings_mcp.jobs.board import JobBoard

        return JobBoard(self._state_dir)

    async def start(self, order: Order, asker: Asker) -> Job:
        """Begins a render; calls at once keep their order, and of two that are the same the second joins the first."""
        async with self._starting:
            if (job := self.find_repeated(order, asker)) is None:
                job = await self._add(order, asker, digest=order.digest)
                self._tasks.start_soon(self._run, job)
        return job

    def find_repeated(self, order: Order, asker: Asker) -> Job | None:
        """The job of a call that asked for the same and whose pictures its client never got; None when there is none.

        One that ended without pictures is none: to ask again is the way to try again.
        """
        for job in reversed(self._jobs.values()):
            is_same = job.asker.is_same(asker.session, asker.name) and job.asker.is_view == asker.is_view
            if job.digest == order.digest and is_same:
                is_open = not job.is_delivered and job.state in {"queued", "running", "done"}
                return job if is_open else None
        return None

    def find_newest(self, session: object, prompt: str = "") -> Job | None:
        """The newest job of a session, with this prompt if one is given, from now on handed out; None without one."""
        own = (job for job in reversed(self._jobs.values()) if job.asker.session is session)
        asked = prompt.strip()
        found = next((job for job in own if asked in {"", str(job.order.arguments.get("prompt", "")).strip()}), None)
        if found is not None:
            found.is_handed_out = True
        return found

    async def find(self, job_id: str, session: object = None, name: str = "") -> Job | JobRow:
        """The job with an id that was handed out, in upper or lower case; the newest of a client for the empty text.

        One that is not of this process, or not any more, is what the board knows of it.

        Raises
        ------
        UnknownNameError
            There is none.
        """
        from drawthings_mcp.jobs.board import read_job_id

        known = {job.id: job for job in self._jobs.values() if job.is_handed_out}
        own = (job.id for job in reversed(known.values()) if job.asker.is_same(session, name))
        wanted = read_job_id(job_id) or next(own, "")
        found = known.get(wanted) or (await self._find_row(wanted) if wanted not in self._jobs else None)
        if found is not None:
            return found
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

    def find_preview(self, job_id: str) -> tuple[bytes, str]:
        """What is there of the picture that a job of this process renders, its model's version; empty if nothing."""
        job = self._jobs.get(job_id)
        return job.preview if job is not None and not job.is_done else (b"", "")

    async def list_rows(self, limit: int) -> list[JobRow]:
        """The newest jobs of all processes."""
        try:
            return await anyio.to_thread.run_sync(lambda: self.board.list_jobs(limit))
        except StorageError:
            return []

    def describe_row(self, row: JobRow, face: Face) -> dict[str, Any]:
        """A job as JSON-serialisable dict; why one of this process failed is in the words of a face."""
        job = self._jobs.get(row.id)
        failure = {"message": job.describe(face)["message"]} if job is not None and row.state == "failed" else {}
        return {**row.to_json(), **failure}

    async def _find_row(self, job_id: str) -> JobRow | None:
        try:
            return await anyio.to_thread.run_sync(lambda: self.board.find(job_id))
        except StorageError:
            return None

    async def request_stop(self, job_id: str) -> JobRow | None:
        """Asks the process that has a job to end it; None when there is none."""
        return await anyio.to_thread.run_sync(lambda: self.board.request_stop(job_id))

    async def _add(self, order: Order, asker: Asker, *, digest: str, key: str = "", is_durable: bool = False) -> Job:
        def add() -> tuple[str, str]:
            return self.board.add(asker.name, order.prompt, key=key, is_durable=is_durable)

        try:
            job_id, key = await anyio.to_thread.run_sync(add)
        except StorageError:
            # It is only seen by this process then.
            self._unlisted += 1
            job_id = f"j{self._unlisted}"
        job = Job(job_id, key or secrets.token_hex(8), order, asker, digest)
        finished = [known.id for known in self._jobs.values() if known.is_done]
        for old in finished[: max(0, len(finished) - _KEPT)]:
            del self._jobs[old]
        self._jobs[job.id] = job
        if not self._is_watching:
            self._is_watching = True
            self._tasks.start_soon(self._watch)
        return job

    async def _run(self, job: Job) -> None:
        await job.run(lambda: self._render(job), lambda: self._write([job]))

    async def _render(self, job: Job) -> GenerationResult:
        return await job.order.carry_out(job.asker.studio, job.build_run())

    async def _watch(self) -> None:
        """Keeps the board true and obeys it, as long as there are jobs."""
        while active := [job for job in self._jobs.values() if not job.is_done]:
            for job in await self._write(active):
                self._tasks.start_soon(job.cancel)
            await anyio.sleep(_BOARD_SECONDS)
        self._is_watching = False

    async def _write(self, jobs: Sequence[Job]) -> list[Job]:
        """Writes what is new of jobs; those that are to be stopped."""
        async with self._writing:
            # What was seen earlier must not be written later.
            rows = {job.key: shown for job in jobs if (shown := job.describe()) != self._shown.get(job.key)}
            try:
                stopping = await anyio.to_thread.run_sync(lambda: self.board.update(rows))
            except StorageError:
                return []
            self._shown = {job.key: rows.get(job.key, self._shown.get(job.key, {})) for job in jobs if not job.is_done}
        return [job for job in jobs if job.key in stopping and not job.is_done]
