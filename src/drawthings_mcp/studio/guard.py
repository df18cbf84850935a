"""Refuses what a server would crash on, or would silently do in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawthings_mcp.catalog import Catalog, Model
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.studio.abilities import describe_abilities, list_modes

if TYPE_CHECKING:
    from drawthings_mcp.client import AsyncDrawThingsClient


def check_text_to_image(model: Model) -> None:
    """Refuses a model that needs more than a text.

    Raises
    ------
    InvalidInputError
        The model edits, repaints, restores or makes video.
    """
    if "text2image" not in list_modes(model):
        raise InvalidInputError(
            f"{model.file} does not make pictures from text alone (it does: {describe_abilities(model)}). "
            "Leave model out to have one chosen, or pick another with list_models."
        )


async def check_files(
    configuration: ImageGenerationConfig, client: AsyncDrawThingsClient, catalog: Catalog | None
) -> None:
    """Refuses a configuration that names files which the server lacks: it would use others, or none.

    Raises
    ------
    InvalidInputError
        Lists what is missing.
    """
    files = _list_files(configuration)
    if catalog is not None:
        missing = [file for file in files if file not in catalog.files]
    else:
        missing = [file for file, there in (await client.files_exist(files)).items() if not there]
    if missing:
        raise InvalidInputError(
            f"The server lacks {', '.join(missing)}. Download what is missing in Draw Things, or pick another model."
        )


def _list_files(configuration: ImageGenerationConfig) -> list[str]:
    files = [
        configuration.model,
        configuration.refiner_model,
        configuration.upscaler,
        configuration.face_restoration,
        *(lora.file for lora in configuration.loras),
        *(control.file for control in configuration.controls),
    ]
    return [file for file in dict.fromkeys(files) if file]
