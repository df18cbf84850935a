"""The one connection of a client: opened at the first call, looked after before every other.

Owns the channel and when it is replaced. Knows nothing of requests.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
import grpc
import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated.image_service_pb2_grpc import ImageGenerationServiceStub
from drawthings_mcp.address import Address
from drawthings_mcp.client.channel import is_ready, open_channel, wait_until_ready
from drawthings_mcp.client.probe import probe
from drawthings_mcp.client.status import build_error
from drawthings_mcp.client.trust import Route, Security, TrustPolicy
from drawthings_mcp.errors import CertificateError, InvalidInputError, ServerUnreachableError


class Connection:
    """Leads to the stub of one server; an async context manager.

    Before every call the channel must be connected. When it is not, because it is new, the server was restarted or
    the network changed, the server is probed first: so every reason why there is no connection has its own error,
    and a certificate that was replaced meanwhile is noticed. What breaks later broke during a call.

    Attributes
    ----------
    connect_timeout
        Seconds for finding out what speaks at the address, and again for connecting.
    """

    def __init__(self, address: Address, policy: TrustPolicy, connect_timeout: float) -> None:
        self._address = address
        self._policy = policy
        self.connect_timeout = connect_timeout
        # Channels that were replaced are closed at the end: a stream may still be draining on one.
        self._channels: list[grpc.aio.Channel] = []
        self._channel: grpc.aio.Channel | None = None
        self._route: Route | None = None
        self._lock: anyio.Lock | None = None

    @property
    def security(self) -> Security | None:
        """How the connection is protected; None before the first call."""
        return self._route.security if self._route else None

    async def __aenter__(self) -> Self:
        if self._lock is not None:
            raise InvalidInputError("The client is open already; make a second one for a second `with` block.")
        self._lock = anyio.Lock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock = self._channel = None
        while self._channels:
            await self._channels.pop().close()

    async def get_stub(self) -> ImageGenerationServiceStub:
        """The stub of a channel that is connected at this moment.

        Raises
        ------
        ServerError
            There is no connection; see ``TrustPolicy.choose_route`` for the reasons.
        """
        if self._lock is None:
            raise InvalidInputError(
                "The client is not open. Use it inside `async with AsyncDrawThingsClient(...) as client:` or "
                "`with DrawThingsClient(...) as client:`."
            )
        async with self._lock:
            channel = self._channel
            if channel is None or not is_ready(channel):
                channel = await self._connect()
            return ImageGenerationServiceStub(channel)

    def forget_channel(self) -> None:
        """Makes the next call begin with a new channel, because this one broke: gRPC notices that a moment later."""
        self._channel = None

    async def _connect(self) -> grpc.aio.Channel:
        route = await self._policy.choose_route(await probe(self._address, timeout=self.connect_timeout))
        if self._channel is None or route != self._route:
            self._channel = open_channel(route)
            self._channels.append(self._channel)
            self._route = route
        connected = False
        with anyio.move_on_after(self.connect_timeout):
            connected = await wait_until_ready(self._channel)
        if not connected:
            await self._explain_failure(self._channel, route)
        return self._channel

    async def _explain_failure(self, channel: grpc.aio.Channel, route: Route) -> None:
        """Raises the reason why a channel does not connect, which only a call on it tells."""
        stub = ImageGenerationServiceStub(channel)
        try:
            await stub.Echo(pb.EchoRequest(), timeout=self.connect_timeout)
        except grpc.aio.AioRpcError as exc:
            kind = ServerUnreachableError if route.roots is None else CertificateError
            if exc.code() is grpc.StatusCode.UNAVAILABLE:
                raise kind(
                    f"{self._address} answers, but the {route.security.kind} connection fails: {exc.details()}. "
                    "Check the server's certificate and what stands between, such as a proxy."
                ) from exc
            if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise build_error(exc, str(self._address)) from exc
