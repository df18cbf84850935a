"""The processes that decode fpzip payloads: at most one per core, started when needed, replaced when they die.

A damaged stream can crash the fpzip library, and a sound one holds the interpreter lock for a tenth of a second:
in a process of its own a crash is one clear error, and no event loop stands still. Everything here blocks without
holding the lock, so asynchronous code calls it through ``anyio.to_thread.run_sync``.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import DecoderCrashedError, TensorError
from drawthings_mcp.faces import Step, Text
from drawthings_mcp.tensors.fpzip_codec import GREETING, REPLY, REQUEST, ReplyStatus, WorkerTask
from drawthings_mcp.tensors.header import TensorHeader, build_header

_PROGRAM = "from drawthings_mcp.tensors.fpzip_codec import main; main()"
_PIPE_SIZE = 1 << 20  # the most that Linux grants to everybody; a payload then takes 6 turns instead of 100
_MAX_TEXT_SIZE = 1 << 16
PATIENCE = 60.0
"""Seconds that a request may take beyond its share by size: enough to start on a machine that is out of memory."""
_SECONDS_PER_VALUE = 5e-6  # two hundred times what it takes: the limit is for hung processes, not for slow ones
_logger = logging.getLogger(__name__)
MAX_PROCESSES = min(2, os.cpu_count() or 1)
"""One decodes faster than most networks deliver, a second one lets two pictures of a batch overlap. More would
only cost memory, 35 MB each."""
_ATTEMPTS = 2


class WorkerFailedError(Exception):
    """The process ended, hung or answered nonsense; never leaves this room."""


class FpzipProcess:
    """A running worker. Not for two threads at once; after a ``WorkerFailedError`` it can only be closed.

    Not a process of ``multiprocessing``: that imports the caller's ``__main__`` again in every process, which runs a
    script without a main guard a second time. Raises ``OSError`` when it cannot be started.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._process = _start(self._log)
        except OSError:
            self._log.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = _Pipe(self._process.stdin, select.POLLOUT)
        self._replies = _Pipe(self._process.stdout, select.POLLIN)
        self._greeted = False

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def exchange(self, task: WorkerTask, header: TensorHeader, body: memoryview, result: NDArray[Any]) -> bool:
        """Have a payload decoded into a C-contiguous array; a ``WorkerFailedError`` when there is no answer.

        Returns whether some values of an image were no numbers.
        """
        deadline = time.monotonic() + self._patience + header.count * _SECONDS_PER_VALUE
        try:
            self._await_greeting(deadline)
            self._requests.write(REQUEST.pack(task, build_header(header), len(body)), deadline)
            self._requests.write(body, deadline)
            return self._receive(result, deadline)
        except (EOFError, BrokenPipeError) as exc:
            raise WorkerFailedError(self._describe_end()) from exc
        except TimeoutError as exc:
            raise WorkerFailedError("it did not answer in time") from exc

    def _await_greeting(self, deadline: float) -> None:
        if not self._greeted and self._replies.read(len(GREETING), deadline) != GREETING:
            raise WorkerFailedError("it answered nonsense")
        self._greeted = True

    def _receive(self, result: NDArray[Any], deadline: float) -> bool:
        status, size = REPLY.unpack(self._replies.read(REPLY.size, deadline))
        if status == ReplyStatus.REFUSED and size <= _MAX_TEXT_SIZE:
            raise TensorError(self._replies.read(size, deadline).decode(errors="replace"))
        if status not in {ReplyStatus.DONE, ReplyStatus.DONE_WITH_GAPS} or size != result.nbytes:
            raise WorkerFailedError("it answered nonsense")
        self._replies.read_into(result.reshape(-1).view(np.uint8).data, deadline)
        return bool(status == ReplyStatus.DONE_WITH_GAPS)

    def _describe_end(self) -> str:
        """Why the process ended, for an error's text."""
        self._process.kill()  # it has closed a pipe, so it is at its end anyway
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read(_MAX_TEXT_SIZE).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"it ended with {reason}{': ' if last else ''}{last}"

    def close(self) -> None:
        """End the process at once; it has nothing to lose."""
        self.kill()
        self._release()

    def kill(self) -> None:
        """End the process while another thread waits for its answer."""
        self._process.kill()
        self._process.wait()

    def disown(self) -> None:
        """Let go of a process that belongs to the parent of this one: after a fork both hold its pipes."""
        self._process.returncode = 0  # so that nobody here waits for it or warns of it
        self._release()

    def _release(self) -> None:
        self._requests.close()
        self._replies.close()
        self._log.close()


