"""One generation from arguments to saved images: model, settings, guard, queue, run, save."""

from drawthings_mcp.params import GenerateArguments, ImageFormat, Mode
from drawthings_mcp.studio.background import background_tasks, load_room
from drawthings_mcp.studio.dry_run import describe_dry_run
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.hits import describe_hit, describe_page
from drawthings_mcp.studio.jobs import Job, JobCancelledError, Jobs
from drawthings_mcp.studio.results import (
    CatalogListing,
    CatalogRow,
    DryRun,
    FoundPictures,
    GenerationResult,
    Hit,
    HitPage,
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
    "Hit",
    "HitPage",
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
    "describe_hit",
    "describe_page",
    "load_room",
    "open_studio",
]
