"""What the tools of one server share: the studio, the renders that go on, and how a call is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, TextContent

from drawthings_mcp.jobs.job import Asker, Job, Jobs, Order
from drawthings_mcp.quoting import quote
from drawthings_mcp.server.content import describe_found, describe_generation
from drawthings_mcp.server.viewer import ChatClient, Viewer, describe_picture
from drawthings_mcp.server.views import VIEW_KEY, takes_views
from drawthings_mcp.studio.studio import Studio
from drawthings_mcp.validation import strip_separators

if TYPE_CHECKING:
    from drawthings_mcp.jobs.board import JobRow
    from drawthings_mcp.studio.results import GenerationResult

_TIMED_OUT = ("timed out", "timeout", "time out")
_ABOUT = 2.0
"""Seconds around a client's known patience in which a cancellation is its own limit, whatever it says."""

_FREE = 50
"""Notifications of one call that may follow each other at once: as many as runs of few steps have."""
_INTERVAL = 0.5
"""Seconds between all others."""

_TOTAL = 100.0
_CREEP = 0.02
"""Part of the way to the next percent that a message without progress moves the bar: the protocol wants every
value above the last, also while a request waits."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks over HTTP, before it has said what it is.

    Attributes
    ----------
    token
        The name of its token; empty when it gave none.
    is_remote
        Whether it is on another machine.
    images
        Where its user finds pictures, ``https://host:7868/images/``; empty without a token, which that needs.
    """

    token: str = ""
    is_remote: bool = False
    images: str = ""


class Session:
    """One client of the server: over stdio there is one alone, over HTTP each has its own.

    Attributes
    ----------
    studio
        As this client sees it; what is behind it is shared.
    tasks
        Work in the background, until the server ends.
    jobs
        Renders of all clients, those too that outlast the call that began them.
    caller
        Who it is over HTTP; None over stdio.
    viewer
        Shows pictures.
    vision_code
        What the last test picture showed; empty when it was answered.
    cancelled
        Why requests were cancelled, by their ids.
    """

    def __init__(
        self, studio: Studio, tasks: TaskGroup, jobs: Jobs | None = None, caller: Caller | None = None
    ) -> None:
        self.studio = studio
        self.tasks = tasks
        self.jobs = jobs or Jobs(tasks, studio)
        self.caller = caller
        self.viewer = Viewer(studio, images=caller.images if caller is not None else "")
        self.vision_code = ""
        self.cancelled: dict[str, str] = {}

    def open_to(self, caller: Caller, name: str) -> Session:
        """A session of another client of the same server, by who it is and what it says that it is."""
        from drawthings_mcp.references.policy import Visitor

        visitor = Visitor(is_remote=caller.is_remote, is_lm_studio="lmstudio" in strip_separators(name))
        return Session(self.studio.open_to(visitor), self.tasks, self.jobs, caller)

    def is_unwanted(self, ctx: Context[Session, Any], client: ChatClient, seconds: float) -> bool:
        """Whether the picture of a cancelled call is not wanted any more, and not only the wait for it over.

        Over HTTP a call ends also when its stream breaks, which says nothing.

        Parameters
        ----------
        seconds
            Since the call came.
        """
        was_told = self.caller is None or str(ctx.request_id) in self.cancelled
        return was_told and not self.has_timed_out(ctx, client, seconds)

    def has_timed_out(self, ctx: Context[Session, Any], client: ChatClient, seconds: float) -> bool:
        """Whether a cancelled call was not cancelled by a person: its client says that it waited too long, or did.

        Parameters
        ----------
        seconds
            Since the call came.
        """
        from drawthings_mcp.attachments.policy import USUAL_TIMEOUT, find_policy

        reason = self.cancelled.pop(str(ctx.request_id), "").lower()
        timeout = find_policy(client.name, client.version).timeout or USUAL_TIMEOUT
        return any(word in reason for word in _TIMED_OUT) or abs(seconds - timeout) <= _ABOUT

    def find_patience(self, client: ChatClient) -> float:
        """Seconds that a call may wait for a render: what the user set, else by what is known of the client."""
        wait = self.studio.settings.max_wait
        return self.viewer.get_policy(client).patience if wait is None else wait


def get_session(ctx: Context[Session, Any]) -> Session:
    """The session of a tool call."""
    return ctx.request_context.lifespan_context


def identify(ctx: Context[Session, Any]) -> ChatClient:
    """The client of a call."""
    params, caller = ctx.request_context.session.client_params, get_session(ctx).caller
    meta, token = ctx.request_context.meta or {}, caller.token if caller is not None else ""
    has_views = takes_views(ctx)
    client = ChatClient(
        model=find_model(meta), token=token, takes_views=has_views, is_view=has_views and bool(meta.get(VIEW_KEY))
    )
    if params is None:
        return client
    return replace(client, name=params.client_info.name, version=params.client_info.version)


def find_model(meta: Mapping[str, Any]) -> str:
    """The name of the model in a call's metadata; empty when it has none.

    Codex has it among what it says of the turn (``x-codex-turn-metadata``), as an object or as its JSON.
    """
    for value in (meta, *meta.values()):
        try:
            entry = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            continue
        name = entry.get("model") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and name:
            return name
    return ""


