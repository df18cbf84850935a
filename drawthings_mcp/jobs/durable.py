"""Jobs that outlive their process, by DBOS Transact: those of ``serve --http``.

Each job is a workflow of its engine, which keeps what is to be rendered until it is. When it is rendered is decided by
our own queue, so that none of the engine's delays counts. After a crash the engine runs again what had not ended.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from dbos import DBOS, DBOSConfig, Serializer, SetWorkflowID

from drawthings_mcp.databases import Database
from drawthings_mcp.errors import GenerationError, StorageError
from drawthings_mcp.faces import Text
from drawthings_mcp.jobs.job import Asker, Job, Jobs, Order
from drawthings_mcp.private import open_private, prepare_state
from drawthings_mcp.quoting import hide_password
from drawthings_mcp.settings import APP_NAME, Settings
from drawthings_mcp.studio.results import GenerationResult
from drawthings_mcp.studio.studio import Studio

STORE_NAME = "durable.sqlite3"
_LOCK_NAME = "durable.lock"
_MOST_CRASHES = 1
"""Of the process while a job was rendered, after which it is rendered again."""
_NEVER = 1_000_000
"""Starts of the process over which a job may wait."""
_SILENT_SECONDS = 3_600.0
"""Between two looks of the engine for what is not used here: schedules."""
_CRASHED, _STOPPED = "crashed", "stopped"
_PENDING = ["PENDING", "ENQUEUED"]
_ENDED = ["SUCCESS", "ERROR", "CANCELLED"]

_KeptJob: TypeAlias = dict[str, Any]


class _Json(Serializer):
    """What the engine keeps, as JSON: its own way runs whatever a stored text says."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "json"


class JobStoreBusyError(StorageError):
    """Another process keeps the jobs of the state folder."""


@asynccontextmanager
async def open_durable_jobs(settings: Settings, tasks: TaskGroup, studio: Studio) -> AsyncIterator[Jobs]:
    """Jobs that are kept, and those of an earlier process, which begin now.

    Raises
    ------
    JobStoreBusyError
        Another process keeps those of the state folder.
    StorageError
        They cannot be kept where they should.
    """
    with _claim_store(settings) as executor:
        jobs = _DurableJobs(tasks, studio)
        url = settings.database_url.get_secret_value() or _prepare_file(settings)
        config: DBOSConfig = {
            "name": APP_NAME,
            "system_database_url": url,
            # What another process or version left is not for us to take over, and an update leaves nothing behind.
            "application_version": executor,
            "executor_id": executor,
            "serializer": _Json(),
            "log_level": "CRITICAL",
            "scheduler_polling_interval_sec": _SILENT_SECONDS,
        }
        try:
            DBOS(config=config)
            jobs.register()
            DBOS.launch()
            await jobs.resume(executor)
        except Exception as error:
            DBOS.destroy()
            where = "DRAWTHINGS_DATABASE_URL" if settings.database_url.get_secret_value() else str(settings.state_dir)
            reason = hide_password(str(error)).splitlines()[0]
            raise StorageError(f"Jobs cannot be kept in {where}: {reason}") from error
        try:
            yield jobs
        finally:
            with anyio.CancelScope(shield=True):
                # The engine's own end would take seconds; its store is sound at any time.
                await jobs.close()


