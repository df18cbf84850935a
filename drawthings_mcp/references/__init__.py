"""References to images → records of the catalog: ids, paths, data and URLs, checked before they are believed."""

from drawthings_mcp.references.importing import Resolved
from drawthings_mcp.references.parsing import Form, Reference, parse_reference
from drawthings_mcp.references.pixels import hash_pixels, read_pixels
from drawthings_mcp.references.policy import IntakePolicy, build_policy
from drawthings_mcp.references.resolve import resolve_reference

__all__ = [
    "Form",
    "IntakePolicy",
    "Reference",
    "Resolved",
    "build_policy",
    "hash_pixels",
    "parse_reference",
    "read_pixels",
    "resolve_reference",
]
