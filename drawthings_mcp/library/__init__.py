"""The user's pictures on disk, and the catalog that gives them ids."""

from drawthings_mcp.library.animation import Container, find_container, save_animation
from drawthings_mcp.library.audio import Sound, save_audio
from drawthings_mcp.library.catalog import ImageCatalog, is_in_place
from drawthings_mcp.library.frames import FrameSet, save_frames
from drawthings_mcp.library.inputs import keep_input
from drawthings_mcp.library.naming import file_stem
from drawthings_mcp.library.new_files import check_folder
from drawthings_mcp.library.opening import hash_file, open_original, open_unchanged
from drawthings_mcp.library.originals import SavedFile, save_image, save_made
from drawthings_mcp.library.rebuild import MADE_FOLDER, RESCUE_FOLDER, OpenedCatalog, open_catalog
from drawthings_mcp.library.records import ImageFacts, ImageRecord, Kind, Parent, Role, parse_id
from drawthings_mcp.library.recovery import read_own, reconcile, recover_file

__all__ = [
    "MADE_FOLDER",
    "RESCUE_FOLDER",
    "Container",
    "FrameSet",
    "ImageCatalog",
    "ImageFacts",
    "ImageRecord",
    "Kind",
    "OpenedCatalog",
    "Parent",
    "Role",
    "SavedFile",
    "Sound",
    "check_folder",
    "file_stem",
    "find_container",
    "hash_file",
    "is_in_place",
    "keep_input",
    "open_catalog",
    "open_original",
    "open_unchanged",
    "parse_id",
    "read_own",
    "reconcile",
    "recover_file",
    "save_animation",
    "save_audio",
    "save_frames",
    "save_image",
    "save_made",
]