class ProgressNotifier:
    """Progress of a call as notifications whose values only ever rise, few enough for a client to print."""

    def __init__(self, context: Context[Any, Any]) -> None:
        self._context = context
        self._last = 0.0
        self._sent = 0
        self._next = 0.0

    async def __call__(self, fraction: float, message: str) -> None:
        """Reports a fraction of the whole call, 0 to 1; silent when the client did not ask for progress."""
        now = anyio.current_time()
        if self._sent >= _FREE and now < self._next:
            return
        self._sent, self._next = self._sent + 1, now + _INTERVAL
        value = fraction * _TOTAL
        if value <= self._last:
            value = self._last + (min(self._last + 1, _TOTAL) - self._last) * _CREEP
        if value > self._last:
            self._last = value
            await self._context.report_progress(value, _TOTAL, message)


async def render(ctx: Context[Session, Any], order: Order) -> CallToolResult:
    """Starts a render as a job and answers its call.

    A call that is repeated before its client got the pictures is answered by the job that there is.
    """
    session, client = get_session(ctx), identify(ctx)
    prepare = session.viewer.choose_preparation(client, order.preview)
    asker = Asker(client.label, session.studio, prepare, session, client.is_view)
    started = anyio.current_time()
    job = session.jobs.find_repeated(order, asker) or await session.jobs.start(order, asker)
    # Over HTTP the answer may get lost without our hearing of it.
    job.is_handed_out = job.is_handed_out or session.caller is not None
    try:
        return await answer_render(ctx, job, session.find_patience(client))
    except anyio.get_cancelled_exc_class():
        # Who cancels the call does not want the picture; whose time is up asks for it later.
        if session.is_unwanted(ctx, client, anyio.current_time() - started) and not job.listeners:
            await job.cancel()
        else:
            job.is_handed_out = True
        raise


async def answer_render(ctx: Context[Session, Any], job: Job, patience: float) -> CallToolResult:
    """Waits for a render and shows it; says how to ask again when it takes longer.

    Parameters
    ----------
    patience
        Seconds to wait at most.
    """
    session, report = get_session(ctx), ProgressNotifier(ctx)
    started = anyio.current_time()
    job.listeners.append(report)
    try:
        is_done = await job.wait(patience)
    finally:
        job.listeners.remove(report)
    if not is_done:
        job.is_handed_out = True
        data = {VIEW_KEY: {"job": job.id}} if takes_views(ctx) else None
        return CallToolResult(content=[TextContent(text=_describe_job(job))], _meta=data)
    result, viewer = job.get_result(), session.viewer
    client = identify(ctx)
    shown = await viewer.show(
        client,
        partial(describe_generation, result),
        inputs=await viewer.studio.gallery.draw_masks(result.inputs, result.masked) if result.masked else result.inputs,
        outputs=result.shown,
        originals=[image.record for image in result.variants if image.record.id],
        preview=job.order.preview,
        started=started,
        facts=_list_facts(result),
    )
    # What a view shows of a render that a model began has not reached the model.
    is_its_own = job.asker.is_same(session, client.label) and client.is_view <= job.asker.is_view
    if is_its_own and not await _has_left(ctx):
        job.note_delivery()
    return shown


def _list_facts(result: GenerationResult) -> dict[str, Any]:
    """What a view shows of a render: the labelled sheet, every picture, and what draws them again."""
    shown = ([result.sheet] if result.sheet else []) + [image for image in result.variants if image.record.id]
    plan, pictures = result.plan, list(map(describe_picture, shown))
    return {"pictures": pictures, "prompt": plan.requests[0].prompt, "model": plan.model.file}


async def answer_row(ctx: Context[Session, Any], row: JobRow) -> CallToolResult:
    """Shows what became of a job that another process has, or that this one had before it was started again."""
    if not row.pictures:
        return CallToolResult(content=[TextContent(text=_describe_row(row))], is_error=row.state == "failed")
    viewer = get_session(ctx).viewer
    found = await viewer.studio.gallery.find(row.pictures)
    return await viewer.show(
        identify(ctx),
        partial(describe_found, found, _describe_row(row)),
        outputs=found.pictures,
        originals=found.pictures,
        started=anyio.current_time(),
    )


def _describe_row(row: JobRow) -> str:
    match row.state:
        case "done":
            return f"{row.id} is done."
        case "failed":
            return f"{row.id} failed: {quote(row.message)}"
        case "cancelled":
            return f"{row.id} was cancelled."
        case "interrupted":
            return f"{row.id} goes on when its server is started again."
        case "lost":
            return f"{row.id} ended with the program that rendered it; call generate_image again."
        case _:
            stopping = ", is being stopped" if row.is_stopping else ""
            return f"{row.id} goes on in another program: {row.message}, {row.fraction:.0%}{stopping}."


async def _has_left(ctx: Context[Session, Any]) -> bool:
    """Whether the client of a call closed its connection, as far as that can be known."""
    request = ctx.request_context.request
    return request is not None and await request.is_disconnected()


def _describe_job(job: Job) -> str:
    """How far a render is, and the calls that go on with it."""
    return (
        f"{job.id} goes on: {job.message}, {job.fraction:.0%} after {job.seconds:.0f} s. Nothing is shown yet. "
        f'get_job(job="{job.id}") waits for the pictures, cancel_job(job="{job.id}") ends it.'
    )
