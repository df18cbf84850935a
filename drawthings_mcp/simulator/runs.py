"""The serial queue that all clients share (protocol §7.8)."""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.intake import read_configuration
from drawthings_mcp.simulator.journal import CrashError
from drawthings_mcp.simulator.run import RunSettings, perform_run

_logger = logging.getLogger("drawthings_mcp.simulator")

_KEPT = 32
"""Requests and runs that are kept to be looked at; a request can hold many megabytes."""


class Outcome(Enum):
    """How a run ended; ``FAILED`` is a fault of the simulator itself."""

    DONE = "done"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as it came in; the configuration is None when it is no FlatBuffer."""

    message: pb.ImageGenerationRequest
    configuration: fbs.GenerationConfigurationT | None


@dataclass(frozen=True)
class RunRecord:
    """A run that has ended: the signposts that it reached, by name, and how it ended."""

    message: pb.ImageGenerationRequest
    signposts: tuple[str, ...]
    outcome: Outcome


class _CancelledError(Exception):
    """The client has gone; noticed at a callback."""


@dataclass
class Job:
    """One request between its client and the queue.

    Attributes
    ----------
    messages
        What the client is to get, ended by an outcome.
    gone
        Set when the client has cancelled or vanished.
    signposts
        Names of the signposts that the run has reached.
    """

    message: pb.ImageGenerationRequest
    messages: MemoryObjectReceiveStream[pb.ImageGenerationResponse | Outcome] = field(init=False)
    gone: anyio.Event = field(default_factory=anyio.Event, init=False)
    signposts: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        # Unbounded: a real server buffers too, so a client that reads slowly does not hold up the queue.
        self._send, self.messages = anyio.create_memory_object_stream[pb.ImageGenerationResponse | Outcome](math.inf)

    def emit(self, message: pb.ImageGenerationResponse) -> None:
        """Pass a message on to the client, or stop the run when it has gone."""
        if message.HasField("currentSignpost"):
            self.signposts.append(str(message.currentSignpost.WhichOneof("signpost")))
        if self.gone.is_set():
            raise _CancelledError
        self._send.send_nowait(message)

    async def pause(self, seconds: float) -> None:
        """Let a step take its time, or cut it short when the client goes."""
        with anyio.move_on_after(seconds):
            await self.gone.wait()
        await anyio.lowlevel.checkpoint()

    def finish(self, outcome: Outcome) -> None:
        """Tell the client how it ended."""
        if not self.gone.is_set():
            self._send.send_nowait(outcome)
        self._send.close()

    def cancel(self) -> None:
        """Nobody listens any more; the run stops at its next callback."""
        self.gone.set()
        self.messages.close()


class RunQueue:
    """Runs requests one after the other, in the order in which they came."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._waiting: deque[Job] = deque()
        self._arrival = anyio.Event()
        self.requests: deque[ReceivedRequest] = deque(maxlen=_KEPT)
        self.runs: deque[RunRecord] = deque(maxlen=_KEPT)

    def submit(self, message: pb.ImageGenerationRequest) -> Job:
        """Queue a request."""
        self.requests.append(ReceivedRequest(message, _try_configuration(message)))
        job = Job(message)
        self._waiting.append(job)
        self._arrival.set()
        return job

    async def work(self) -> None:
        """Run whatever is queued, until cancelled. A request cancelled in the queue is started all the same."""
        try:
            while True:
                while self._waiting:
                    await self._finish_next()
                self._arrival = anyio.Event()
                await self._arrival.wait()
        finally:
            for job in self._waiting:
                job.finish(Outcome.CANCELLED)

    async def _finish_next(self) -> None:
        job, outcome = self._waiting.popleft(), Outcome.CANCELLED
        try:
            outcome = await self._run(job)
        finally:
            self.runs.append(RunRecord(job.message, tuple(job.signposts), outcome))
            job.finish(outcome)

    async def _run(self, job: Job) -> Outcome:
        try:
            await perform_run(job.message, self._settings, job)
        except CrashError as exc:
            self._settings.journal.crash(str(exc))
            return Outcome.CRASHED
        except _CancelledError:
            return Outcome.CANCELLED
        except Exception:
            _logger.exception("The simulator itself failed on a request.")
            return Outcome.FAILED
        return Outcome.DONE


def _try_configuration(message: pb.ImageGenerationRequest) -> fbs.GenerationConfigurationT | None:
    try:
        return read_configuration(message.configuration)
    except CrashError:
        return None
