"""One generation from arguments to saved images: model, settings, guard, queue, run, save."""

from drawthings_mcp.params import GenerateArguments, ImageFormat, Mode
from drawthings_mcp.studio.background import background_tasks, load_room
from drawthings_mcp.studio.dry_run import describe_dry_run
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.jobs import Job, JobCancelledError, Jobs
from drawthings_mcp.studio.results import (
    CatalogListing,
    CatalogRow,
    DryRun,
    FoundPictures,
    GenerationResult,
    MadePicture,
    Original,
    Picture,
    SavedVariant,
)
from drawthings_mcp.studio.studio import HEARTBEAT_SECONDS, Studio, open_studio

__all__ = [
    "HEARTBEAT_SECONDS",
    "CatalogListing",
    "CatalogRow",
    "DryRun",
    "FoundPictures",
    "GenerateArguments",
    "GenerationResult",
    "ImageFormat",
    "Job",
    "JobCancelledError",
    "Jobs",
    "MadePicture",
    "Mode",
    "Original",
    "Picture",
    "Report",
    "SavedVariant",
    "Studio",
    "background_tasks",
    "describe_dry_run",
    "load_room",
    "open_studio",
]
