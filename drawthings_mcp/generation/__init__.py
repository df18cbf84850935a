"""The values of a request: configuration, LoRA, control, enums, request, result image."""

from drawthings_mcp.generation.configuration import (
    ControlNetConfig,
    ImageGenerationConfig,
    LoRAConfig,
)
from drawthings_mcp.generation.enums import (
    ColorCalibration,
    CompressionMethod,
    ControlInputType,
    ControlMode,
    HintType,
    LoRAMode,
    SamplerType,
    SeedMode,
)
from drawthings_mcp.generation.request import (
    GenerationRequest,
    Hint,
    HintTensor,
    ResultImage,
    draw_seed,
    list_batch_seeds,
    next_seed,
)
from drawthings_mcp.generation.video import find_audio_rate, frame_rate

__all__ = [
    "ColorCalibration",
    "CompressionMethod",
    "ControlInputType",
    "ControlMode",
    "ControlNetConfig",
    "GenerationRequest",
    "Hint",
    "HintTensor",
    "HintType",
    "ImageGenerationConfig",
    "LoRAConfig",
    "LoRAMode",
    "ResultImage",
    "SamplerType",
    "SeedMode",
    "draw_seed",
    "find_audio_rate",
    "frame_rate",
    "list_batch_seeds",
    "next_seed",
]
