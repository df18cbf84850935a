"""How pictures look: features, colours, and finding what looks alike."""

from drawthings_mcp.search.visual.gallery import Gallery, Likeness
from drawthings_mcp.search.visual.look import Look, measure_look

__all__ = ["Gallery", "Likeness", "Look", "measure_look"]
