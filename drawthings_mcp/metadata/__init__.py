"""What pictures say about how they were made: one dialect per file."""

from drawthings_mcp.metadata.draw_things import ImageMetadata, build_made_metadata, build_metadata, read_metadata
from drawthings_mcp.metadata.draw_things_keys import ModelKind
from drawthings_mcp.metadata.facts import ImageFacts
from drawthings_mcp.metadata.reading import read_facts, read_facts_from
from drawthings_mcp.tensors.png import encode_png

__all__ = [
    "ImageFacts",
    "ImageMetadata",
    "ModelKind",
    "build_made_metadata",
    "build_metadata",
    "encode_png",
    "read_facts",
    "read_facts_from",
    "read_metadata",
]
