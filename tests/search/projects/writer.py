"""A process that has a project open as the app has; it does what it reads, line by line, and says ``done``.

``add N`` adds a picture, ``checkpoint`` moves the log into the file, ``lock`` lets nobody else read, ``die`` ends
without closing anything.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.search.projects.builder import Builder


def _say_done() -> None:
    sys.stdout.write("done\n")
    sys.stdout.flush()


def main() -> None:
    builder = Builder(Path(sys.argv[1]), *sys.argv[2:])
    _say_done()
    for line in sys.stdin:
        command, _, value = line.strip().partition(" ")
        if command == "add":
            builder.add_node(0, int(value))
        elif command == "checkpoint":
            builder.database.execute("PRAGMA wal_checkpoint(RESTART)")
        elif command == "lock":
            builder.database.execute("PRAGMA locking_mode = EXCLUSIVE")
            builder.database.execute("BEGIN EXCLUSIVE")
        elif command == "die":
            os._exit(0)
        _say_done()


if __name__ == "__main__":
    main()
