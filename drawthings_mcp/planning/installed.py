"""What a server has, as far as it tells: its catalog, or answers about single files.

Knows no request and no facts about files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drawthings_mcp.catalog import Catalog
from drawthings_mcp.generation import ImageGenerationConfig

DEPTH_ESTIMATOR = "depth_anything_v2.0_f16.ckpt"
"""What a server needs to make a depth map of a picture (protocol §5.3)."""
EDGE_DETECTOR = "hed_f16.ckpt"
"""What a server needs to make a scribble or soft edges of a picture (protocol §5.3)."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What a server has.

    Attributes
    ----------
    catalog
        None when the server does not let its models be browsed.
    files
        Whether it has single files, as asked by ``files_exist``; goes before the catalog.
    """

    catalog: Catalog | None = None
    files: Mapping[str, bool] = field(default_factory=dict)

    def has(self, file: str) -> bool | None:
        """Whether a file is there; None when nobody knows."""
        if file in self.files:
            return self.files[file]
        if self.catalog is None:
            return None
        return file in self.catalog.files or any(entry.file == file for entry in self.catalog)


def list_files(configuration: ImageGenerationConfig) -> tuple[str, ...]:
    """The files to ask a server about before a configuration is checked, when it does not list what it has."""
    named = (
        configuration.model,
        configuration.refiner_model,
        configuration.upscaler,
        configuration.face_restoration,
        *(lora.file for lora in configuration.loras),
        *(control.file for control in configuration.controls),
    )
    detectors = (DEPTH_ESTIMATOR, EDGE_DETECTOR) if configuration.controls else ()
    return tuple(dict.fromkeys(file for file in (*named, *detectors) if file))