@contextmanager
def _claim_store(settings: Settings) -> Iterator[str]:
    """Makes this process the only one that renders the jobs of a state folder; the name under which it keeps them."""
    prepare_state(settings.state_dir)
    handle = open_private(settings.state_dir / _LOCK_NAME, os.O_RDWR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobStoreBusyError(
                f"Another server keeps the jobs of {settings.state_dir}; those of this one end with it."
            ) from None
        name = os.read(handle, 100).decode("ascii", "replace").strip()
        if not name:
            name = secrets.token_hex(8)
            os.write(handle, name.encode())
        yield name
    finally:
        os.close(handle)


def _prepare_file(settings: Settings) -> str:
    """The address of the store in the state folder, whose file is for its owner alone before anything is in it."""

    def report_damage(path: object, error: Exception) -> StorageError:
        return StorageError(f"The store of jobs {path} is damaged: {error}. Move it away: pictures are not in it.")

    path = settings.state_dir.absolute() / STORE_NAME
    with Database(path, (), "store of jobs", report_damage=report_damage).open() as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    return f"sqlite:///{path}"


class _DurableJobs(Jobs):
    def __init__(self, tasks: TaskGroup, studio: Studio) -> None:
        super().__init__(tasks, studio)
        self._studio = studio
        self._process = secrets.token_hex(8)
        self._started: dict[str, Job] = {}
        self._turns: dict[str, anyio.Event] = {}
        self._again: set[str] = set()
        self._repeated: set[str] = set()
        self._is_closing = False
        self._workflow: Callable[[_KeptJob], Any] | None = None

    def register(self) -> None:
        """Tells the engine what a job is."""

        async def render(_: _KeptJob) -> _KeptJob:
            return await self._carry(str(DBOS.workflow_id))

        self._workflow = DBOS.workflow(name="render", max_recovery_attempts=_NEVER)(render)

    async def resume(self, executor: str) -> None:
        """Takes over the jobs of an earlier process in their order; the engine begins them. Drops those that ended."""
        for found in await DBOS.list_workflows_async(status=_PENDING, executor_id=executor):
            assert found.input is not None
            self._turns[found.workflow_id] = anyio.Event()
            self._started[found.workflow_id] = await self._take_over(found.workflow_id, *found.input["args"])
        with suppress(StorageError):
            # Of what is not kept any more nothing will come.
            await anyio.to_thread.run_sync(lambda: self.board.give_up(self._started.keys()))
        ended = await DBOS.list_workflows_async(
            status=_ENDED, executor_id=executor, load_input=False, load_output=False
        )
        await DBOS.delete_workflows_async([one.workflow_id for one in ended])

    async def start(self, order: Order, asker: Asker) -> Job:
        settled = await _settle(order, asker.studio)
        async with self._starting:
            if (found := self.find_repeated(order, asker)) is not None:
                return found
            with anyio.CancelScope(shield=True):
                # From here on it is kept, whatever becomes of its call.
                job = await self._add(settled, asker, digest=order.digest, is_durable=True)
                self._started[job.key] = job
                payload = {"order": asdict(settled), "client": asker.name, "digest": order.digest}
                assert self._workflow is not None
                with SetWorkflowID(job.key):
                    await DBOS.start_workflow_async(self._workflow, payload)
        return job

    async def close(self) -> None:
        """Ends what is rendered; the next process goes on with it."""
        self._is_closing = True
        for job in list(self._jobs.values()):
            if not job.is_done:
                await job.cancel()

    async def _carry(self, key: str) -> _KeptJob:
        """One job from beginning to end; what it returns is only the engine's note that it ended."""
        job = self._started.pop(key)
        turns = list(self._turns)
        for earlier in turns[: turns.index(key)] if key in self._turns else ():
            await self._turns[earlier].wait()

        async def note_turn(*_: object) -> None:
            self._turns[key].set()

        if key in self._turns:
            # Its first report comes when it has its place in the queue.
            job.listeners.append(note_turn)
        try:
            await self._run(job)
        finally:
            if key in self._turns:
                self._turns[key].set()
        return {"state": job.state, "pictures": [image.id for image in job.saved]}

    async def _take_over(self, key: str, payload: _KeptJob) -> Job:
        order = {**payload["order"], "notes": tuple(payload["order"]["notes"])}
        asker = Asker(payload["client"], self._studio)
        job = await self._add(Order(**order), asker, key=key, digest=payload["digest"], is_durable=True)
        job.is_handed_out = True
        self._again.add(key)
        return job

    async def _run(self, job: Job) -> None:
        await job.run(lambda: self._render(job), lambda: self._close_job(job))
        if self._is_left_open(job):
            # The engine notes nothing then, and the next process runs it.
            raise asyncio.CancelledError

    async def _close_job(self, job: Job) -> None:
        if not self._is_left_open(job):
            await self._write([job])
        elif job.has_begun:
            await _step("ended", _STOPPED)

    def _is_left_open(self, job: Job) -> bool:
        """Whether it only ended because the server does."""
        return self._is_closing and job.state == "cancelled"

    async def _render(self, job: Job) -> GenerationResult:
        run = replace(job.build_run(), is_again=job.key in self._again, begin=partial(self._begin, job))
        result = await job.order.carry_out(job.asker.studio, run)
        if job.key not in self._repeated:
            return result
        note = "the server ended while this was rendered; it was rendered again with the same seed"
        return replace(result, notes=(note, *result.notes))

    async def _begin(self, job: Job) -> None:
        """Notes that it is rendered; refuses when the process ended too often while it was.

        Each step is done once and remembered: in a later process it yields what it did in the first.
        """
        await job.begin()
        crashes = 0
        while await _step("begin", self._process) != self._process:
            crashes += await _step("ended", _CRASHED) == _CRASHED
        if crashes:
            self._repeated.add(job.key)
        if crashes > _MOST_CRASHES:
            raise GenerationError(
                Text(
                    "The server ended {count} times while {job} was rendered, so it is not tried again. Look at its "
                    "log, and ask for less: a smaller picture, fewer steps.",
                    count=crashes,
                    job=job.id,
                )
            )


async def _step(name: str, value: str) -> str:
    """The value, or what the step of this place in the job yielded in an earlier process."""
    return await DBOS.run_step_async({"name": name}, lambda: value)


async def _settle(order: Order, studio: Studio) -> Order:
    """The order with the library's pictures in place of references, and with its seed."""
    from drawthings_mcp.params import GenerateParams

    if order.operation == "upscale":
        found = await studio.gallery.find([order.arguments["picture"]])
        arguments = {**order.arguments, "picture": found.pictures[0].id}
        return replace(order, arguments=arguments, notes=(*order.notes, *map(str, found.notes)))
    params, notes = await studio.settle(GenerateParams(**order.arguments))
    arguments = params.model_dump(mode="json", exclude_defaults=True)
    return replace(order, arguments=arguments, notes=(*order.notes, *map(str, notes)))
