"""Keys of servers that were met before: ``pins.json`` in the state folder. Blocking."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from drawthings_mcp.errors import CertificateError, StorageError
from drawthings_mcp.private import open_private, prepare_state

_SHA256 = re.compile(r"[0-9a-f]{64}")


class PinStore:
    """Public keys by ``host:port``: a JSON object of SHA-256 in hexadecimal.

    Several processes may use one folder: every look is under a lock, every change replaces the file whole. A
    file that cannot be understood is never replaced, for that would forget whom to trust.

    Parameters
    ----------
    folder
        Made when the first key is pinned.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pins.json"
        self._lock_path = folder / "pins.lock"

    def check(self, server: str, spki_sha256: str, *, pin: bool = True) -> None:
        """Compares a server's key with the pinned one, and pins it at the first use.

        Parameters
        ----------
        pin
            Whether a key that is met for the first time is pinned.

        Raises
        ------
        CertificateError
            Another key is pinned.
        StorageError
            The file cannot be read or written, or is damaged.
        """
        if not pin and not self.path.exists():
            return
        with self._translated_errors(), self._locked():
            pins = self._read()
            known = pins.get(server)
            if known is None and pin:
                self._write({**pins, server: spki_sha256})
        if known not in {None, spki_sha256}:
            raise CertificateError(
                f"{server} presents another key than before: {spki_sha256[:16]}…, pinned is {known[:16]}…. "
                "Somebody may be in between. If the server's certificate was really replaced, remove the entry "
                f"{server!r} from {self.path}."
            )

    def find(self, server: str) -> str | None:
        """The key that is pinned for a server, SHA-256 in hexadecimal; None when there is none.

        Raises
        ------
        StorageError
            The file cannot be read, or is damaged.
        """
        with self._translated_errors():
            # Every change replaces the file whole, so reading takes no lock.
            return self._read().get(server)

    def _read(self) -> Mapping[str, str]:
        try:
            pins = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise self._damaged(f"it is not JSON ({exc})") from exc
        if not isinstance(pins, dict):
            raise self._damaged("it is not a JSON object")
        for server, pin in pins.items():
            if not isinstance(pin, str) or not _SHA256.fullmatch(pin):
                raise self._damaged(f"the entry {server!r} is not a SHA-256 in hexadecimal")
        return pins

    def _write(self, pins: Mapping[str, str]) -> None:
        text = json.dumps(dict(sorted(pins.items())), indent=2, ensure_ascii=False) + "\n"
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=self.path.parent, delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self.path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        prepare_state(self.path.parent)
        with os.fdopen(open_private(self._lock_path, os.O_WRONLY), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StorageError(f"{self.path} cannot be used: {exc.strerror}. Check the folder's permissions.") from exc

    def _damaged(self, what: str) -> StorageError:
        return StorageError(
            f"{self.path} is damaged: {what}. It holds the keys of servers that you trust, so it is left as it is; "
            "repair it, or remove it to trust every server again."
        )
