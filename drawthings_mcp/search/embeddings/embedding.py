"""Texts → vectors, by an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drawthings_mcp.errors import EndpointError
from drawthings_mcp.web.endpoint import Endpoint, post_json

MAX_DIMENSIONS = 8192


async def embed_texts(endpoint: Endpoint, texts: Sequence[str], *, timeout: float) -> NDArray[np.float32]:
    """The meanings of some texts.

    Returns
    -------
    NDArray[np.float32]
        ``(len(texts), D)``, each of length 1, so that products are cosines.

    Raises
    ------
    EndpointError
        The endpoint cannot be reached, or answers something else than so many vectors.
    """
    body = {"input": list(texts), "encoding_format": "float", **({"model": endpoint.model} if endpoint.model else {})}
    answer = await post_json(endpoint, "embeddings", body, timeout=timeout)
    try:
        vectors = np.array([entry["embedding"] for entry in _sort(answer)], np.float32)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        raise _build_error(endpoint) from error
    if vectors.shape[:1] != (len(texts),) or vectors.ndim != 2 or not 0 < vectors.shape[1] <= MAX_DIMENSIONS:
        raise _build_error(endpoint)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise _build_error(endpoint)
    unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
    return unit


def _sort(answer: Any) -> list[Mapping[str, Any]]:
    """The entries in the order of the texts, whatever order they came in."""
    entries = list(answer["data"])
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise TypeError("entries are objects")
    return sorted(entries, key=lambda entry: entry.get("index", 0))


def _build_error(endpoint: Endpoint) -> EndpointError:
    return EndpointError(f"The endpoint {endpoint.name} did not answer with embeddings; check its model.")
