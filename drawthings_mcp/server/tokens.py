"""The file of tokens that ``serve --http`` lets in: one a line, a name and the token, for its owner alone."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from drawthings_mcp.errors import InvalidInputError, StorageError
from drawthings_mcp.private import OTHERS, make_private_folder, open_private
from drawthings_mcp.validation import shorten

DEFAULT_NAME = "house"
"""What the first token is called, and one that has no name."""
_BYTES = 32
_NAME = re.compile(r"[\w.@-]{1,40}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{20,200}")
"""What may follow ``Bearer`` (RFC 6750 §2.1), long enough not to be guessed."""
_HEAD = """\
# Who may use drawthings-mcp over the network: a name and a token a line. A new line lets somebody in, a deleted one
# locks them out, both at once. Each name has its own history. A new token: openssl rand -hex 32
"""


class TokenFile:
    """Tokens of a file, read again whenever it has changed.

    Parameters
    ----------
    path
        Absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, ...] | None = None
        self._tokens: Mapping[str, str] = {}

    def prepare(self) -> str:
        """Makes the file with one token unless it is there, and checks what it holds.

        Returns
        -------
        str
            The token that was made; empty when there was a file.

        Raises
        ------
        InvalidInputError
            A line of the file cannot be used, or there is none.
        StorageError
            It cannot be read or written.
        """
        made = self._make()
        self._close()
        if not self._read():
            raise InvalidInputError(
                f"{self.path} holds no token; write a line with a name and a token, or delete it to get a new one."
            )
        return made

    def get_first(self) -> str:
        """The first token of the file, for programs of its owner.

        Raises
        ------
        StorageError, InvalidInputError
            It cannot be read or used.
        """
        return next(iter(self._read().values()), "")

    def knows(self, name: str) -> bool:
        """Whether the holder of a token is still let in."""
        with suppress(StorageError, InvalidInputError):
            self._refresh()
        return name in self._tokens

    def find_name(self, token: str) -> str:
        """The name of a token; empty when nobody has it. How long it takes does not depend on how much of it fits."""
        with suppress(StorageError, InvalidInputError):
            self._refresh()
        given, found = token.encode(), ""
        for name, known in self._tokens.items():
            if hmac.compare_digest(known.encode(), given):
                found = name
        return found

    def _refresh(self) -> None:
        """A file that is gone or damaged lets nobody in."""
        try:
            status = self.path.stat()
        except OSError:
            state = None
        else:
            state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if state != self._state or state is None:
            self._state, self._tokens = state, {}
            self._tokens = self._read()

    def _make(self) -> str:
        token = secrets.token_urlsafe(_BYTES)
        try:
            make_private_folder(self.path.parent)
            descriptor = open_private(self.path, os.O_WRONLY | os.O_EXCL)
        except FileExistsError:
            return ""
        except OSError as error:
            raise StorageError(f"The file of tokens {self.path} cannot be made: {error.strerror}.") from error
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{_HEAD}{DEFAULT_NAME} {token}\n")
        return token

    def _close(self) -> None:
        """Takes from others what they may do with the file."""
        mode = self.path.stat().st_mode
        if mode & OTHERS:
            with suppress(OSError):  # it is somebody else's, who decides about it
                self.path.chmod(mode & 0o777 & ~OTHERS)

    def _read(self) -> dict[str, str]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise StorageError(f"The file of tokens {self.path} cannot be read: {error}.") from error
        tokens: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            name, token = (DEFAULT_NAME, *words) if len(words) == 1 else (words[0], words[-1])
            if len(words) > 2 or not _NAME.fullmatch(name) or not _TOKEN.fullmatch(token) or name in tokens:
                raise InvalidInputError(
                    f"{self.path}, line {number}: write a name of its own and a token of at least 20 letters, digits "
                    f"or signs of ._~+/=-, got the name {shorten(name)}."
                )
            tokens[name] = token
        return tokens
