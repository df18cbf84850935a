"""Where pictures are: one kind of place per file, all with the contract of ``entry.Source``."""

from drawthings_mcp.search.sources.choose import choose_sources

__all__ = ["choose_sources"]
