"""What the studio leaves in the catalog and in the files, and what it repairs when it starts."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from drawthings_mcp.errors import TensorError
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.database import FILE_NAME
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.settings import Settings, load_settings
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio import saver
from drawthings_mcp.studio.results import GenerationResult
from drawthings_mcp.studio.studio import open_studio
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.image import REPLACED
from drawthings_mcp.tensors.picture_files import hash_file
from drawthings_mcp.tensors.tensor import encode_tensor
from tests.strict_server import StrictServer

pytestmark = pytest.mark.anyio

MARK = b"Secret Street 12"
MODEL = {"name": "Z", "file": "z_image_turbo_1.0_q8p.ckpt", "version": "z_image", "default_scale": 16}


def build_settings(simulator: Simulator, folder: Path) -> Settings:
    environment = {"DRAWTHINGS_OUTPUT_DIR": str(folder / "out"), "DRAWTHINGS_STATE_DIR": str(folder / "state")}
    return load_settings({"server": simulator.address, "tls": "off"}, environment=environment)


async def generate(simulator: Simulator, folder: Path, arguments: GenerateParams) -> GenerationResult:
    async with open_studio(build_settings(simulator, folder)) as studio:
        return await studio.generate(arguments)


async def test_variants_of_one_call_are_recorded_with_all_that_made_them(tmp_path: Path) -> None:
    async with Simulator() as simulator:
        result = await generate(simulator, tmp_path, GenerateParams(prompt="fox", width=128, height=128, variants=2))
    catalog = ImageCatalog(tmp_path / "state")
    for variant in result.variants:
        record = catalog.get(variant.id)
        with variant.path.open("rb") as file:
            assert record.sha256 == hash_file(file)
        assert (record.path, record.size_bytes, record.format) == (variant.path, variant.path.stat().st_size, "PNG")
        assert record.configuration["seed"] == record.seed == variant.seed
        metadata = read_metadata(variant.path)
        assert metadata is not None
        assert (metadata.record["id"], metadata.record["job"]) == (variant.id, record.job)
    assert len({catalog.get(variant.id).job for variant in result.variants}) == 1
    assert catalog.list_reservations() == {}


async def test_a_picture_that_cannot_be_read_leaves_no_gap_in_the_ids(studio_at: Any) -> None:
    payload = encode_image(np.zeros((128, 128, 3), np.uint8), codec=Codec.FPZIP)
    broken = payload[: len(payload) // 2]
    arguments = GenerateParams(prompt="fox", width=128, height=128)
    async with (
        StrictServer([MODEL], payload=broken) as strict,
        studio_at(strict.address) as studio,
    ):
        with pytest.raises(TensorError, match="cannot be read"):
            await studio.generate(arguments)
        strict.payload = payload
        result = await studio.generate(arguments)
    assert [variant.id for variant in result.variants] == ["v1"]


async def test_values_that_are_no_numbers_are_noted_once(studio_at: Any) -> None:
    tensor = np.full((1, 128, 128, 3), np.nan, np.float16)
    arguments = GenerateParams(prompt="fox", width=128, height=128, variants=2)
    async with (
        StrictServer([MODEL], payload=encode_tensor(tensor)) as strict,
        studio_at(strict.address) as studio,
    ):
        result = await studio.generate(arguments)
    assert [note for note in result.notes if "no numbers" in note] == [REPLACED]


async def test_pictures_are_decoded_side_by_side_and_numbered_as_they_came(
    studio_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    came, second = itertools.count(), threading.Event()

    def decode_the_second_first(payload: bytes, **options: Any) -> NDArray[np.uint8]:
        if next(came) == 0:
            assert second.wait(30)
        pixels = decode_image(payload, **options)
        second.set()
        return pixels

    monkeypatch.setattr(saver, "decode_image", decode_the_second_first)
    monkeypatch.setattr(saver, "MAX_PROCESSES", 2)
    async with StrictServer([MODEL]) as strict, studio_at(strict.address) as studio:
        result = await studio.generate(GenerateParams(prompt="fox", width=128, height=128, variants=2))
    assert [variant.id for variant in result.variants] == ["v1", "v2"]
    assert [variant.seed for variant in result.variants] == [sent["seed"] for sent in strict.seen]


@pytest.mark.parametrize(("damage", "said"), [("remove", "was missing"), ("overwrite", "was damaged")])
async def test_a_catalog_that_is_lost_or_damaged_meanwhile_gives_no_id_twice(
    tmp_path: Path, damage: str, said: str
) -> None:
    arguments = GenerateParams(prompt="fox", width=128, height=128)
    async with Simulator() as simulator, open_studio(build_settings(simulator, tmp_path)) as studio:
        await studio.generate(arguments)
        for path in (tmp_path / "state").glob(f"{FILE_NAME}*"):
            path.unlink() if damage == "remove" else path.write_bytes(b"no database" * 500)
        repaired, next_one = await studio.generate(arguments), await studio.generate(arguments)
    assert [variant.id for variant in (*repaired.variants, *next_one.variants)] == ["v2", "v3"]
    assert any(f"{said} and was rebuilt with 1 pictures" in note for note in repaired.notes)
    assert not any("catalog" in note for note in next_one.notes)


async def test_a_studio_repairs_a_damaged_catalog_and_says_so_once(tmp_path: Path) -> None:
    arguments = GenerateParams(prompt="fox", width=128, height=128)
    async with Simulator() as simulator:
        await generate(simulator, tmp_path, arguments)
        (tmp_path / "state" / FILE_NAME).write_bytes(bytes(5000))
        async with open_studio(build_settings(simulator, tmp_path)) as studio:
            repaired, next_one = await studio.generate(arguments), await studio.generate(arguments)
    assert [variant.id for variant in (*repaired.variants, *next_one.variants)] == ["v2", "v3"]
    assert any("was damaged and was rebuilt with 1 pictures" in note for note in repaired.notes)
    assert not any("catalog" in note for note in next_one.notes)
    assert ImageCatalog(tmp_path / "state").get("v1").prompt == "fox"


async def test_nothing_personal_of_an_input_gets_into_the_result(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = MARK.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 8.0, 14.0)
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (128, 128)).save(photo, exif=exif, comment=MARK)
    async with Simulator() as simulator:
        result = await generate(simulator, tmp_path, GenerateParams(prompt="a fox", mode="image2image", canvas=photo))
    (variant,) = result.variants
    data = variant.path.read_bytes()
    assert MARK not in data
    assert str(photo).encode() not in data
    with Image.open(variant.path) as picture:
        assert dict(picture.getexif()) == {}
