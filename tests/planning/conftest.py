"""A server's catalog, and pictures to send to it."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.catalog import Catalog
from drawthings_mcp.simulator.catalog import Inventory
from drawthings_mcp.wire.catalog import parse_catalog

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="session")
def make_catalog() -> Callable[..., Catalog]:
    """What a server lists that lacks some files."""

    def make(*missing: str) -> Catalog:
        inventory = Inventory(frozenset(missing))
        catalog = parse_catalog(pb.EchoReply(files=inventory.list_files(), override=inventory.build_override()))
        assert catalog is not None
        return catalog

    return make


@pytest.fixture(scope="session")
def catalog(make_catalog: Callable[..., Catalog]) -> Catalog:
    """What a server lists that has everything the simulator knows."""
    return make_catalog()


@pytest.fixture(scope="session")
def picture() -> Callable[..., Pixels]:
    """A picture of any size in which no two columns nor rows are alike: red grows rightwards, green downwards."""

    def draw(width: int = 128, height: int = 128) -> Pixels:
        rows, columns = np.mgrid[:height, :width]
        levels = [columns * 255 // max(width - 1, 1), rows * 255 // max(height - 1, 1), np.full_like(rows, 90)]
        return np.stack(levels, axis=-1).astype(np.uint8)

    return draw


@pytest.fixture(scope="session")
def half() -> Callable[..., Pixels]:
    """A black picture, white in its right half."""

    def draw(width: int = 128, height: int = 128) -> Pixels:
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[:, width // 2 :] = 255
        return pixels

    return draw


@pytest.fixture(scope="session")
def clear_left(picture: Callable[..., Pixels]) -> Pixels:
    """128 x 128, the left half of which is clear."""
    alpha = np.full((128, 128, 1), 255, np.uint8)
    alpha[:, :64] = 0
    return np.concatenate([picture(), alpha], axis=2)


@pytest.fixture(scope="session")
def sideways(picture: Callable[..., Pixels]) -> bytes:
    """A JPEG of 192 x 128 that is to be shown turned right by a quarter: 128 x 192, its red growing downwards."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.fromarray(picture(192, 128)).save(data, "JPEG", exif=exif, quality=95)
    return data.getvalue()
