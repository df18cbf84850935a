"""Pictures are found by what is meant, when the user has an endpoint for embeddings."""

from drawthings_mcp.search.embeddings.embedding import embed_texts
from drawthings_mcp.search.embeddings.phase import run_meaning
from drawthings_mcp.search.embeddings.vectors import Meanings

__all__ = ["Meanings", "embed_texts", "run_meaning"]
