"""What the tools of one server share: the studio, and the memory of what its client was shown."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from drawthings_mcp.studio import Studio

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

    from drawthings_mcp.server.viewer import Viewer


class Session:
    """One server over stdio has one client, hence one session."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.sight_code = ""
        """What the last test picture showed; empty when it was answered."""

    @cached_property
    def viewer(self) -> Viewer:
        """Shows pictures; loaded at the first call that does."""
        from drawthings_mcp.server.viewer import Viewer

        return Viewer(self.studio)


def get_session(ctx: Context[Session, Any]) -> Session:
    """The session of a tool call."""
    return ctx.request_context.lifespan_context
