"""Every error that this package raises on purpose.

The text of an error is one or two sentences for the person or the model that caused it: what was wrong,
the allowed values or the nearest names, the next step. ::

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
    │   └── TruncatedTransferError              the transfer of the pictures broke off
    ├── EndpointError                           an endpoint for vision or embeddings does not serve
    ├── WebError                                something cannot be fetched from the web
    │   └── ForbiddenAddressError               its address is none that may be fetched from
    └── StorageError                            a file or the catalog cannot be written or read
        └── CatalogDamagedError                 the catalog's database is damaged

``DrawThingsWarning`` is for what works, but not as it was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence


class DrawThingsError(Exception):
    """Base of every error of this package."""


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

    def __init__(self, message: str, *, name: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.nearest = tuple(nearest)


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

    def __init__(self, message: str, *, complete: Sequence[bytes] = ()) -> None:
        super().__init__(message)
        self.complete = tuple(complete)


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
