"""Shows pictures to the model behind a client, within its budget, and remembers what it was shown.

Owns the order: policy, plan, previews, ledger, descriptions, text. What the text says beside the budget line is told.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ImageContent, TextContent

from drawthings_mcp.attachments import (
    Attachment,
    Candidate,
    Ledger,
    Plan,
    Policy,
    Preview,
    PreviewMode,
    count_result,
    describe_budget,
    find_policy,
    plan,
)
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.server.session import Session
from drawthings_mcp.studio import Studio, load_room

MAX_TEXT = 800
"""Characters of the text block of a result with pictures (contract §5)."""

_MIN_NOTE = 60
"""Characters below which the beginning of a note says nothing."""

_RESERVED = count_result('"' * MAX_TEXT)
"""Characters that are kept free of pictures: the longest text there is, were each of its characters to be escaped."""
_RESERVED_FOR_DESCRIPTIONS = 6 * 2 * 1_000
"""The same for descriptions of two inputs, three outputs and what surrounds them."""

_LEAST_DESCRIBING, _MOST_DESCRIBING = 1.0, 30.0
_FOR_THE_WAY = 5.0
"""Seconds that descriptions may take together, and before a client gives up when they have to be done."""
_USUAL_SIZE = (1024, 1024)
"""What is planned with for pictures whose size nobody told; they are shown as they are."""

Describe: TypeAlias = Callable[[str], str]
"""The budget line → the text of the result."""


class Showable(Protocol):
    """A picture that may be shown."""

    @property
    def id(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def source(self) -> Any:
        """A path, bytes or an array."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, by its handshake; empty when it did not say."""

    name: str = ""
    version: str = ""

    @property
    def label(self) -> str:
        """Under which it is remembered whether its model sees."""
        return f"{self.name} {self.version}".strip() or "unknown client"


def identify(ctx: Context[Session, Any]) -> Client:
    """The client of a call."""
    params = ctx.request_context.session.client_params
    return Client(params.client_info.name, params.client_info.version) if params is not None else Client()


