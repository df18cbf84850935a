"""Sends a second time what a server lost by going away before anything had come of it.

A supervised server that another request crashed is back within seconds, with an empty queue.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import anyio
import grpc.aio

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.client.channel import ServerChannel
from drawthings_mcp.errors import ServerDiedError, ServerUnreachableError, WrongProtocolError
from drawthings_mcp.events import Event

AnswerT = TypeVar("AnswerT")

_POLL_SECONDS = 0.1
"""Between two looks at a server that is not back yet; nothing announces that it is."""

_logger = logging.getLogger(__name__)


class Run:
    """One request on its way, which can be sent again.

    Attributes
    ----------
    call
        The latest one; there is none before ``send``.
    """

    call: grpc.aio.UnaryStreamCall[pb.ImageGenerationRequest, pb.ImageGenerationResponse]

    def __init__(self, channel: ServerChannel, message: pb.ImageGenerationRequest) -> None:
        self._channel = channel
        self._message = message

    async def send(self) -> None:
        """Starts the run; raises as ``ServerChannel.get_stub``."""
        stub = await self._channel.get_stub()
        self.call = stub.GenerateImage(self._message)

    async def send_again(self) -> bool:
        """Starts the run again once the server is back; False when it does not come back in time."""
        if not await is_back(self._channel):
            return False
        await self.send()
        return True


async def read_persistently(
    read: Callable[[], AsyncGenerator[Event]], send_again: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Event]:
    """The events of a run; of a second attempt when the server went away before the first event.

    From the first event on the run may have cost minutes, or have been what the server died of.
    """
    is_final = False
    while True:
        try:
            async with aclosing(read()) as events:
                async for event in events:
                    is_final = True
                    yield event
            return
        except ServerDiedError:
            if is_final or not await send_again():
                raise
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

    Raises
    ------
    ServerError
        Another server came back: its certificate is not trusted.
    """
    with anyio.move_on_after(channel.connect_timeout):
        while True:
            try:
                await channel.get_stub()
            except (ServerUnreachableError, WrongProtocolError) as error:
                _logger.debug("not back yet: %s", error)
                await anyio.sleep(_POLL_SECONDS)
            else:
                _logger.info("the server went away and is back; what had not begun is sent again")
                return True
    return False
