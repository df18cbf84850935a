"""A plan → the previews that a tool result carries, all together within its limit.

Of messages only the length matters: the caller says how many characters the rest of the result takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from PIL import Image

from drawthings_mcp.attachments.budget import AttachmentPlan, Reason, Slot
from drawthings_mcp.attachments.grid import fit_size
from drawthings_mcp.attachments.policy import Policy
from drawthings_mcp.attachments.preview import (
    PreparedPicture,
    Preview,
    SizeStep,
    encode_step,
    list_size_steps,
    open_small,
)
from drawthings_mcp.attachments.sheet import compose_sheet
from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.tensors.pixels import ImageLike

_HEAD_START = 2
"""Steps that inputs stand below outputs when bytes run short: what is new matters more than what is known."""
_USUAL_SHRINKING = 2 / 3
"""Bytes of a preview at the next size step, as a share of those at this one."""
_HOPE = 1.25
"""A step is left out when the previews are expected to take more than so many times the room that there is."""


def count_block(preview: Preview) -> int:
    """Characters of a picture's content block in a result: its base64, the JSON around it, the comma before it."""
    block = {"type": "image", "data": "", "mimeType": preview.mime_type}
    return len(_dump(block)) + preview.characters + 1


def count_result(text: str, previews: Iterable[Preview] = ()) -> int:
    """Characters of a whole tool result as it goes over the wire: one text block, then the pictures.

    Without previews it is what the rest of the result takes, to be reserved before any picture is encoded.
    """
    result = {"content": [{"type": "text", "text": text}], "isError": False, "resultType": "complete"}
    return len(_dump(result)) + sum(map(count_block, previews))


def encode(
    plan: AttachmentPlan,
    pictures: Mapping[str, ImageLike | PreparedPicture],
    policy: Policy,
    reserved_characters: int,
) -> tuple[AttachmentPlan, dict[Slot, Preview]]:
    """The previews of a plan, all of them made smaller together until they fit; see ``fit_previews``.

    Parameters
    ----------
    pictures
        Id → picture, at least for all that the plan shows; files are read here, one at a time.
    reserved_characters
        What the rest of the result takes: ``count_result`` of its text.

    Returns
    -------
    tuple[AttachmentPlan, dict[Slot, Preview]]
        The plan as it turned out, with the true size of each preview, and the preview of each of its slots in the same
        order. What cannot be read or found no room is hidden. Together with the reserved characters they are at most
        ``policy.max_characters``, and they cost at most ``policy.token_limit``, or there are none.
    """
    images, unreadable = _open_pictures(plan, pictures, policy.max_edge)
    plan = plan.hide(unreadable, Reason.UNREADABLE)

    def make(slot: Slot, step: SizeStep) -> Preview:
        first = pictures[slot.ids[0]]
        if isinstance(first, PreparedPicture) and first.step == step and not slot.is_sheet:
            return first.preview
        shown = [(name, images[name]) for name in slot.ids]
        return encode_step(compose_sheet(shown, step.max_edge) if slot.is_sheet else shown[0][1], step)

    previews = fit_previews(plan, make, policy, policy.max_characters - reserved_characters)
    crowded_out = [name for slot in plan.slots if slot not in previews for name in slot.ids]
    made = {_measure(slot, preview, policy): preview for slot, preview in previews.items()}
    return AttachmentPlan(tuple(made), plan.hide(crowded_out, Reason.TOO_LARGE).hidden), made


