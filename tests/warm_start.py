"""Processes that need not import anything: on Linux they are forked by one that has done it.

Most of the time of a command that a test runs goes into imports, for each process again. Tests of starting, of what is
imported when, and of signals start an interpreter; so do stubs that find variables of its own in their environment.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import marshal
import os
import pkgutil
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import drawthings_mcp

_LIBRARIES = (
    *("PIL.Image", "PIL.ImageFont", "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "anyio"),
    *("anyio._backends._asyncio", "asyncio", "click", "cryptography.x509", "dbos", "flatbuffers", "fpzip"),
    *("google.protobuf.descriptor_pb2", "google.protobuf.json_format", "grpc.aio", "httpx2", "isal.isal_zlib"),
    *("mcp.server.mcpserver", "mcp.server.stdio", "mcp.server.streamable_http_manager", "numpy", "platformdirs"),
    *("psycopg", "pydantic", "sqlite3", "starlette.applications", "starlette.routing", "uvicorn"),
    *("uvicorn.protocols.http.h11_impl", "uvicorn.lifespan.on"),
)
"""What commands import of others where they need it."""


def list_command(*arguments: str) -> list[str]:
    """A command that does what Python with these arguments would: ``-m module …`` or ``-c program …``."""
    if sys.platform != "linux":  # forking is not safe with what other systems load
        return [sys.executable, *arguments]
    return [sys.executable, "-I", "-S", str(Path(__file__).with_name("warm_stub.py")), _start_host()[1], *arguments]


def put_command(folder: Path) -> Path:
    """Puts the program ``drawthings-mcp`` into a folder."""
    command = folder / "drawthings-mcp"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(list_command("-m", "drawthings_mcp"))} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return command


def end_host() -> None:
    """Ends what ``list_command`` started, and the processes that are left of it."""
    if _start_host.cache_info().currsize:
        host, _ = _start_host()
        _start_host.cache_clear()
        host.communicate(timeout=60)


@cache
def _start_host() -> tuple[subprocess.Popen[bytes], str]:
    """The process that forks, and the name of its socket, on which one may call at once."""
    name = f"drawthings-mcp-tests-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen(64)
        descriptor = listener.fileno()
        host = subprocess.Popen(
            [sys.executable, __file__, str(descriptor)],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # what has threads cannot be forked
            start_new_session=True,  # Ctrl-C is for the stubs
        )
    return host, name


@dataclass(frozen=True)
class _Request:
    """A process that is asked for."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    mask: int
    descriptors: list[int]
    caller: socket.socket


class _Host:
    """Forks a process for each caller and tells it how that ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._callers: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)
        for source in (sys.stdin, listener, self._woken):
            self._selector.register(source, selectors.EVENT_READ)

    def serve(self) -> _Request:
        """Returns in the processes that are forked, with what is asked of them."""
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    self._end()
                elif key.fileobj is self._woken:
                    self._reap()
                elif key.fileobj is not self._listener:
                    self._kill(key.data)
                elif (request := self._fork()) is not None:
                    return request

    def _fork(self) -> _Request | None:
        caller, _ = self._listener.accept()
        request = _read_request(caller)
        if request is None:
            caller.close()
            return None
        pid = os.fork()
        if pid == 0:
            self._leave()
            return request
        for descriptor in request.descriptors:
            os.close(descriptor)
        caller.sendall(pid.to_bytes(4, "little"))
        self._callers[pid] = caller
        self._selector.register(caller, selectors.EVENT_READ, pid)
        return None

    def _leave(self) -> None:
        """Forgets in the new process what is the host's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for opened in (self._listener, self._woken, self._wake, *self._callers.values()):
            opened.close()

    def _reap(self) -> None:
        self._woken.recv(4096)
        while self._callers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._callers.pop(pid) as caller, contextlib.suppress(KeyError, OSError):
                self._selector.unregister(caller)
                caller.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "little", signed=True))

    def _kill(self, pid: int) -> None:
        """Ends a process whose caller is gone."""
        if pid in self._callers:
            self._selector.unregister(self._callers[pid])
            os.kill(pid, signal.SIGKILL)

    def _end(self) -> None:
        for pid in self._callers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os._exit(0)


def _read_request(caller: socket.socket) -> _Request | None:
    """What a stub sends; None when it ended before."""
    head, descriptors, _, _ = socket.recv_fds(caller, 4, 3)
    with caller.makefile("rb") as rest:
        given = rest.read(int.from_bytes(head, "little"))
    if len(descriptors) < 3:
        return None
    arguments, environment, folder, mask = marshal.loads(given)
    return _Request(arguments, environment, folder, mask, descriptors, caller)


def _become(request: _Request) -> None:
    """Makes this process what it would be if it had been started as is asked for."""
    request.caller.close()
    os.chdir(request.folder)
    os.umask(request.mask)
    os.environ.clear()
    os.environ.update(request.environment)
    for number, descriptor in enumerate(request.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = _open(0, "r")
    sys.stdout = _open(1, "w")
    sys.stderr = _open(2, "w", "backslashreplace")
    sys.path[0] = request.folder if request.arguments[0] == "-m" else ""
    sys.argv = ["-c", *request.arguments[2:]]


def _open(descriptor: int, mode: str, errors: str = "strict") -> io.TextIOWrapper:
    stream = open(descriptor, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115 - the process's own
    assert isinstance(stream, io.TextIOWrapper)
    if descriptor:
        stream.reconfigure(line_buffering=stream.isatty() or descriptor == 2)
    return stream


def _run(kind: str, what: str) -> None:
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        main = sys.modules["__main__"] = ModuleType("__main__")
        exec(what, main.__dict__)


def _import_all() -> None:
    ours = (module.name for module in pkgutil.walk_packages(drawthings_mcp.__path__, "drawthings_mcp."))
    for name in (*_LIBRARIES, *ours):
        if name != "drawthings_mcp.__main__":
            importlib.import_module(name)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a library has started a thread"


if __name__ == "__main__":
    _import_all()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as opened:
        asked = _Host(opened).serve()
    _become(asked)
    _run(*asked.arguments[:2])
