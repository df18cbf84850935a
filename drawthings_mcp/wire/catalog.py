"""An Echo reply → a catalog (protocol §8)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.catalog import Catalog, CatalogEntry, Control, Embedding, LoRA, Model, Upscaler

_logger = logging.getLogger(__name__)

ParsedT = TypeVar("ParsedT", bound=CatalogEntry)


def parse_catalog(reply: pb.EchoReply) -> Catalog | None:
    """The catalog of a reply, or None when the server does not let its models be browsed (protocol §8.1).

    A specification that lacks its required keys is left out, as the app does; a file that is listed twice
    keeps its first specification.
    """
    override = reply.override
    if not reply.files and not override.ByteSize():
        return None
    return Catalog(
        models=_parse_entries(override.models, parse_model),
        loras=_parse_entries(override.loras, parse_lora),
        controls=_parse_entries(override.controlNets, parse_control),
        upscalers=_parse_entries(override.upscalers, _parse_upscaler),
        embeddings=_parse_entries(override.textualInversions, _parse_embedding),
        files=frozenset(reply.files),
    )


def _parse_entries(data: bytes, parse: Callable[[dict[str, Any]], ParsedT]) -> tuple[ParsedT, ...]:
    if not data:
        return ()
    try:
        specifications = json.loads(data)
    except ValueError:
        _logger.warning("the server's list of specifications is not JSON; it is treated as empty")
        return ()
    entries: dict[str, ParsedT] = {}
    for specification in specifications if isinstance(specifications, list) else ():
        try:
            entry = parse(specification)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _logger.warning("a specification was left out: %r", error)
            continue
        entries.setdefault(entry.file, entry)
    return tuple(entries.values())


def _common(specification: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "file": str(specification["file"]),
        "name": str(specification["name"]),
        "version": str(specification.get("version", "")),
        "specification": specification,
    }


def parse_model(specification: Mapping[str, Any]) -> Model:
    """The model of one specification; raises ``KeyError`` when a key that is needed here is missing."""
    return Model(
        **_common(specification),
        modifier=specification.get("modifier", "none"),
        default_scale=int(specification["default_scale"]),
        guidance_embed=bool(specification.get("guidance_embed", False)),
        remote="remote_api_model_config" in specification,
    )


def parse_lora(specification: Mapping[str, Any]) -> LoRA:
    """The LoRA of one specification; raises as ``parse_model``."""
    weight = specification.get("weight") or {}
    return LoRA(
        **_common(specification),
        prefix=specification.get("prefix", ""),
        modifier=specification.get("modifier", "none"),
        default_weight=weight.get("value"),
    )


def parse_control(specification: Mapping[str, Any]) -> Control:
    """The control of one specification; raises as ``parse_model``."""
    return Control(**_common(specification), type=specification["type"], modifier=specification.get("modifier", ""))


def _parse_upscaler(specification: dict[str, Any]) -> Upscaler:
    return Upscaler(**_common(specification), scale_factor=int(specification["scale_factor"]))


def _parse_embedding(specification: dict[str, Any]) -> Embedding:
    return Embedding(**_common(specification), keyword=specification["keyword"])
