"""What the tools of one server share: the studio, the memory of what its client was shown, the renders that go on."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup

from drawthings_mcp.studio import Jobs, Studio

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

    from drawthings_mcp.server.rendering import Render
    from drawthings_mcp.server.viewer import Viewer


class Session:
    """One server over stdio has one client, hence one session.

    Attributes
    ----------
    jobs
        Renders, those too that outlast the call that began them.
    sight_code
        What the last test picture showed; empty when it was answered.
    """

    def __init__(self, studio: Studio, tasks: TaskGroup) -> None:
        self.studio = studio
        self.jobs: Jobs[Render] = Jobs(tasks)
        self.sight_code = ""

    @cached_property
    def viewer(self) -> Viewer:
        """Shows pictures; loaded at the first call that does."""
        from drawthings_mcp.server.viewer import Viewer

        return Viewer(self.studio)


def get_session(ctx: Context[Session, Any]) -> Session:
    """The session of a tool call."""
    return ctx.request_context.lifespan_context
