"""Which pictures a model gets to see, and the previews it sees (contract §6).

``plan`` decides by ids and sizes, ``encode`` makes the previews, ``describe_budget`` says what became of each picture.
What is listed here is imported when it is first used: planning does without Pillow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawthings_mcp.late import import_late

if TYPE_CHECKING:
    from drawthings_mcp.attachments.budget import Candidate, Hidden, Place, Plan, Reason, Role, plan
    from drawthings_mcp.attachments.describe import Description, describe_attachments
    from drawthings_mcp.attachments.encoding import Attachment, encode
    from drawthings_mcp.attachments.ledger import Ledger
    from drawthings_mcp.attachments.policy import Policy, PreviewMode, find_policy
    from drawthings_mcp.attachments.preview import encode_preview
    from drawthings_mcp.attachments.sheet import compose_sheet
    from drawthings_mcp.attachments.size_steps import Preview, count_result
    from drawthings_mcp.attachments.vision_check import check_sight, draw_sight, new_code
    from drawthings_mcp.attachments.wording import describe_budget

__all__ = [
    "Attachment",
    "Candidate",
    "Description",
    "Hidden",
    "Ledger",
    "Place",
    "Plan",
    "Policy",
    "Preview",
    "PreviewMode",
    "Reason",
    "Role",
    "check_sight",
    "compose_sheet",
    "count_result",
    "describe_attachments",
    "describe_budget",
    "draw_sight",
    "encode",
    "encode_preview",
    "find_policy",
    "new_code",
    "plan",
]

_HOMES = {
    "budget": ("Candidate", "Hidden", "Place", "Plan", "Reason", "Role", "plan"),
    "describe": ("Description", "describe_attachments"),
    "encoding": ("Attachment", "encode"),
    "size_steps": ("Preview", "count_result"),
    "ledger": ("Ledger",),
    "policy": ("Policy", "PreviewMode", "find_policy"),
    "preview": ("encode_preview",),
    "sheet": ("compose_sheet",),
    "vision_check": ("check_sight", "draw_sight", "new_code"),
    "wording": ("describe_budget",),
}

__getattr__ = import_late(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
