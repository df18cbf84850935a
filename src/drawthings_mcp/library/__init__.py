"""The user's pictures on disk, and the catalog that gives them ids."""

from drawthings_mcp.library.animation import Container, find_container, save_animation
from drawthings_mcp.library.audio import Sound, save_audio
from drawthings_mcp.library.catalog import ImageCatalog, ImageRecord, Kind
from drawthings_mcp.library.frames import FrameSet, save_frames
from drawthings_mcp.library.naming import file_stem
from drawthings_mcp.library.new_files import check_folder
from drawthings_mcp.library.originals import save_image

__all__ = [
    "Container",
    "FrameSet",
    "ImageCatalog",
    "ImageRecord",
    "Kind",
    "Sound",
    "check_folder",
    "file_stem",
    "find_container",
    "save_animation",
    "save_audio",
    "save_frames",
    "save_image",
]
