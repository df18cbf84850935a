"""A configuration → one per pass, each with its seed."""

from __future__ import annotations

from drawthings_mcp.generation import ImageGenerationConfig, draw_seed, list_batch_seeds


def list_passes(configuration: ImageGenerationConfig) -> list[ImageGenerationConfig]:
    """The configurations of all passes, in order; a seed of -1 is drawn.

    Servers ignore ``batch_count`` (protocol §2.4). No seed occurs twice: a pass begins with the seed that follows the
    last image of the one before.
    """
    seed = draw_seed() if configuration.seed == -1 else configuration.seed
    images = configuration.batch_count * configuration.batch_size
    seeds = list_batch_seeds(seed, images)[:: configuration.batch_size]
    return [configuration.replace(seed=seed, batch_count=1) for seed in seeds]
