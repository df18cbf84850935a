"""Task groups whose errors are raised as they are, not wrapped in a group."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def background_tasks() -> AsyncIterator[TaskGroup]:
    """A task group for the helpers of a piece of work, cancelled when the work ends."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


@contextmanager
def raised_alone() -> Iterator[None]:
    """Raises the first error of a task group by itself, so that callers can catch it by its class."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = _find_first(group)
        raise error from error.__cause__


def _find_first(group: BaseExceptionGroup) -> BaseException:
    first = group.exceptions[0]
    return _find_first(first) if isinstance(first, BaseExceptionGroup) else first
