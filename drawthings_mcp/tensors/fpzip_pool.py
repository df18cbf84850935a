"""The processes that decode fpzip payloads: at most one per core, started when needed, replaced when they die.

A damaged stream can crash the fpzip library, and a sound one holds the interpreter lock for a tenth of a second:
in a process of its own a crash is one clear error, and no event loop stands still. Everything here blocks without
holding the lock, so asynchronous code calls it through ``anyio.to_thread.run_sync``.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import Any

from numpy.typing import NDArray

from drawthings_mcp.errors import DecoderCrashedError, TensorError
from drawthings_mcp.tensors.fpzip_process import FpzipProcess, WorkerFailedError
from drawthings_mcp.tensors.fpzip_worker import Operation
from drawthings_mcp.tensors.header import TensorHeader

_logger = logging.getLogger(__name__)

MAX_PROCESSES = min(2, os.cpu_count() or 1)
"""One decodes faster than most networks deliver, a second one lets two pictures of a batch overlap. More would
only cost memory, 35 MB each."""
_ATTEMPTS = 2


class FpzipPool:
    """A few workers for any number of threads.

    Parameters
    ----------
    size
        The most processes at a time.
    """

    def __init__(self, size: int = MAX_PROCESSES) -> None:
        self._size = size
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._turns = threading.BoundedSemaphore(self._size)
        self._lock = threading.Lock()
        self._idle: list[FpzipProcess] = []
        self._busy: set[FpzipProcess] = set()

    def prestart(self, count: int = 1) -> None:
        """Have ``count`` processes started, without waiting until they are ready.

        Raises
        ------
        DecoderCrashedError
            A process cannot be started.
        """
        with self._lock:
            while len(self._idle) + len(self._busy) < min(count, self._size):
                self._idle.append(self._start())

    def decode(self, operation: Operation, header: TensorHeader, body: memoryview, result: NDArray[Any]) -> None:
        """Decode a stream that fits its payload's header into ``result``.

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
                    worker.exchange(operation, header, body, result)
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
                    return
        raise DecoderCrashedError(
            f"The tensor {list(header.dims)} cannot be decoded: the process that did it failed ({failure}). Its fpzip "
            "stream is probably damaged. Generate it again, or start the server with --no-response-compression."
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
            raise DecoderCrashedError(
                f"No process can be started to decode fpzip payloads ({exc}). Free some memory, or start the server "
                "with --no-response-compression."
            ) from exc


_shared = FpzipPool()
atexit.register(_shared.close)
os.register_at_fork(after_in_child=_shared.disown)


def prestart(count: int = 1) -> None:
    """Start processes that decode fpzip payloads while there is time, for instance during a render.

    Takes a few milliseconds and does not wait until they are ready. Not calling it costs the first payload a fifth
    of a second. ``count`` beyond ``MAX_PROCESSES`` starts that many.

    Raises
    ------
    DecoderCrashedError
        A process cannot be started.
    """
    _shared.prestart(count)


def decode_fpzip(operation: Operation, header: TensorHeader, body: memoryview, result: NDArray[Any]) -> None:
    """``FpzipPool.decode`` on the processes that all of this interpreter shares."""
    _shared.decode(operation, header, body, result)
