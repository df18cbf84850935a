"""Everything that a server does not survive or silently does otherwise, one small function for each, by subject."""

from drawthings_mcp.planning.rules.controls import CONTROL_RULES
from drawthings_mcp.planning.rules.files import FILE_RULES
from drawthings_mcp.planning.rules.pictures import PICTURE_RULES
from drawthings_mcp.planning.rules.rule import Rule, apply_rules
from drawthings_mcp.planning.rules.sampling import SAMPLING_RULES
from drawthings_mcp.planning.rules.video import VIDEO_RULES

CONTENT_RULES = (*PICTURE_RULES, *CONTROL_RULES, *SAMPLING_RULES, *VIDEO_RULES)
"""Rules that may look at pictures, which have the form that they need."""

RULES = (*FILE_RULES, *CONTENT_RULES)
"""All rules, in the order in which they are worth telling."""

__all__ = ["CONTENT_RULES", "FILE_RULES", "RULES", "Rule", "apply_rules"]
