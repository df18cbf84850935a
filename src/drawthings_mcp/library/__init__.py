"""The user's pictures on disk, and the catalog that gives them ids."""

from drawthings_mcp.library.catalog import ImageCatalog, ImageRecord, Kind
from drawthings_mcp.library.naming import file_stem
from drawthings_mcp.library.originals import save_image

__all__ = ["ImageCatalog", "ImageRecord", "Kind", "file_stem", "save_image"]
