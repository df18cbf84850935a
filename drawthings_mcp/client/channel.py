"""The gRPC channel to one server: its options, opening and replacing it, and sending again what was lost.

What a server lost by going away before anything had come of it is sent a second time: a supervised server that
another request crashed is back within seconds, with an empty queue.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Self, TypeVar

import anyio
import anyio.lowlevel
import grpc
import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated.image_service_pb2_grpc import ImageGenerationServiceStub
from drawthings_mcp.address import Address
from drawthings_mcp.client.probe import probe
from drawthings_mcp.client.status import build_error
from drawthings_mcp.client.trust import Route, Security, TrustPolicy
from drawthings_mcp.errors import (
    CertificateError,
    InvalidInputError,
    ServerDiedError,
    ServerUnreachableError,
    WrongProtocolError,
)
from drawthings_mcp.events import Event
from drawthings_mcp.faces import Text

MAX_MESSAGE = 1 << 30
"""Bytes of one message, 1 GiB: what servers and the app allow (protocol §6.4). gRPC's own 4 MiB is less than one
chunk of a picture (protocol §7.6)."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A proxy of the environment is for the web; a picture server stands in the user's own network.
    ("grpc.enable_http_proxy", 0),
    # A run that was sent twice is rendered twice, and what crashed a server once does so again.
    ("grpc.enable_retries", 0),
    # gRPC shares connections between channels of equal options; a client's own ends when the client does.
    ("grpc.use_local_subchannel_pool", 1),
    # Every call is preceded by a look at the server, so waiting long after a failure only delays a restarted one.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Keepalive pings stay off, as gRPC has it: a server hangs up on frequent ones (protocol §6.4).
)

AnswerT = TypeVar("AnswerT")
ReplyT = TypeVar("ReplyT")

_POLL_SECONDS = 0.002
"""Between two looks at a connection that is being made. gRPC could report the change itself, but such a report cannot
be called off: it would reach an event loop that may be closed by then."""

_RETURN_SECONDS = 0.1
"""Between two looks at a server that is not back yet; nothing announces that it is."""

_logger = logging.getLogger(__name__)


def open_channel(route: Route) -> grpc.aio.Channel:
    """A channel along a route; it connects when it is first used."""
    # A server answers a compressed request with UNIMPLEMENTED (protocol §6.4).
    compression = grpc.Compression.NoCompression
    if route.roots is None:
        options = (*_OPTIONS, ("grpc.default_authority", route.name))
        return grpc.aio.insecure_channel(route.target, options=options, compression=compression)
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", route.name))
    credentials = grpc.ssl_channel_credentials(root_certificates=route.roots)
    return grpc.aio.secure_channel(route.target, credentials, options=options, compression=compression)


async def wait_until_ready(channel: grpc.aio.Channel) -> bool:
    """Connects; False when an attempt fails. After an earlier failure it waits for gRPC's next attempt."""
    before, state = None, channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE and before not in {None, state}:
            return False
        await anyio.sleep(_POLL_SECONDS)
        before, state = state, channel.get_state(try_to_connect=True)
    return True


async def receive(call: Awaitable[ReplyT]) -> ReplyT:
    """The reply of a unary call."""
    try:
        return await call
    except anyio.get_cancelled_exc_class():
        # grpc.aio raises a cancellation of its own making, which the scope that cancelled would not know again.
        await anyio.lowlevel.checkpoint()
        raise


class ServerChannel:
    """Leads to the stub of one server; an async context manager.

    Before every call the channel must be connected. When it is not, because it is new, the server was restarted or
    the network changed, the server is probed first: so every reason why there is no connection has its own error,
    and a certificate that was replaced meanwhile is noticed. What breaks later broke during a call.

    ``connect_timeout`` is in seconds: for finding out what speaks at the address, and again for connecting.
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

    async def __aexit__(self, *_: object) -> None:
        self._lock = self._channel = None
        while self._channels:
            await self._channels.pop().close()

    async def get_stub(self) -> ImageGenerationServiceStub:
        """The stub of a channel that is connected at this moment; raises as ``TrustPolicy.choose_route``."""
        if self._lock is None:
            raise InvalidInputError(
                "The client is not open. Use it inside `async with AsyncDrawThingsClient(...) as client:` or "
                "`with DrawThingsClient(...) as client:`."
            )
        async with self._lock:
            channel = self._channel
            if channel is None or channel.get_state() is not grpc.ChannelConnectivity.READY:
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
        with anyio.move_on_after(self.connect_timeout):
            if await wait_until_ready(self._channel):
                return self._channel
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
                    Text(
                        "{server} answers, but the {kind} connection fails: {details}. Check the server's certificate "
                        "and what stands between, such as a proxy.",
                        server=str(self._address),
                        kind=route.security.kind,
                        details=exc.details() or "no details",
                    )
                ) from exc
            if exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise build_error(exc, str(self._address)) from exc


class Run:
    """One request on its way, which can be sent again; ``call`` is the latest one, there is none before ``send``."""

    call: grpc.aio.UnaryStreamCall[pb.ImageGenerationRequest, pb.ImageGenerationResponse]

    def __init__(self, channel: ServerChannel, message: pb.ImageGenerationRequest) -> None:
        self.channel = channel
        self._message = message

    async def send(self) -> None:
        """Starts the run; raises as ``ServerChannel.get_stub``."""
        stub = await self.channel.get_stub()
        self.call = stub.GenerateImage(self._message)


async def read_persistently(read: Callable[[Run], AsyncGenerator[Event]], run: Run) -> AsyncGenerator[Event]:
    """The events of a run; of a second attempt when the server went away before the first event.

    From the first event on the run may have cost minutes, or have been what the server died of.
    """
    is_final = False
    while True:
        try:
            async with aclosing(read(run)) as events:
                async for event in events:
                    is_final = True
                    yield event
            return
        except ServerDiedError:
            if is_final or not await is_back(run.channel):
                raise
            await run.send()
            is_final = True


async def ask_again(ask: Callable[[], Awaitable[AnswerT]], channel: ServerChannel) -> AnswerT:
    """The answer to a question, which changes nothing on the server; asked twice when the server went away."""
    try:
        return await ask()
    except ServerDiedError:
        if not await is_back(channel):
            raise
    return await ask()


async def is_back(channel: ServerChannel) -> bool:
    """Waits for a server that went away, as long as connecting may take.

    Raises ``ServerError`` when another server came back, whose certificate is not trusted.
    """
    with anyio.move_on_after(channel.connect_timeout):
        while True:
            try:
                await channel.get_stub()
            except (ServerUnreachableError, WrongProtocolError) as error:
                _logger.debug("not back yet: %s", error)
                await anyio.sleep(_RETURN_SECONDS)
            else:
                _logger.info("the server went away and is back; what had not begun is sent again")
                return True
    return False
