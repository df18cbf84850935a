"""The serial queue that all clients share, and the runs in it (protocol §7.8)."""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from functools import partial

import anyio
import anyio.lowlevel
from anyio import to_thread

from drawthings_mcp._generated import generation_configuration as fbs
from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.simulator.catalog import Inventory
from drawthings_mcp.simulator.painting.oklab import Pixels
from drawthings_mcp.simulator.painting.picture import draw
from drawthings_mcp.simulator.parsing import CrashError, Journal, parse_configuration
from drawthings_mcp.simulator.plan import RunPlan, list_announced, list_steps, plan_run
from drawthings_mcp.simulator.results import build_latent, compose_chord, list_messages
from drawthings_mcp.tensors.audio import encode_audio
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.image import encode_image
from drawthings_mcp.tensors.latent import encode_latent

_logger = logging.getLogger("drawthings_mcp.simulator")

_KEPT = 32
"""How many requests and runs are kept for inspection; a request can hold many megabytes."""


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
    """A run that has ended: the names of the signposts that it reached, and its outcome."""

    message: pb.ImageGenerationRequest
    signposts: tuple[str, ...]
    outcome: Outcome


class _CancelledError(Exception):
    """The client has gone."""


class Job:
    """One request between its client and the queue.

    ``messages`` are what the client gets, the last item is the outcome; ``signposts`` the names of those that the run
    has reached.
    """

    def __init__(self, message: pb.ImageGenerationRequest) -> None:
        self.message = message
        self.signposts: list[str] = []
        # Unbounded: a real server buffers too, so a client that reads slowly does not hold up the queue.
        self._send, self.messages = anyio.create_memory_object_stream[pb.ImageGenerationResponse | Outcome](math.inf)
        self._gone = anyio.Event()

    def emit(self, message: pb.ImageGenerationResponse) -> None:
        """Pass a message on to the client, or stop the run when it has gone."""
        if message.HasField("currentSignpost"):
            self.signposts.append(str(message.currentSignpost.WhichOneof("signpost")))
        if self._gone.is_set():
            raise _CancelledError
        self._send.send_nowait(message)

    async def pause(self, seconds: float) -> None:
        """Wait while a step takes its time, or until the client goes."""
        with anyio.move_on_after(seconds):
            await self._gone.wait()
        await anyio.lowlevel.checkpoint()

    def finish(self, outcome: Outcome) -> None:
        """Report the outcome to the client."""
        if not self._gone.is_set():
            self._send.send_nowait(outcome)
        self._send.close()

    def cancel(self) -> None:
        """Stop listening; the run stops at its next callback."""
        self._gone.set()
        self.messages.close()


class RunQueue:
    """Carries out requests one after the other, in the order in which they came.

    ``codec`` is that of images, previews and sound, ``step_seconds`` the duration of one sampling step.
    """

    def __init__(self, inventory: Inventory, journal: Journal, codec: Codec, step_seconds: float) -> None:
        self._inventory = inventory
        self._journal = journal
        self._codec = codec
        self._step_seconds = step_seconds
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
            outcome = await self._try_run(job)
        finally:
            self.runs.append(RunRecord(job.message, tuple(job.signposts), outcome))
            job.finish(outcome)

    async def _try_run(self, job: Job) -> Outcome:
        try:
            await self._run(job)
        except CrashError as exc:
            self._journal.crash(str(exc))
            return Outcome.CRASHED
        except _CancelledError:
            return Outcome.CANCELLED
        except Exception:
            _logger.exception("The simulator itself failed on a request.")
            return Outcome.FAILED
        return Outcome.DONE

    async def _run(self, job: Job) -> None:
        # Drawing and encoding happen in threads, so that other clients need not wait.
        plan = await to_thread.run_sync(plan_run, job.message, self._inventory, self._journal)
        announced = list_announced(plan.stages)
        pictures: list[Pixels] = []
        for step in list_steps(plan.stages):
            message = pb.ImageGenerationResponse(currentSignpost=step.signpost, signposts=announced)
            if plan.drawing and step.estimate is not None:
                pictures = pictures or await to_thread.run_sync(draw, plan.drawing)
                message.previewImage = await to_thread.run_sync(self._encode_preview, plan, pictures, step.estimate)
            job.emit(message)
            await job.pause(self._step_seconds if step.is_sampling else 0)
        if plan.drawing and not pictures:
            pictures = await to_thread.run_sync(draw, plan.drawing)
        images = [await to_thread.run_sync(partial(encode_image, p, codec=self._codec)) for p in pictures]
        sounds = [await to_thread.run_sync(self._encode_sound, plan)] if images and plan.version.audio_hz else []
        for message in list_messages(images, sounds, scale_factor=plan.upscale, chunked=job.message.chunked):
            job.emit(message)

    def _encode_preview(self, plan: RunPlan, pictures: list[Pixels], estimate: float) -> bytes:
        """One latent for each picture of a batch; for a video one per latent frame."""
        count = plan.version.count_latent_frames(len(pictures))
        # As the model sees them: without alpha, before they are upscaled.
        chosen = [pictures[i * len(pictures) // count][:: plan.upscale, :: plan.upscale, :3] for i in range(count)]
        return encode_latent(build_latent(chosen, plan.version, estimate, plan.seed), codec=self._codec)

    def _encode_sound(self, plan: RunPlan) -> bytes:
        return encode_audio(compose_chord(plan.seed, plan.seconds, plan.version.audio_hz), codec=self._codec)


def _try_configuration(message: pb.ImageGenerationRequest) -> fbs.GenerationConfigurationT | None:
    try:
        return parse_configuration(message.configuration)
    except CrashError:
        return None
