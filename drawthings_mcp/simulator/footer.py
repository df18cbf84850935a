"""The small line under a simulated picture that names the settings it was made with."""

from __future__ import annotations

from collections.abc import Mapping

from drawthings_mcp._generated import generation_configuration as fbs

_SAMPLERS: Mapping[int, str] = dict(
    enumerate(
        (
            "DPM++ 2M Karras",
            "Euler Ancestral",
            "DDIM",
            "PLMS",
            "DPM++ SDE Karras",
            "UniPC",
            "LCM",
            "Euler A Substep",
            "DPM++ SDE Substep",
            "TCD",
            "Euler A Trailing",
            "DPM++ SDE Trailing",
            "DPM++ 2M AYS",
            "Euler A AYS",
            "DPM++ SDE AYS",
            "DPM++ 2M Trailing",
            "DDIM Trailing",
            "UniPC Trailing",
            "UniPC AYS",
            "TCD Trailing",
        )
    )
)
"""Names of the samplers as the app shows them (protocol §2.2)."""

_NEGATIVE_CHARACTERS = 40


def write_footer(
    configuration: fbs.GenerationConfigurationT, model: str, negative_prompt: str, seed: int, variation: int
) -> str:
    """Seed, steps, guidance, sampler, model, and the beginning of the negative prompt."""
    parts = [
        f"seed {seed}" + (f" #{variation + 1}" if variation else ""),
        f"{configuration.steps} steps",
        f"guidance {configuration.guidanceScale:g}",
        _SAMPLERS.get(configuration.sampler, f"sampler {configuration.sampler}"),
        model,
    ]
    if negative_prompt:
        parts.append(f"without {negative_prompt[:_NEGATIVE_CHARACTERS]}")
    return "  ·  ".join(parts)
