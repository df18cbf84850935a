"""Pictures are found by what is meant, when the user has an endpoint for embeddings."""

from drawthings_mcp.search.meaning.embedding import embed_texts
from drawthings_mcp.search.meaning.phase import run_meaning
from drawthings_mcp.search.meaning.vectors import Meanings

__all__ = ["Meanings", "embed_texts", "run_meaning"]
