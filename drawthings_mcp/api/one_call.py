"""A picture in one call, for a first try and for short scripts."""

from __future__ import annotations

from typing import Any, cast

from drawthings_mcp.api.blocking import ClientOptions, DrawThingsClient
from drawthings_mcp.api.collect import EventCallback
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.generation import GeneratedImage, ImageGenerationConfig
from drawthings_mcp.planning import Pictures
from drawthings_mcp.presets.mode_table import choose_model, list_preferred_models, recommended_configuration


def generate_image(
    prompt: str,
    *,
    address: str = "localhost:7859",
    config: ImageGenerationConfig | None = None,
    client_options: ClientOptions | None = None,
    on_event: EventCallback | None = None,
    **options: Any,
) -> list[GeneratedImage]:
    """Connects, makes the pictures of one prompt and disconnects.

    Parameters
    ----------
    config
        Without it the recommended settings of ``model`` are used, or of the model that suits best among those that the
        server has.
    client_options
        Of ``DrawThingsClient``, e.g. ``{"shared_secret": "…"}``.
    on_event
        As for ``DrawThingsClient.generate_image``.
    **options
        Its pictures (``input_image``, ``mask_image``, ``negative_prompt`` …), and fields of ``ImageGenerationConfig``,
        which win over ``config`` and over recommended settings.

    Examples
    --------
    >>> (image,) = generate_image("a red fox in snow", width=768, height=512, seed=7)

    Raises
    ------
    DrawThingsError
        As ``DrawThingsClient.generate_image``.
    """
    names = Pictures.__annotations__
    pictures = cast(Pictures, {name: value for name, value in options.items() if name in names})
    fields = {name: value for name, value in options.items() if name not in names}
    with DrawThingsClient(address, **(client_options or {})) as client:
        configuration = config.replace(**fields) if config is not None else _recommend(client, fields)
        return client.generate_image(prompt, configuration, on_event=on_event, **pictures)


def _recommend(client: DrawThingsClient, fields: dict[str, Any]) -> ImageGenerationConfig:
    model = fields.get("model") or _choose(client)
    return ImageGenerationConfig(**recommended_configuration(model)).replace(**fields)


def _choose(client: DrawThingsClient) -> str:
    catalog = client.echo().catalog
    if catalog is not None:
        installed = [model.file for model in catalog.models if not model.remote]
    else:
        installed = [file for file, there in client.files_exist(list_preferred_models()).items() if there]
    chosen = choose_model(installed)
    if chosen is None:
        raise InvalidInputError(f"No installed model is known to suit. Name one as model=…, e.g. of {installed[:3]}.")
    return chosen
