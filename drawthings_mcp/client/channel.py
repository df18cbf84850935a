"""One gRPC channel: its options, with the reason of each, the wait until it carries calls, and for a reply."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import anyio
import anyio.lowlevel
import grpc
import grpc.aio

from drawthings_mcp.client.trust import Route

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

ReplyT = TypeVar("ReplyT")

_POLL_SECONDS = 0.002
"""Between two looks at a connection that is being made. gRPC could report the change itself, but such a report cannot
be called off: it would reach an event loop that may be closed by then."""


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


def is_ready(channel: grpc.aio.Channel) -> bool:
    """Whether there is a connection right now."""
    return channel.get_state() is grpc.ChannelConnectivity.READY


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