class _Pipe:
    """This end of a pipe; every step waits for its turn, but not beyond the deadline."""

    def __init__(self, file: IO[bytes], event: int) -> None:
        self._file = file
        self._descriptor = file.fileno()
        self._poll = select.poll()
        self._poll.register(self._descriptor, event)
        os.set_blocking(self._descriptor, False)
        _enlarge(self._descriptor)

    def write(self, data: bytes | memoryview, deadline: float) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(deadline)
            rest = rest[os.write(self._descriptor, rest) :]

    def read(self, size: int, deadline: float) -> bytes:
        data = bytearray(size)
        self.read_into(memoryview(data), deadline)
        return bytes(data)

    def read_into(self, rest: memoryview, deadline: float) -> None:
        while rest:
            self._wait(deadline)
            count = os.readv(self._descriptor, [rest])
            if not count:
                raise EOFError
            rest = rest[count:]

    def close(self) -> None:
        self._file.close()

    def _wait(self, deadline: float) -> None:
        remaining_ms = (deadline - time.monotonic()) * 1000
        if remaining_ms <= 0 or not self._poll.poll(remaining_ms):
            raise TimeoutError


def _start(log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a worker with pipes of its own: in an MCP server, this process's belong to the protocol.

    It finds modules where this process does (``-P``: but never in the working directory by itself).
    """
    if not sys.executable:
        raise OSError("this interpreter does not know its own path")
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )


def _enlarge(descriptor: int) -> None:
    if sys.platform == "linux":
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:
            return  # over the user's quota: a small pipe is slower, and that is all


class FpzipPool:
    """At most ``MAX_PROCESSES`` workers for any number of threads."""

    def __init__(self) -> None:
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._turns = threading.BoundedSemaphore(MAX_PROCESSES)
        self._lock = threading.Lock()
        self._idle: list[FpzipProcess] = []
        self._busy: set[FpzipProcess] = set()

    def prestart(self, count: int = 1) -> None:
        """Have ``count`` processes started, without waiting until they are ready."""
        with self._lock:
            while len(self._idle) + len(self._busy) < min(count, MAX_PROCESSES):
                self._idle.append(self._start())

    def decode(self, task: WorkerTask, header: TensorHeader, body: memoryview, result: NDArray[Any]) -> bool:
        """Decode a stream that fits its payload's header into ``result``.

        Returns
        -------
        bool
            Whether some values of an image were no numbers.

        Raises
        ------
        TensorError
            The library refused the stream.
        DecoderCrashedError
            The stream crashed the library, or no process can be started.

        Notes
        -----
        A damaged stream may leave a process alive but broken, so that the next one crashes it. Therefore a payload
        is only blamed when it has crashed a new process, too.
        """
        with self._turns:
            for attempt in range(_ATTEMPTS):
                worker = self._take(fresh=attempt > 0)
                try:
                    has_gaps = worker.exchange(task, header, body, result)
                except WorkerFailedError as exc:
                    self._discard(worker)
                    failure = exc
                    _logger.info("A process that decodes fpzip failed: %s.", exc)
                except TensorError:
                    self._give_back(worker)
                    raise
                except BaseException:
                    self._discard(worker)  # halfway through a frame it is of no more use
                    raise
                else:
                    self._give_back(worker)
                    return has_gaps
        raise DecoderCrashedError(
            Text(
                "The tensor {dims} cannot be decoded: the process that did it failed ({failure}). Its fpzip stream is "
                "probably damaged. Generate it again, or {step}.",
                dims=list(header.dims),
                failure=failure,
                step=Step("switch_off_compression"),
            )
        ) from failure

    def list_pids(self) -> list[int]:
        """The numbers of the running processes."""
        with self._lock:
            return sorted(worker.pid for worker in (*self._idle, *self._busy))

    def close(self) -> None:
        """End all processes. What is being decoded fails, and nothing is decoded any more."""
        with self._lock:
            self._closed = True
            for worker in self._idle:
                worker.close()
            self._idle.clear()
            for worker in self._busy:
                worker.kill()  # its thread closes it

    def disown(self) -> None:
        """Forget all processes without ending them: after a fork they are the parent's."""
        for worker in (*self._idle, *self._busy):
            worker.disown()
        self._reset()

    def _take(self, *, fresh: bool) -> FpzipProcess:
        with self._lock:
            worker = self._start() if fresh or not self._idle else self._idle.pop()
            self._busy.add(worker)
        return worker

    def _give_back(self, worker: FpzipProcess) -> None:
        with self._lock:
            self._busy.remove(worker)
            if not self._closed:
                self._idle.append(worker)
                return
        worker.close()

    def _discard(self, worker: FpzipProcess) -> None:
        with self._lock:
            self._busy.remove(worker)
        worker.close()

    def _start(self) -> FpzipProcess:
        if self._closed:
            raise DecoderCrashedError("The processes that decode fpzip payloads have been ended; nothing is decoded.")
        try:
            return FpzipProcess()
        except OSError as exc:
            text = "No process can be started to decode fpzip payloads ({error}). Free some memory, or {step}."
            raise DecoderCrashedError(Text(text, error=exc, step=Step("switch_off_compression"))) from exc


_shared = FpzipPool()
atexit.register(_shared.close)
os.register_at_fork(after_in_child=_shared.disown)


def prestart(count: int = 1) -> None:
    """Start up to ``MAX_PROCESSES`` decoders while there is time, for instance during a render.

    Takes a few milliseconds and does not wait until they are ready. Not calling it costs the first payload a fifth
    of a second. Raises ``DecoderCrashedError`` when a process cannot be started.
    """
    _shared.prestart(count)


decode_fpzip = _shared.decode
