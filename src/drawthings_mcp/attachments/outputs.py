"""A plan → the previews that a tool result carries, all together within its limit.

Owns the way down the ladder for several pictures at once. Knows no messages: the caller says how many
characters the rest of the result takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from drawthings_mcp.attachments.budget import OutputPlan, Policy, plan_outputs
from drawthings_mcp.attachments.preview import Preview, Rung, encode_rung, list_rungs
from drawthings_mcp.attachments.sheet import compose_sheet
from drawthings_mcp.tensors import ImageLike, ensure_pixels


@dataclass(frozen=True, slots=True)
class Attachment:
    """One preview and the ids it shows; several ids on a contact sheet."""

    ids: tuple[str, ...]
    preview: Preview

    @property
    def data(self) -> bytes:
        """The preview's file."""
        return self.preview.data

    @property
    def mime_type(self) -> str:
        """``image/jpeg`` or ``image/png``."""
        return self.preview.mime_type


def attach_outputs(
    originals: Sequence[tuple[str, ImageLike]], policy: Policy, reserved_characters: int
) -> list[Attachment]:
    """Previews of the outputs of a run, singles first, then the contact sheet if there is one.

    All of them go down the ladder together until they fit. When even its last rung is too much, the newest
    are kept.

    Parameters
    ----------
    originals
        Id and picture, oldest first.
    reserved_characters
        What the rest of the result takes: its text, the envelope of each block.

    Returns
    -------
    list[Attachment]
        Their characters and the reserved ones together are at most ``policy.max_characters``; empty when
        nothing fits. What is not shown is told by ``list_missing``.

    Raises
    ------
    InvalidImageError
        A picture cannot be read.
    """
    plan = plan_outputs([name for name, _ in originals], policy)
    shown = {*plan.singles, *plan.sheet}
    pictures = {name: ensure_pixels(picture) for name, picture in originals if name in shown}
    available = policy.max_characters - reserved_characters
    attachments: list[Attachment] = []
    for rung in list_rungs(policy.max_edge, policy.quality):
        attachments = list(_encode_plan(plan, pictures, rung))
        if sum(attachment.preview.characters for attachment in attachments) <= available:
            return attachments
    return _keep_newest(attachments, available)


def list_missing(ids: Iterable[str], attachments: Iterable[Attachment]) -> tuple[str, ...]:
    """The ids that none of the attachments shows, in order."""
    shown = {name for attachment in attachments for name in attachment.ids}
    return tuple(name for name in ids if name not in shown)


def _encode_plan(plan: OutputPlan, pictures: Mapping[str, ImageLike], rung: Rung) -> Iterator[Attachment]:
    for name in plan.singles:
        yield Attachment((name,), encode_rung(pictures[name], rung))
    if plan.sheet:
        sheet = compose_sheet([(name, pictures[name]) for name in plan.sheet], rung.max_edge)
        yield Attachment(plan.sheet, encode_rung(sheet, rung))


def _keep_newest(attachments: list[Attachment], available: int) -> list[Attachment]:
    """Those that fit: singles from the newest on, then the sheet, which holds the oldest."""
    kept = []
    singles = [attachment for attachment in attachments if len(attachment.ids) == 1]
    sheets = [attachment for attachment in attachments if len(attachment.ids) > 1]
    for attachment in [*reversed(singles), *sheets]:
        if attachment.preview.characters <= available:
            available -= attachment.preview.characters
            kept.append(attachment)
    return [attachment for attachment in attachments if attachment in kept]
