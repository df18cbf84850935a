"""The Python face: clients that generate, decode and save, and ``generate_image`` for a first try."""

from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.api.blocking import DrawThingsClient
from drawthings_mcp.api.collect import EventCallback
from drawthings_mcp.api.one_call import generate_image
from drawthings_mcp.api.results import list_result_configurations
from drawthings_mcp.api.videos import SavedVideo

__all__ = [
    "AsyncDrawThingsClient",
    "DrawThingsClient",
    "EventCallback",
    "SavedVideo",
    "generate_image",
    "list_result_configurations",
]
