"""Shows pictures to the model behind a client, within its budget, and remembers what it was shown."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.to_thread
from mcp.types import Annotations, CallToolResult, ImageContent, ResourceLink, TextContent

from drawthings_mcp.attachments.budget import (
    AttachmentPlan,
    Showable,
    Slot,
    describe_budget,
    describe_sight,
    plan_attachments,
)
from drawthings_mcp.attachments.policy import USUAL_TIMEOUT, Policy, find_policy
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.library.records import ImageRecord, parse_id
from drawthings_mcp.quoting import label, quote, shorten_text
from drawthings_mcp.server.content import MAX_TEXT
from drawthings_mcp.server.face import MCP
from drawthings_mcp.server.views import VIEW_KEY
from drawthings_mcp.studio.results import find_mime_type

if TYPE_CHECKING:
    from drawthings_mcp.attachments.preview import PreparedPicture, Preview
    from drawthings_mcp.params import PreviewMode
    from drawthings_mcp.studio.saver import Prepare
    from drawthings_mcp.studio.studio import Studio
    from drawthings_mcp.tensors.pixels import ImageLike

_RESERVED_FOR_DESCRIPTIONS = 6 * 2 * 1_000
"""Characters that are kept free for descriptions of two inputs, three outputs and what surrounds them, were each
character to be escaped."""
_MAX_LINKS = 5
_TEXT_TOKENS = MAX_TEXT // 3
"""Of the text of a result, with its paths and ids; an estimate on the safe side."""
_WINDOW = 4
"""Results that share ``Policy.window_tokens``."""
_TO_VIEW = "shown in the view, not to you"
_ANY = 1_000_000
"""Tokens of what no model gets."""
_MAX_PROMPT = 400
"""Characters of a prompt that a view shows; three lines."""
_AROUND = 20
"""Characters around the data of a view in a result."""
_SHARED_NAMES = {"", "mcp", "fastmcp", "rmcp", "mcp-client", "example-client"}
"""Names that libraries give to programs which have none: what the model behind one of them proves says nothing of the
next."""
_LEAST_DESCRIBING, _MOST_DESCRIBING = 1.0, 30.0
_FOR_THE_WAY = 5.0
"""Seconds that descriptions may take together, and before a client gives up when they have to be done."""

Describe: TypeAlias = Callable[[str], str]
"""The budget line → the text of the result."""


@dataclass(frozen=True, slots=True)
class ChatClient:
    """Who asks, by its handshake, and over HTTP by the name of its token; empty when it did not say.

    Attributes
    ----------
    model
        The model behind it, where its calls name it.
    takes_views
        Whether it shows views beside results.
    is_view
        Whether one of them makes the call: its result reaches no model.
    """

    name: str = ""
    version: str = ""
    model: str = ""
    token: str = ""
    takes_views: bool = False
    is_view: bool = False

    @property
    def label(self) -> str:
        """Under which it is remembered whether its model sees."""
        label = f"{self.name} {self.version}".strip() or "unknown client"
        return f"{label} of {self.token}" if self.token else label


@dataclass(slots=True)
class Viewer:
    """The eyes of one session.

    Attributes
    ----------
    images
        Where the client's user finds pictures in a browser, up to the id; empty when nowhere.
    """

    studio: Studio
    images: str = ""
    _shown: set[str] = field(default_factory=set)
    """Ids that the session's results showed; an input among them is not shown again."""
    _spent: deque[int] = field(default_factory=lambda: deque(maxlen=_WINDOW - 1))
    """Tokens of the last results."""
    _sight: bool | None = None
    """Whether the model proved that it sees, where the client's name is that of many programs."""
    _turn: anyio.Lock = field(default_factory=anyio.Lock)
    """Two results at once would both show an input as new, and both spend what is left of the window."""

    async def show(
        self,
        client: ChatClient,
        describe: Describe,
        *,
        inputs: Sequence[Showable] = (),
        outputs: Sequence[Showable] = (),
        originals: Sequence[ImageRecord] = (),
        preview: PreviewMode | None = None,
        started: float | None = None,
        more_text: str = "",
        facts: Mapping[str, Any] | None = None,
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
        originals
            The outputs as they are kept: what links lead to, where the client takes them.
        preview
            What was said of this call; by default the setting counts.
        started
            When the call came, by ``anyio.current_time``: descriptions get what its client will still wait.
        more_text
            What the text has beyond ``MAX_TEXT`` characters.
        facts
            What a view shows, where the client takes views; by default the outputs.
        limits
            Those of the policy that are others for this call.
        """
        told = {"tools": self.studio.settings.tools, **(facts or {})}
        data = _describe_for_view(inputs, outputs, told) if client.takes_views else None
        if client.is_view:
            # It asks for what it shows by itself, and what the model has seen stays as it is.
            return CallToolResult(content=[TextContent(text=describe(_TO_VIEW))], _meta=_wrap(data))
        seen = await self._find_sight(client)
        policy = self._settle_policy(client, seen, preview, limits)
        is_described = bool(self.studio.settings.vision_url) and not policy.model_sees
        links = [_build_link(record) for record in originals[-_MAX_LINKS:]] if policy.takes_links else []
        reserved = sum(len(link.model_dump_json(by_alias=True)) + 1 for link in links) + 2 * len(more_text)
        reserved += _count_data(data, [*inputs, *outputs]) if data is not None else 0
        reserved += _RESERVED_FOR_DESCRIPTIONS if is_described else 0
        descriptions: Sequence[str] = ()
        async with self._choose(inputs, outputs, policy, reserved, is_described=is_described) as (shown, previews):
            if is_described:
                descriptions = await self._describe(previews, policy, started)
        if not policy.shows_pictures:
            shown, previews = plan_attachments(inputs, outputs, self._shown, policy), {}
        self.studio.gallery.remember_previews(
            [(slot.ids[0], preview.data) for slot, preview in previews.items() if not slot.is_sheet]
        )
        budget = describe_budget(shown, policy) + describe_sight(shown, policy, seen)
        if data is not None:
            data["blocks"] = [list(slot.ids) for slot in previews]
        return CallToolResult(
            content=[
                TextContent(text=describe(budget + self._describe_address([*inputs, *outputs]))),
                *map(build_image, previews.values()),
                *([TextContent(text="\n".join(descriptions))] if descriptions else ()),
                *links,
            ],
            _meta=_wrap(data),
        )

    @asynccontextmanager
    async def _choose(
        self,
        inputs: Sequence[Showable],
        outputs: Sequence[Showable],
        policy: Policy,
        reserved: int,
        *,
        is_described: bool,
    ) -> AsyncIterator[tuple[AttachmentPlan, dict[Slot, Preview]]]:
        """What of the pictures is shown, and how; it counts as seen and spent unless what follows is cancelled.

        What is only described is chosen and made small as what is shown.
        """
        shows = policy.shows_pictures
        async with self._turn:
            policy = policy.replace(shows_pictures=shows or is_described).narrow(sum(self._spent), _TEXT_TOKENS)
            planned = plan_attachments(inputs, outputs, self._shown, policy)
            sources = {picture.id: picture.source for picture in (*inputs, *outputs)}
            encode = partial(_encode, planned, sources, policy, reserved)
            shown, previews = await anyio.to_thread.run_sync(encode)
            fresh = set(shown.shown) - self._shown
            self._shown |= fresh
            spent = shown.tokens + _TEXT_TOKENS if shown.slots and shows else 0
            self._spent.append(spent)
        try:
            yield shown, previews
        except BaseException:
            self._shown -= fresh
            if spent in self._spent:
                self._spent.remove(spent)
            raise

    async def show_to_view(self, client: ChatClient, pictures: Sequence[Showable], max_edge: int) -> CallToolResult:
        """Pictures for a person's eyes: each as large as asked, as far as all fit; what the model has seen stays.

        Their ids in the order of the blocks stand in ``_meta``.
        """
        policy = self.get_policy(client).replace(max_outputs=len(pictures), max_edge=max_edge, shows_pictures=True)
        policy = policy.replace(max_tokens=_ANY, window_tokens=_ANY)
        planned = plan_attachments((), pictures, (), policy)
        sources, data = {picture.id: picture.source for picture in pictures}, _describe_for_view((), pictures, {})
        encode = partial(_encode, planned, sources, policy, _count_data(data, pictures))
        shown, previews = await anyio.to_thread.run_sync(encode)
        data["blocks"] = [list(slot.ids) for slot in previews]
        return CallToolResult(
            content=[TextContent(text=describe_budget(shown, policy)), *map(build_image, previews.values())],
            _meta=_wrap(data),
        )

    def _describe_address(self, pictures: Sequence[Showable]) -> str:
        """Where the pictures of a result are for who does not share the server's disk; a line, or nothing."""
        ids = [picture.id for picture in pictures if parse_id(picture.id)]
        if not self.images or not ids:
            return ""
        return f"\nopen: {self.images}{ids[0] if len(ids) == 1 else '<id>'}"

    def choose_preparation(self, client: ChatClient, preview: PreviewMode | None) -> Prepare | None:
        """What makes the previews that a call's pictures most likely get; None when they are most likely not shown."""
        policy = self._choose_policy(client, None, preview)
        return partial(_prepare, policy) if policy.shows_pictures else None

    def _choose_policy(self, client: ChatClient, seen: bool | None, preview: PreviewMode | None) -> Policy:
        """What is known of the client, after what its model proved, after what the user said."""
        policy = self.get_policy(client)
        if seen:
            policy = policy.replace(shows_pictures=True, model_sees=True)
        return policy.with_preview(preview or self.studio.settings.preview)

    def get_policy(self, client: ChatClient) -> Policy:
        """What is known of the client, after what the user set."""
        policy = find_policy(client.name, client.version, client.model)
        return policy.replace(**self.studio.settings.attachments)

    def _settle_policy(
        self, client: ChatClient, seen: bool | None, preview: PreviewMode | None, limits: Mapping[str, int]
    ) -> Policy:
        """The policy of one call, with its own limits, and care where pictures might come to the model as text."""
        policy = self._choose_policy(client, seen, preview).replace(**limits)
        return policy.with_care() if self._needs_care(client, policy, seen, preview) else policy

    def _needs_care(self, client: ChatClient, policy: Policy, seen: bool | None, preview: PreviewMode | None) -> bool:
        """Whether pictures might come to the model as text: nothing proven by it, and nothing set by the user.

        A call may ask a client for pictures that is known to pass none on: the model wrote it, not the user.
        """
        settings = self.studio.settings
        if seen or settings.attachments or settings.preview == "always" or not policy.shows_pictures:
            return False
        if settings.preview == "never" or not self.get_policy(client).shows_pictures:
            return True
        return not policy.is_known

    async def record_sight(self, client: ChatClient, seen: bool) -> None:
        """Keeps whether the model behind a client proved that it sees; raises ``StorageError`` when it cannot."""
        if client.name.casefold() in _SHARED_NAMES:
            self._sight = seen
        else:
            await self.studio.gallery.record_vision(client.label, seen)

    async def _find_sight(self, client: ChatClient) -> bool | None:
        if client.name.casefold() in _SHARED_NAMES:
            return self._sight
        return await self.studio.gallery.find_vision(client.label)

    async def _describe(self, previews: Mapping[Slot, Preview], policy: Policy, started: float | None) -> Sequence[str]:
        """What another model says of the pictures, as far as it does while the client still waits."""
        from drawthings_mcp.attachments.describe import Description, describe_previews
        from drawthings_mcp.web.endpoint import Endpoint

        settings = self.studio.settings
        try:
            endpoint = Endpoint(settings.vision_url, settings.vision_model, settings.vision_key.get_secret_value())
        except InvalidInputError as error:
            return [Description(slot.ids, None, problem=error).word(MCP) for slot in previews]
        waited = 0.0 if started is None else anyio.current_time() - started
        patience = (policy.timeout or USUAL_TIMEOUT) - waited
        seconds = min(max(patience - _FOR_THE_WAY, _LEAST_DESCRIBING), _MOST_DESCRIBING)
        described = await describe_previews(endpoint, tuple(previews.items()), timeout=seconds)
        return [description.word(MCP) for description in described]


def _describe_for_view(
    inputs: Sequence[Showable], outputs: Sequence[Showable], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """What a view shows: the outputs, the ids of what they were made from, and the facts of the call."""
    return {"pictures": list(map(describe_picture, outputs)), "inputs": [picture.id for picture in inputs], **facts}


def describe_picture(picture: Showable) -> dict[str, Any]:
    """A picture as views know it, with how it was made where the library knows that."""
    described: dict[str, Any] = {"id": picture.id, "size": list(picture.size)}
    record = getattr(picture, "record", picture)
    if not isinstance(record, ImageRecord):
        return described
    # Of pictures that were not made here the prompt is a text of others.
    prompt = shorten_text(record.prompt, _MAX_PROMPT) if record.server else quote(record.prompt, _MAX_PROMPT)
    seed = {} if record.seed is None else {"seed": record.seed}
    made = {
        "model": record.model and label(record.model),
        "prompt": record.prompt and prompt,
        "simulated": record.simulated,
    }
    return {**described, **seed, **{name: value for name, value in made.items() if value}}


def _wrap(data: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if data is None else {VIEW_KEY: data}


def _count_data(data: dict[str, Any], pictures: Sequence[Showable]) -> int:
    """Characters of what a view gets, with the ids of all that is shown."""
    return len(json.dumps(_wrap({**data, "blocks": [[picture.id] for picture in pictures]}))) + _AROUND


def _prepare(policy: Policy, picture: ImageLike) -> PreparedPicture:
    from drawthings_mcp.attachments.preview import prepare_picture

    return prepare_picture(picture, policy.max_edge, policy.quality)


def _encode(
    plan: AttachmentPlan, sources: Mapping[str, ImageLike | PreparedPicture], policy: Policy, reserved: int
) -> tuple[AttachmentPlan, dict[Slot, Preview]]:
    from drawthings_mcp.attachments.encoding import count_result, encode

    # The longest text there is, were each of its characters to be escaped.
    return encode(plan, sources, policy, reserved_characters=count_result('"' * MAX_TEXT) + reserved)


def build_image(preview: Preview) -> ImageContent:
    """A preview as a block of a result."""
    return ImageContent(data=base64.b64encode(preview.data).decode(), mime_type=preview.mime_type)


def _build_link(record: ImageRecord) -> ResourceLink:
    """A link to the original of a picture; for the person, since it costs a model tokens and tells it nothing new."""
    name = record.path.name if record.path is not None else record.id
    return ResourceLink(
        uri=f"image://{record.id}",
        name=name,
        mime_type=find_mime_type(record.format),
        size=record.size_bytes or None,
        annotations=Annotations(audience=["user"]),
    )
