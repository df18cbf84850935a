"""Stands for a process that ``warm_start.py`` forks: its own output and end are that one's, signals are passed on.

Run by ``python -I -S``, with the name of a socket and the arguments of Python that the process would have.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import sys

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Asks for the process and waits for it; its exit code, negative for a signal."""
    with socket.socket(socket.AF_UNIX) as host:
        host.connect(f"\0{sys.argv[1]}")
        mask = os.umask(0o077)
        os.umask(mask)
        request = marshal.dumps((sys.argv[2:], dict(os.environ), os.getcwd(), mask))  # noqa: PTH109 - pathlib takes long to import
        socket.send_fds(host, [len(request).to_bytes(4, "little")], [0, 1, 2])
        host.sendall(request)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):  # those that read or write at the other ends wait for the process alone
            os.dup2(nothing, descriptor)
        replies = host.makefile("rb")
        pid = int.from_bytes(replies.read(4), "little")
        for number in _PASSED_ON:
            signal.signal(number, lambda number, _: os.kill(pid, number))
        return int.from_bytes(replies.read(4), "little", signed=True)


if __name__ == "__main__":
    if os.environ.get("PYTHONPATH") or os.environ.get("PYTHONIOENCODING", "utf-8") != "utf-8":
        os.execv(sys.executable, [sys.executable, *sys.argv[2:]])  # they count when an interpreter starts
    code = main()
    if code < 0:
        if -code in _PASSED_ON:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
