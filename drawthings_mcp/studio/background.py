"""Work beside the main line: helper tasks, and rooms that are heavy to import."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup


@asynccontextmanager
async def background_tasks() -> AsyncIterator[TaskGroup]:
    """A task group for the helpers of a piece of work, cancelled when the work ends.

    An error of the work itself is raised as it is: a bare task group would wrap it in an exception group.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def load_room(name: str) -> Any:
    """A room of this package that is heavy to import, loaded off the event loop at first use."""
    return await anyio.to_thread.run_sync(importlib.import_module, f"drawthings_mcp.{name}")
