"""One process that decodes fpzip payloads, seen from its parent.

Owns starting it, talking to it over two pipes within a time limit, and ending it; ``fpzip_worker`` is the other
side. Not ``multiprocessing`` or an executor on top of it: they import the caller's ``__main__`` anew in every
process, which runs a script without a main guard a second time.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import TensorError
from drawthings_mcp.tensors.fpzip_worker import GREETING, REPLY, REQUEST, Operation, Status
from drawthings_mcp.tensors.header import TensorHeader, build_header

_MODULE = "drawthings_mcp.tensors.fpzip_worker"
_PIPE_SIZE = 1 << 20  # the most that Linux grants to everybody; a payload then takes 6 turns instead of 100
_MAX_TEXT_SIZE = 1 << 16
PATIENCE = 60.0
"""Seconds that a request may take beyond its share by size: enough to start on a machine that is out of memory."""
_SECONDS_PER_VALUE = 5e-6  # two hundred times what it takes: the limit is for hung processes, not for slow ones


class WorkerFailedError(Exception):
    """The process ended, hung or answered nonsense; never leaves this room."""


class FpzipProcess:
    """A running worker. Not for two threads at once; after a ``WorkerFailedError`` it can only be closed.

    Parameters
    ----------
    patience
        Seconds to wait for an answer, in addition to what the size of the tensor allows.

    Raises
    ------
    OSError
        The process cannot be started.
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

    def exchange(self, operation: Operation, header: TensorHeader, body: memoryview, result: NDArray[Any]) -> None:
        """Have a payload decoded. Blocks without holding the interpreter lock.

        Parameters
        ----------
        operation
            What to make of it.
        header, body
            The two parts of the payload.
        result
            C-contiguous; is filled.

        Raises
        ------
        TensorError
            The worker refused the payload.
        WorkerFailedError
            It did not answer.
        """
        deadline = time.monotonic() + self._patience + header.count * _SECONDS_PER_VALUE
        try:
            self._await_greeting(deadline)
            self._requests.write(REQUEST.pack(operation, build_header(header), len(body)), deadline)
            self._requests.write(body, deadline)
            self._receive(result, deadline)
        except (EOFError, BrokenPipeError) as exc:
            raise WorkerFailedError(self._describe_end()) from exc
        except TimeoutError as exc:
            raise WorkerFailedError("it did not answer in time") from exc

    def _await_greeting(self, deadline: float) -> None:
        if not self._greeted and self._replies.read(len(GREETING), deadline) != GREETING:
            raise WorkerFailedError("it answered nonsense")
        self._greeted = True

    def _receive(self, result: NDArray[Any], deadline: float) -> None:
        status, size = REPLY.unpack(self._replies.read(REPLY.size, deadline))
        if status == Status.REFUSED and size <= _MAX_TEXT_SIZE:
            raise TensorError(self._replies.read(size, deadline).decode(errors="replace"))
        if status != Status.DONE or size != result.nbytes:
            raise WorkerFailedError("it answered nonsense")
        self._replies.read_into(result.reshape(-1).view(np.uint8).data, deadline)

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
        [sys.executable, "-P", "-m", _MODULE],
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
