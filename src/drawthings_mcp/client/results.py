"""Payloads of one pass → result images, each with the configuration that reproduces it."""

from __future__ import annotations

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
