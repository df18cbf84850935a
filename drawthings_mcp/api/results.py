"""What comes back from one pass beside what was asked for: the configuration of each image, and its size."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import DrawThingsWarning, InvalidInputError
from drawthings_mcp.generation import ImageGenerationConfig, SeedMode, list_batch_seeds

_LAYERED = "qwen_image_layered"
"""Models of which the batch size is the number of layers of one picture (protocol §2.1, slot 10)."""


def list_result_configurations(configuration: ImageGenerationConfig, count: int) -> list[ImageGenerationConfig]:
    """The configuration that reproduces each image of a pass, in order.

    An image of a batch has a seed of its own only where the server seeds each one (protocol §2.4). All others, and
    the frames of a video, come only from the pass as it was sent.

    Parameters
    ----------
    configuration
        As it was sent.
    count
        Images that came back.
    """
    sent = configuration.replace(batch_count=1)
    if not _seeds_each_image(configuration, count):
        return [sent] * count
    return [sent.replace(seed=seed, batch_size=1) for seed in list_batch_seeds(configuration.seed, count)]


def _seeds_each_image(configuration: ImageGenerationConfig, count: int) -> bool:
    return (
        configuration.seed_mode is SeedMode.ScaleAlike
        and count == configuration.batch_size
        and not configuration.model.startswith(_LAYERED)
    )


def warn_about_size(configuration: ImageGenerationConfig, pixels: NDArray[np.uint8], upscale_factor: int) -> None:
    """Warns when an image is not of the size that was asked for; it is passed on as it came.

    Parameters
    ----------
    pixels
        ``(H, W, C)``.
    upscale_factor
        By how much the server says that it enlarged the image.
    """
    wanted = (configuration.width * upscale_factor, configuration.height * upscale_factor)
    size = (pixels.shape[1], pixels.shape[0])
    if size != wanted:
        warnings.warn(
            f"The server returned {size[0]}x{size[1]} instead of {wanted[0]}x{wanted[1]}. Another model may have been "
            "used, or this one has sizes of its own; compare model and size with the server's log.",
            DrawThingsWarning,
            stacklevel=2,
        )


def check_target(output_dir: str | Path, prefix: str) -> Path:
    """The folder to save in.

    Raises
    ------
    InvalidInputError
        The prefix is not the beginning of a file's name.
    """
    if not prefix or Path(prefix).name != prefix:
        raise InvalidInputError(f"prefix: must be the beginning of a file's name without folders, got {prefix!r}.")
    return Path(output_dir).expanduser()
