"""Draw Things' other face: the HTTP API, which its API server offers in place of gRPC (protocol §10).

Only recognises it, so that ``doctor`` can tell it from any other web server.
"""

from __future__ import annotations

import anyio

from drawthings_mcp.address import Address

_QUESTION = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
_MARKS = (b'"seed_mode"', b'"guidance_scale"')
"""Keys of the app's configuration, which it gives at its root; no other web server answers with both."""

_ENOUGH = 1 << 16
"""Bytes after which the answer is not the app's: its configuration is a few thousand."""


async def offers_web_api(address: Address, *, timeout: float) -> bool:
    """Whether a web server is Draw Things in HTTP mode.

    Parameters
    ----------
    timeout
        Seconds; no answer within them counts as no.
    """
    answer = b""
    with anyio.move_on_after(timeout):
        try:
            async with await anyio.connect_tcp(address.host, address.port) as stream:
                await stream.send(_QUESTION % str(address).encode("ascii"))
                while len(answer) < _ENOUGH and not _is_marked(answer):
                    answer += await stream.receive()
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream):
            pass
    return _is_marked(answer)


def _is_marked(answer: bytes) -> bool:
    return all(mark in answer for mark in _MARKS)
