"""Every error that this package raises on purpose.

An error states facts: the parameter, the value, the nearest values, the kind of next step. Its text is one or two
sentences for the person or the model that caused it, worded by the face that shows it (``faces``): what was wrong,
the allowed values or the nearest names, the next step. ``str(error)`` is Python's wording. ::

    DrawThingsError
    ├── InvalidInputError (also a ValueError)   what the caller gave cannot be used
    │   ├── InvalidImageError                   a picture given as input cannot be used
    │   │   └── MissingFileError                its record is known, its file is gone
    │   └── UnknownNameError                    no such model, LoRA, sampler …; carries the nearest names
    ├── TensorError                             bytes are not a well-formed tensor payload
    │   ├── TensorTooLargeError                 well-formed, but beyond what will be decoded
    │   └── DecoderCrashedError                 the payload crashed the decoder's process
    ├── ServerError                             the server, or the way to it
    │   ├── ServerUnreachableError              nothing answers there
    │   ├── WrongProtocolError                  something answers, but not as expected: HTTP, TLS, plaintext
    │   ├── CertificateError                    the server's certificate is not trusted
    │   ├── SharedSecretError                   the server wants a secret, or another one
    │   ├── ServerDiedError                     the server went away during a request
    │   ├── MessageTooLargeError                a message over the transport's limit
    │   ├── UnsupportedRequestError             the server does not know the method or the encoding
    │   └── RequestRefusedError                 the server answered with any other status
    ├── GenerationError                         a run ended without what it was asked for
    │   ├── EmptyResultError                    the server finished without a picture
    │   ├── TruncatedTransferError              the transfer of the pictures broke off
    │   └── TimeLimitError (also a TimeoutError) it took longer than the caller allowed
    ├── EndpointError                           an endpoint for vision or embeddings does not serve
    ├── WebError                                something cannot be fetched from the web
    │   └── ForbiddenAddressError               its address is none that may be fetched from
    └── StorageError                            a file or the catalog cannot be written or read
        └── CatalogDamagedError                 the catalog's database is damaged

``DrawThingsWarning`` is for what works, but not as it was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from drawthings_mcp.faces import PYTHON, Face, Step, Text


class DrawThingsError(Exception):
    """Base of every error of this package.

    Parameters
    ----------
    problem
        What was wrong and what to do next; a ``Text`` where it names parameters or steps.

    Attributes
    ----------
    parameter
        What the error is about, by the name of a parameter, setting or field; empty when it is about none.
    value
        What was given for it; None when that is not known or says nothing.
    nearest
        Known or allowed values that come closest, best first; may be empty.
    """

    def __init__(
        self, problem: str = "", *, parameter: str = "", value: object = None, nearest: Sequence[str] = ()
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.parameter = parameter
        self.value = value
        self.nearest = tuple(nearest)

    def __str__(self) -> str:
        return self.word(PYTHON)

    def word(self, face: Face) -> str:
        """The error in the words of a face: the parameter's name, then the problem."""
        text = face.word(self.problem)
        return f"{face.word_fact(face.name(self.parameter))}: {text}" if self.parameter else text

    def word_all(self, face: Face) -> str:
        """The same with what was added to it on its way, a line each."""
        return "\n".join([self.word(face), *map(face.word, getattr(self, "__notes__", ()))])

    @property
    def steps(self) -> tuple[Step, ...]:
        """What to do next, as far as the text names it."""
        return self.problem.steps if isinstance(self.problem, Text) else ()

    def about(self, parameter: str) -> Self:
        """The same error, said of a parameter; one that is about a parameter already stays so."""
        self.parameter = self.parameter or parameter
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[DrawThingsError], args: tuple[Any, ...], state: dict[str, Any]) -> DrawThingsError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidInputError(DrawThingsError, ValueError):
    """What the caller gave cannot be used."""


class InvalidImageError(InvalidInputError):
    """A picture given as input cannot be used."""


class MissingFileError(InvalidImageError):
    """The record of a picture is known, but its file was moved or deleted."""


class UnknownNameError(InvalidInputError):
    """A name is not known.

    Attributes
    ----------
    name
        The name that was asked for.
    nearest
        Known names that come closest, best first; may be empty.
    """

    def __init__(self, problem: str, *, name: str, nearest: Sequence[str] = (), parameter: str = "") -> None:
        super().__init__(problem, parameter=parameter, value=name, nearest=nearest)
        self.name = name


class TensorError(DrawThingsError):
    """Bytes are not a well-formed tensor payload."""


class TensorTooLargeError(TensorError):
    """A tensor is larger than what will be decoded."""


class DecoderCrashedError(TensorError):
    """A payload crashed the process that decoded it."""


class ServerError(DrawThingsError):
    """The server, or the way to it, failed."""


class ServerUnreachableError(ServerError):
    """Nothing answers at the address."""


class WrongProtocolError(ServerError):
    """Something answers at the address, but not in the expected protocol."""


class CertificateError(ServerError):
    """The server's certificate is not trusted."""


class SharedSecretError(ServerError):
    """The server wants a shared secret, or another one than it was given."""


class ServerDiedError(ServerError):
    """The server went away while it worked on a request.

    Attributes
    ----------
    complete
        Payloads that had arrived whole before, so that they need not be lost.
    """

    complete: tuple[bytes, ...] = ()


class MessageTooLargeError(ServerError):
    """A message was over the limit of the transport."""


class UnsupportedRequestError(ServerError):
    """The server does not know the method, or not the encoding of the request."""


class RequestRefusedError(ServerError):
    """The server answered a request with an error."""


class GenerationError(DrawThingsError):
    """A run ended without what it was asked for."""


class EmptyResultError(GenerationError):
    """The server finished a run without a picture."""


class TruncatedTransferError(GenerationError):
    """The transfer of the pictures broke off.

    Attributes
    ----------
    complete
        Payloads that had arrived whole before the break, so that they need not be lost.
    """

    def __init__(self, problem: str, *, complete: Sequence[bytes] = ()) -> None:
        super().__init__(problem)
        self.complete = tuple(complete)


class TimeLimitError(GenerationError, TimeoutError):
    """A call took longer than its caller allowed, and was stopped."""


class EndpointError(DrawThingsError):
    """An endpoint that the user named, for vision or embeddings, does not serve as it should."""


class WebError(DrawThingsError):
    """Something cannot be fetched from the web."""


class ForbiddenAddressError(WebError):
    """An address is none that may be fetched from: private, not https, with a password in it."""


class StorageError(DrawThingsError):
    """A file or the catalog cannot be written or read."""


class CatalogDamagedError(StorageError):
    """The catalog's database is damaged; it can be rebuilt from the pictures."""


class DrawThingsWarning(UserWarning):
    """A server will do something otherwise than it was asked to; the text says what, and how to change it."""
