"""Stands between a client and the server, passes everything on, and writes down what passed and how it ended.

Run as ``recorder.py LOG COMMAND…``. Each line of the log is an object: ``at`` (seconds since the Unix epoch) and
``client`` or ``server`` (a message), ``signal`` (its name), ``event`` (``eof`` or ``gone``) or ``pid`` (the server's).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Log:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._turn = threading.RLock()

    def write(self, kind: str, value: object) -> None:
        with self._turn:
            self._file.write(json.dumps({"at": time.time(), kind: value}) + "\n")
            self._file.flush()

    def write_message(self, kind: str, line: bytes) -> None:
        try:
            self.write(kind, json.loads(line))
        except ValueError:
            self.write(kind, line.decode(errors="replace"))


def _pump(source: IO[bytes], target: IO[bytes], log: _Log, kind: str) -> None:
    """Passes lines on until one side ends, then closes the other."""
    with contextlib.suppress(OSError):
        for line in source:
            log.write_message(kind, line)
            target.write(line)
            target.flush()
    if kind == "client":
        log.write("event", "eof")
    with contextlib.suppress(OSError):
        target.close()


def main(log_file: str, *command: str) -> int:
    """Runs the server until it ends; its exit code."""
    log = _Log(Path(log_file))
    # In a group of its own, so that what a client sends to its group arrives once, through here.
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    log.write("pid", server.pid)
    assert server.stdin is not None
    assert server.stdout is not None

    def pass_on(number: int, _: FrameType | None) -> None:
        log.write("signal", signal.Signals(number).name)
        server.send_signal(number)

    for number in _SIGNALS:
        signal.signal(number, pass_on)
    threading.Thread(target=_pump, args=(sys.stdin.buffer, server.stdin, log, "client"), daemon=True).start()
    writer = threading.Thread(target=_pump, args=(server.stdout, sys.stdout.buffer, log, "server"), daemon=True)
    writer.start()
    code = server.wait()
    log.write("event", "gone")
    writer.join(1)
    return code


if __name__ == "__main__":
    # At once: a thread in a read of stdin would be waited for.
    os._exit(main(*sys.argv[1:]))
