"""Which pictures a model gets to see, and the previews it sees."""

from drawthings_mcp.attachments.budget import OutputPlan, Policy, plan_outputs
from drawthings_mcp.attachments.outputs import Attachment, attach_outputs, list_missing
from drawthings_mcp.attachments.preview import Preview, encode_preview
from drawthings_mcp.attachments.sheet import compose_sheet

__all__ = [
    "Attachment",
    "OutputPlan",
    "Policy",
    "Preview",
    "attach_outputs",
    "compose_sheet",
    "encode_preview",
    "list_missing",
    "plan_outputs",
]