def fit_previews(
    plan: AttachmentPlan, make: Callable[[Slot, SizeStep], Preview], policy: Policy, available: int
) -> Mapping[Slot, Preview]:
    """The best previews that fit together.

    All go down the size steps, inputs a little ahead of outputs; steps at which they would be far too large are left
    out. When even the last step is too much, the outputs are kept from the newest on, then the contact sheet, then the
    inputs, as far as there is room.

    Parameters
    ----------
    make
        Makes the preview of a slot for a step; asked again for the same only when it has to be.
    available
        Characters for all blocks together.

    Returns
    -------
    Mapping[Slot, Preview]
        The sum of ``count_block`` of its previews is at most ``available``, that of their tokens at most
        ``policy.token_limit``; slots that found no room are absent.
    """
    steps = tuple(list_size_steps(policy.max_edge, policy.quality))
    last = len(steps) - 1 + _HEAD_START

    slots = _choose_affordable(plan, policy, steps[-1])

    def find_step(slot: Slot, turn: int) -> int:
        return min(max(0, turn - _HEAD_START * slot.is_output), len(steps) - 1)

    made: dict[Slot, tuple[int, Preview]] = {}

    def expect(turn: int) -> float:
        return sum(
            count_block(preview) * _USUAL_SHRINKING ** (find_step(slot, turn) - step)
            for slot, (step, preview) in made.items()
        )

    def count_tokens(turn: int) -> int:
        return sum(_expect_tokens(slot, steps[find_step(slot, turn)], policy) for slot in slots)

    def is_hopeful(turn: int) -> bool:
        return count_tokens(turn) <= policy.token_limit and expect(turn) <= available * _HOPE

    turn = next(filter(is_hopeful, range(last)), last)
    while True:
        for slot in slots:
            step = find_step(slot, turn)
            if slot not in made or made[slot][0] != step:
                made[slot] = step, make(slot, steps[step])
        previews = {slot: preview for slot, (_, preview) in made.items()}
        characters = sum(map(count_block, previews.values()))
        tokens = sum(_count_tokens(preview, policy) for preview in previews.values())
        if characters <= available and tokens <= policy.token_limit:
            return previews
        if turn == last:
            return _keep_foremost(plan, previews, policy, available)
        turn = next(filter(is_hopeful, range(turn + 1, last)), last)


def _count_tokens(preview: Preview, policy: Policy) -> int:
    return policy.counting.count((preview.width, preview.height))


def _expect_tokens(slot: Slot, step: SizeStep, policy: Policy) -> int:
    return policy.counting.count(fit_size(slot.size, step.max_edge))


def _list_foremost(plan: AttachmentPlan) -> Iterator[Slot]:
    """What matters most first: outputs from the newest on, their sheet, inputs."""
    yield from (slot for slot in reversed(plan.outputs) if not slot.is_sheet)
    yield from (slot for slot in plan.outputs if slot.is_sheet)
    yield from plan.inputs


def _choose_affordable(plan: AttachmentPlan, policy: Policy, smallest: SizeStep) -> list[Slot]:
    """What the tokens are enough for: some models count the same for every size, so that going down does not help."""
    kept, tokens = set(), policy.token_limit
    for slot in _list_foremost(plan):
        cost = _expect_tokens(slot, smallest, policy)
        if cost <= tokens:
            tokens -= cost
            kept.add(slot)
    return [slot for slot in plan.slots if slot in kept]


def _keep_foremost(
    plan: AttachmentPlan, previews: Mapping[Slot, Preview], policy: Policy, available: int
) -> dict[Slot, Preview]:
    kept, tokens = set(), policy.token_limit
    for slot in filter(previews.__contains__, _list_foremost(plan)):
        size, cost = count_block(previews[slot]), _count_tokens(previews[slot], policy)
        if size <= available and cost <= tokens:
            available, tokens = available - size, tokens - cost
            kept.add(slot)
    return {slot: preview for slot, preview in previews.items() if slot in kept}


def _open_pictures(
    plan: AttachmentPlan, pictures: Mapping[str, ImageLike | PreparedPicture], max_edge: int
) -> tuple[dict[str, Image.Image], list[str]]:
    """Small copies of what can be read, and the ids of what cannot."""
    images, unreadable = {}, []
    for name in plan.shown:
        try:
            images[name] = open_small(pictures[name], max_edge)
        except InvalidImageError:
            unreadable.append(name)
    return images, unreadable


def _measure(slot: Slot, preview: Preview, policy: Policy) -> Slot:
    return replace(slot, size=(preview.width, preview.height), tokens=_count_tokens(preview, policy))


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
