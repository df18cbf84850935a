"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.warm_start import end_host
from tests.web_servers import HttpService, WebServer, serve_http

# The same examples on every run, machine and worker, however slow it is: one verdict.
settings.register_profile(
    "same every time",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    # Fixtures of these tests are read, or written as a whole for each example.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("same every time")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio only."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keeps one event loop for all tests.

    A gRPC server that was stopped still has events on their way. They are delivered through whichever loop runs
    then, and fail there when their own is closed.
    """
    yield  # noqa: PT022 - the fixture's own life is what keeps the loop


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_interrupts() -> None:
    """A shell without job control starts what it runs in the background with Ctrl-C ignored, which is inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _home_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the files and settings of the person who runs it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            patch.delenv(name, raising=False)
        for name in [name for name in os.environ if name.startswith("DRAWTHINGS_")] + ["BRAVE_API_KEY"]:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _warm_start() -> Iterator[None]:
    """Ends what forks processes for tests, if one has asked for it."""
    yield
    end_host()


@pytest.fixture
def http_service() -> Iterator[HttpService]:
    """An HTTP server of the test's own."""
    with serve_http() as service:
        yield service


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server with TLS."""
    server = WebServer(tmp_path_factory.mktemp("web"), encrypted=True)
    yield server
    server.close()


@pytest.fixture
def plain_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A web server without TLS."""
    server = WebServer(tmp_path_factory.mktemp("web"), encrypted=False)
    yield server
    server.close()
