"""Servers of the connection's tests, run in a thread of their own for the blocking front."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tests.client.conftest import serve_grpc, small_request

__all__ = ["portal", "serve_grpc", "small_request"]


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """A loop in another thread, which lasts as long as the tests do: a stopped server still has events on their way."""
    with start_blocking_portal() as portal:
        yield portal
