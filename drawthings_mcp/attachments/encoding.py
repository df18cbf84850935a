"""A plan → the previews that a tool result carries, all together within its limit.

Owns the way from ids to files that a message can take. Knows no messages: the caller says how many characters the rest
of the result takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from PIL import Image

from drawthings_mcp.attachments.budget import Place, Plan, Reason
from drawthings_mcp.attachments.policy import Policy
from drawthings_mcp.attachments.preview import encode_rung, open_small
from drawthings_mcp.attachments.sheet import compose_sheet
from drawthings_mcp.attachments.size_steps import Preview, Rung, descend
from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.tensors.pixels import ImageLike


@dataclass(frozen=True, slots=True)
class Attachment:
    """A preview and the place of the plan that it fills."""

    place: Place
    preview: Preview

    @property
    def ids(self) -> tuple[str, ...]:
        """What it shows; several on a contact sheet."""
        return self.place.ids


def encode(
    plan: Plan, pictures: Mapping[str, ImageLike], policy: Policy, reserved_characters: int
) -> tuple[Plan, tuple[Attachment, ...]]:
    """The previews of a plan.

    All of them go down the ladder together until they fit, see ``ladder.descend``.

    Parameters
    ----------
    pictures
        Id → picture, at least for all that the plan shows; files are read here, one at a time.
    reserved_characters
        What the rest of the result takes: ``count_result`` of its text.

    Returns
    -------
    tuple[Plan, tuple[Attachment, ...]]
        The plan as it turned out, with the true size of each preview, and one attachment for each of its places in the
        same order. What cannot be read or found no room is hidden. Together with the reserved characters they are at
        most ``policy.max_characters``, or there are none.
    """
    images, unreadable = _open_pictures(plan, pictures, policy.max_edge)
    plan = plan.hide(unreadable, Reason.UNREADABLE)

    def make(place: Place, rung: Rung) -> Preview:
        shown = [(name, images[name]) for name in place.ids]
        return encode_rung(compose_sheet(shown, rung.max_edge) if place.is_sheet else shown[0][1], rung)

    previews = descend(plan.places, make, policy, policy.max_characters - reserved_characters)
    crowded_out = [name for place in plan.places if place not in previews for name in place.ids]
    attachments = tuple(_attach(place, preview, policy) for place, preview in previews.items())
    hidden = plan.hide(crowded_out, Reason.TOO_LARGE).hidden
    return Plan(tuple(attachment.place for attachment in attachments), hidden), attachments


def _open_pictures(
    plan: Plan, pictures: Mapping[str, ImageLike], max_edge: int
) -> tuple[dict[str, Image.Image], list[str]]:
    """Small copies of what can be read, and the ids of what cannot."""
    images, unreadable = {}, []
    for name in plan.shown:
        try:
            images[name] = open_small(pictures[name], max_edge)
        except InvalidImageError:
            unreadable.append(name)
    return images, unreadable


def _attach(place: Place, preview: Preview, policy: Policy) -> Attachment:
    size = preview.width, preview.height
    return Attachment(replace(place, size=size, tokens=policy.estimate_tokens(size)), preview)