@dataclass(slots=True)
class Viewer:
    """The eyes of one session."""

    studio: Studio
    _ledger: Ledger = field(default_factory=Ledger)
    _turn: anyio.Lock = field(default_factory=anyio.Lock)
    """Two results at once would both show an input as new."""

    async def show(
        self,
        client: Client,
        describe: Describe,
        *,
        inputs: Sequence[Showable] = (),
        outputs: Sequence[Showable] = (),
        preview: PreviewMode | None = None,
        started: float | None = None,
        **limits: int,
    ) -> CallToolResult:
        """One result: the text, then the previews, inputs before outputs, then descriptions if the client needs them.

        Parameters
        ----------
        describe
            Makes the text from the line that says what is shown.
        inputs
            In the order of the call; those that were shown before are only named.
        outputs
            Oldest first.
        preview
            What was said of this call; by default the setting counts.
        started
            When the call came, by ``anyio.current_time``: descriptions get what its client will still wait.
        limits
            Those of the policy that are others for this call.
        """
        seen = await self.studio.gallery.find_sight(client.label)
        policy = self._choose_policy(client, seen, preview).replace(**limits)
        is_described = bool(self.studio.settings.vision_url) and not policy.model_sees
        async with self._turn:
            shown, attachments = await self._encode(inputs, outputs, policy, is_described)
            self._ledger = self._ledger.record(shown.shown)
        try:
            waited = 0.0 if started is None else anyio.current_time() - started
            descriptions = await self._describe(attachments, policy.timeout - waited) if is_described else ()
        except BaseException:
            # The call was cancelled: nothing of this reaches anybody.
            self._ledger = self._ledger.forget(shown.shown)
            raise
        if not policy.shows_pictures:
            shown, attachments = plan(_list_candidates(inputs), _list_candidates(outputs), self._ledger, policy), ()
        await self.studio.gallery.remember_previews(
            [(attachment.ids[0], attachment.preview.data) for attachment in attachments if len(attachment.ids) == 1]
        )
        budget = describe_budget(shown, policy) + _describe_sight(shown, seen)
        return CallToolResult(
            content=[
                TextContent(text=describe(budget)),
                *(build_image(attachment.preview) for attachment in attachments),
                *([TextContent(text="\n".join(map(str, descriptions)))] if descriptions else ()),
            ]
        )

    def _choose_policy(self, client: Client, seen: bool | None, preview: PreviewMode | None) -> Policy:
        """What is known of the client, after what its model proved, after what the user said."""
        policy = find_policy(client.name, client.version).replace(**self.studio.settings.attachments)
        if seen:
            policy = policy.replace(shows_pictures=True, model_sees=True)
        return policy.with_preview(preview or self.studio.settings.preview)

    async def _encode(
        self, inputs: Sequence[Showable], outputs: Sequence[Showable], policy: Policy, is_described: bool
    ) -> tuple[Plan, tuple[Attachment, ...]]:
        # What is only described is chosen and made small as what is shown.
        policy = policy.replace(shows_pictures=policy.shows_pictures or is_described)
        planned = plan(_list_candidates(inputs), _list_candidates(outputs), self._ledger, policy)
        paths = {picture.id: picture.source for picture in (*inputs, *outputs)}
        room = await load_room("attachments.encoding")
        reserved = _RESERVED + (_RESERVED_FOR_DESCRIPTIONS if is_described else 0)
        encode = partial(room.encode, planned, paths, policy, reserved_characters=reserved)
        encoded: tuple[Plan, tuple[Attachment, ...]] = await anyio.to_thread.run_sync(encode)
        return encoded

    async def _describe(self, attachments: Sequence[Attachment], patience: float) -> Sequence[object]:
        from drawthings_mcp.attachments import Description, describe_attachments
        from drawthings_mcp.web.endpoint import Endpoint

        settings = self.studio.settings
        try:
            endpoint = Endpoint(settings.vision_url, settings.vision_model, settings.vision_key.get_secret_value())
        except InvalidInputError as error:
            return [Description(attachment.ids, None, note=str(error)) for attachment in attachments]
        seconds = min(max(patience - _FOR_THE_WAY, _LEAST_DESCRIBING), _MOST_DESCRIBING)
        return await describe_attachments(endpoint, attachments, timeout=seconds)


def build_image(preview: Preview) -> ImageContent:
    """A preview as a block of a result."""
    return ImageContent(data=base64.b64encode(preview.data).decode(), mime_type=preview.mime_type)


def join_lines(before: Sequence[str], budget: str, after: Sequence[str]) -> str:
    """The budget line, and as many of the others, the most useful first, as a text block takes."""
    ahead = _take_lines(before, MAX_TEXT - len(budget))
    behind = _take_lines(after, MAX_TEXT - len(budget) - sum(len(line) + 1 for line in ahead))
    return "\n".join([*ahead, budget, *behind])[:MAX_TEXT]


def _take_lines(lines: Sequence[str], room: int) -> list[str]:
    """Those that fit, each with the end of a line; half a note is better than none."""
    taken = []
    for line in lines:
        fitting = f"{line[: room - 2]}…" if line.startswith("note: ") and _MIN_NOTE <= room <= len(line) else line
        if len(fitting) < room:
            room -= len(fitting) + 1
            taken.append(fitting)
    return taken


def _list_candidates(pictures: Sequence[Showable]) -> list[Candidate]:
    return [Candidate(picture.id, picture.size if all(picture.size) else _USUAL_SIZE) for picture in pictures]


def _describe_sight(shown: Plan, seen: bool | None) -> str:
    """Whether the model behind the client is known to see what is attached; nothing when nothing is."""
    if not shown.places:
        return ""
    return "; sight proven" if seen else "; sight unproven"
