"""Every form of a reference leads to the record of the right picture, and outside ones get an id once."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import ExifTags, Image

from drawthings_mcp.attachments.preview import encode_preview
from drawthings_mcp.errors import (
    ForbiddenAddressError,
    InvalidImageError,
    MissingFileError,
    StorageError,
    UnknownNameError,
    WebError,
)
from drawthings_mcp.generation import ImageGenerationConfig, ResultImage
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.library.originals import hash_pixels, read_pixels, save_image
from drawthings_mcp.library.records import ImageRecord
from drawthings_mcp.references.importing import Resolved
from drawthings_mcp.references.policy import ImportPolicy, build_policy
from drawthings_mcp.references.resolve import resolve_reference
from drawthings_mcp.search.projects.project_file import format_reference
from drawthings_mcp.settings import Settings
from drawthings_mcp.tensors.pixels import ensure_pixels
from drawthings_mcp.web.fetch import Fetched, fetch_public
from tests.search.projects.builder import Builder
from tests.web_servers import WebServer

if TYPE_CHECKING:
    from tests.references.conftest import Draw

pytestmark = pytest.mark.anyio

Resolve = Callable[[str], Awaitable[Resolved]]


@pytest.fixture
def resolve(catalog: ImageCatalog, policy: ImportPolicy) -> Resolve:
    return partial(resolve_reference, catalog=catalog, policy=policy)


async def test_ids_latest_paths_and_names_lead_to_a_variant(resolve: Resolve, generated: ImageRecord) -> None:
    assert generated.path is not None
    for text in ("v1", "V1", "latest", "latest:v", str(generated.path), generated.path.as_uri(), generated.path.name):
        assert await resolve(text) == Resolved(generated)


async def test_a_file_becomes_an_a_and_the_same_bytes_give_the_same_id(
    resolve: Resolve, folder: Path, draw: Draw, settings: Settings
) -> None:
    photo, copy = folder / "photo ä.png", folder / "copy.jpg"
    photo.write_bytes(draw())
    copy.write_bytes(draw())
    record = (await resolve(str(photo))).record
    assert (record.id, record.path, record.origin) == ("a1", photo, str(photo))
    assert (record.width, record.height, record.format, record.size_bytes) == (40, 30, "PNG", len(draw()))
    encoded = base64.b64encode(draw()).decode()
    same = [
        f"file://{quote(str(photo))}",
        str(copy),
        "a1",
        "latest:a",
        photo.name,
        f"data:image/png;base64,{encoded}",
        f"data:image/png;base64,{encoded.rstrip('=')}",
        f"data:image/png,{quote(draw())}",
    ]
    for text in same:
        assert (await resolve(text)).record == record
    assert not (settings.state_dir / "inputs").exists()


async def test_bytes_without_a_file_are_kept_as_they_came(resolve: Resolve, settings: Settings, draw: Draw) -> None:
    data = draw(format="JPEG")
    record = (await resolve(f"data:;base64,{base64.b64encode(data).decode()}")).record
    assert record.path is not None
    assert record.path == settings.state_dir / "inputs" / record.sha256[:2] / f"{record.sha256}.jpg"
    assert record.path.read_bytes() == data
    assert (await resolve(str(record.path))).record == record
    record.path.unlink()
    with pytest.raises(MissingFileError, match="The file of a1 is gone"):
        await resolve("a1")
    assert (await resolve(f"data:;base64,{base64.b64encode(data).decode()}")).record == record
    assert record.path.read_bytes() == data


@pytest.fixture
def trusting(policy: ImportPolicy, web: WebServer) -> ImportPolicy:
    """A policy for which the server of the test is the internet."""

    async def fetch(url: str, max_bytes: int, timeout: float) -> Fetched:
        return await fetch_public(url, max_bytes=max_bytes, timeout=timeout, tls=web.tls, allow=lambda _: True)

    return ImportPolicy(policy.state_dir, policy.folders, fetch=fetch)


async def test_what_was_found_on_the_web_is_fetched_when_it_is_used(
    catalog: ImageCatalog, trusting: ImportPolicy, web: WebServer, draw: Draw
) -> None:
    url = web.put("/fox.png", draw())
    catalog.register_found(url, created=datetime.now(UTC), width=0, height=0, prompt="a fox on the web")
    record = (await resolve_reference("p1", catalog, trusting)).record
    assert (record.id, record.origin, record.prompt, record.width) == ("p1", url, "a fox on the web", 40)
    assert read_pixels(record).shape == (30, 40, 3)
    assert (await resolve_reference("latest:p", catalog, trusting)).record == record
    assert len(web.requests) == 1


async def test_a_url_is_fetched_and_kept(
    catalog: ImageCatalog, trusting: ImportPolicy, web: WebServer, draw: Draw
) -> None:
    url = web.put("/fox.jpg", draw(format="WEBP"), "image/jpeg")
    record = (await resolve_reference(url, catalog, trusting)).record
    assert (record.id, record.origin, record.format) == ("a1", url, "WEBP")
    with pytest.raises(InvalidImageError, match="The picture of the URL is not a picture in a known format"):
        await resolve_reference(web.put("/page", b"<html>"), catalog, trusting)


async def test_urls_are_judged_before_they_are_fetched(resolve: Resolve, web: WebServer, draw: Draw) -> None:
    with pytest.raises(ForbiddenAddressError):
        await resolve(web.put("/fox.png", draw()))
    with pytest.raises(WebError, match="https://"):
        await resolve("http://example.com/fox.png")
    assert web.requests == []


async def test_a_changed_file_is_another_picture_and_says_so(resolve: Resolve, folder: Path, draw: Draw) -> None:
    photo = folder / "photo.png"
    photo.write_bytes(draw())
    first = (await resolve(str(photo))).record
    photo.write_bytes(draw(colour="blue"))
    with pytest.raises(InvalidImageError, match="has changed since it became a1; give its path"):
        read_pixels(first)
    changed = await resolve("a1")
    assert changed.record.id == "a2"
    assert changed.notes == (f"{photo} has changed since it became a1; as it is now it is a2",)
    assert (await resolve(str(photo))).record == changed.record


async def test_a_moved_file_keeps_its_id(resolve: Resolve, folder: Path, draw: Draw, generated: ImageRecord) -> None:
    (folder / "old.png").write_bytes(draw())
    await resolve(str(folder / "old.png"))
    (folder / "old.png").rename(folder / "new.png")
    with pytest.raises(MissingFileError, match="give the path where it is now"):
        await resolve("a1")
    assert (await resolve(str(folder / "new.png"))).record.id == "a1"
    assert (await resolve("a1")).record.path == folder / "new.png"


async def test_a_preview_that_a_client_saved_leads_to_its_original(
    resolve: Resolve, catalog: ImageCatalog, folder: Path, generated: ImageRecord
) -> None:
    assert generated.path is not None
    preview = encode_preview(generated.path, max_bytes=100_000, max_edge=20)
    pixels = ensure_pixels(preview.data)
    catalog.record_preview(hash_pixels(pixels), generated.id)
    (folder / "image-1.jpg").write_bytes(preview.data)
    Image.fromarray(pixels).save(folder / "image-2.png")
    for name in ("image-1.jpg", "image-2.png"):
        assert (await resolve(str(folder / name))).record == generated
    assert (await resolve(f"data:;base64,{base64.b64encode(preview.data).decode()}")).record == generated
    assert catalog.find_latest("a") is None


async def test_our_own_picture_without_a_row_gets_one_when_it_is_named(
    resolve: Resolve, catalog: ImageCatalog, settings: Settings, tmp_path: Path, folder: Path
) -> None:
    image = ResultImage(np.zeros((8, 8, 3), np.uint8), "fox", "", ImageGenerationConfig(model="m", seed=9))
    elsewhere = catalog.reserve("v", tmp_path / "elsewhere")
    saved = save_image(image, tmp_path / "elsewhere", "x", extra={"id": elsewhere, "mode": "text2image"})
    unknown = save_image(image, settings.output_dir, "x", extra={"id": "v700", "mode": "text2image"})
    friends = save_image(image, folder, "x", extra={"id": "v800", "mode": "text2image"})
    with pytest.raises(InvalidImageError, match="outside the folders"):
        await resolve(str(saved.path))
    found = (await resolve(str(unknown.path))).record
    assert (found.id, found.seed, found.prompt) == ("v2", 9, "fox")
    assert (await resolve(str(friends.path))).record.id == "a1"


async def test_what_was_found_is_used_when_it_has_a_file(
    resolve: Resolve, catalog: ImageCatalog, folder: Path, draw: Draw
) -> None:
    facts: dict[str, Any] = {"created": datetime.now(UTC), "width": 1, "height": 1}
    catalog.register_found("project:///p#1", **facts)
    with pytest.raises(StorageError, match="The project /p cannot be read"):
        await resolve("project:///p#1")
    (folder / "node.png").write_bytes(draw())
    catalog.register_found("project:///p#1", path=folder / "node.png", **facts)
    assert (await resolve("project:///p#1")).record.id == (await resolve("p1")).record.id == "p1"
    with pytest.raises(UnknownNameError, match="`python -m drawthings_mcp search`"):
        await resolve("project:///p#2")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Builder]:
    builder = Builder(tmp_path / "app.sqlite3")
    yield builder
    builder.close()


async def test_a_picture_of_a_project_gets_a_file_and_a_lost_one_the_apps_preview(
    resolve: Resolve, catalog: ImageCatalog, project: Builder, draw: Draw
) -> None:
    project.add_node(0, 1, slot_40=("i32", 1))
    project.add_layer(0, 1, 0, 100_000_000, (6, 4))
    project.add_tensor(100_000_000, np.ones((1, 4, 6, 3), np.float16))
    project.add_node(0, 2, slot_40=("i32", 1), slot_41=("i64", 77))
    project.add_layer(0, 2, 0, 100_000_001, (40, 30))
    project.add_thumbnail(77, draw(format="JPEG"), half=False)
    found = [
        catalog.register_found(format_reference(project.path, key), created=datetime.now(UTC), width=1, height=1)
        for key in (1, 2)
    ]
    whole, lost = [await resolve(record.id) for record in found]
    assert (whole.record.id, whole.record.format, whole.notes) == ("p1", "PNG", ())
    assert read_pixels(whole.record).shape == (4, 6, 3)
    assert (lost.record.format, lost.record.width, lost.record.height) == ("JPEG", 40, 30)
    assert lost.notes == ("p2 is the app's preview: the project does not keep the picture any more",)
    assert (await resolve("p1")).record.path == whole.record.path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v9", r"There is no picture 'v9'; the nearest are v1\."),
        ("fox.png", r"There is no picture “fox.png” \(newest: v1\); give an id"),
        ("latest:p", "There is no latest:p: no picture has been found by a search yet"),
    ],
)
async def test_an_unknown_name_is_answered_with_what_there_is(
    resolve: Resolve, generated: ImageRecord, text: str, reason: str
) -> None:
    with pytest.raises(UnknownNameError, match=reason):
        await resolve(text)


async def test_a_deleted_variant_says_how_to_make_it_again(resolve: Resolve, generated: ImageRecord) -> None:
    assert generated.path is not None
    generated.path.unlink()
    with pytest.raises(MissingFileError, match="seed 42, size 40x30 and the prompt 'a red fox'"):
        await resolve("v1")


async def test_links_are_followed_before_the_place_is_judged(
    resolve: Resolve, folder: Path, tmp_path: Path, draw: Draw
) -> None:
    (tmp_path / "secret.png").write_bytes(draw())
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "up").symlink_to(tmp_path)
    (tmp_path / "in.png").symlink_to(folder / "real.png")
    (folder / "real.png").write_bytes(draw())
    for path in (folder / "out.png", folder / "up" / "secret.png", f"{folder}/../secret.png", "/nowhere/x.png"):
        with pytest.raises(InvalidImageError, match="lies outside the folders that may be read"):
            await resolve(str(path))
    assert (await resolve(str(tmp_path / "in.png"))).record.path == folder / "real.png"


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ({"mode": "CMYK", "format": "TIFF", "colour": (0, 255, 255, 0)}, "a1 is in the colours of a printer"),
        ({"mode": "I;16", "colour": 40000}, "a1 has 16 bits per channel"),
        (
            {"format": "GIF", "save_all": True, "append_images": [Image.new("RGB", (40, 30))]},
            "a1 has several frames, of which the first is used",
        ),
    ],
)
async def test_unusual_pictures_are_taken_with_a_note(
    resolve: Resolve, folder: Path, draw: Draw, options: dict[str, object], note: str
) -> None:
    (folder / "x").write_bytes(draw(**options))
    resolved = await resolve(str(folder / "x"))
    assert note in resolved.notes[0]
    assert read_pixels(resolved.record).shape == (30, 40, 3)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
async def test_every_format_is_known_by_its_content(
    resolve: Resolve, folder: Path, draw: Draw, file_format: str
) -> None:
    (folder / "picture.txt").write_bytes(draw(format=file_format))
    record = (await resolve(str(folder / "picture.txt"))).record
    assert record.format == file_format
    np.testing.assert_allclose(read_pixels(record)[15, 20], [200, 100, 50], atol=5)


async def test_a_photo_is_recorded_upright(resolve: Resolve, folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 30)).save(folder / "photo.jpg", exif=exif)
    record = (await resolve(str(folder / "photo.jpg"))).record
    assert (record.width, record.height) == (30, 40)
    assert read_pixels(record).shape == (40, 30, 3)


MARK = b"Secret Street 12"


async def test_nothing_personal_gets_into_pixels_or_previews(resolve: Resolve, folder: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = MARK.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (48.0, 8.0, 14.0)
    photo = Image.effect_noise((600, 400), 80).convert("RGB")
    for name in ("photo.jpg", "photo.png", "photo.webp", "photo.tif"):
        photo.save(folder / name, exif=exif, comment=MARK, xmp=b"<x>" + MARK + b"</x>")
        assert MARK in (folder / name).read_bytes()
        for transparent in (False, True):
            pixels = read_pixels((await resolve(str(folder / name))).record)
            if transparent:
                pixels = np.dstack([pixels, pixels[..., 0]])
            preview = encode_preview(pixels, max_bytes=500_000, max_edge=300)
            assert MARK not in preview.data
            with Image.open(io.BytesIO(preview.data)) as shown:
                assert dict(shown.getexif()) == {}
                assert shown.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "srgb"}


@pytest.fixture
def attach(folder: Path, draw: Draw) -> Callable[[str, str, datetime], Path]:
    def write(name: str, colour: str, when: datetime) -> Path:
        path = folder / name
        path.write_bytes(draw(colour=colour))
        (folder / f"{name}.metadata.json").write_text("{}")
        os.utime(path, (when.timestamp(), when.timestamp()))
        return path

    return write


async def test_the_newest_attachment_of_lm_studio_is_a_guess_that_says_so(
    catalog: ImageCatalog, policy: ImportPolicy, folder: Path, attach: Callable[..., Path]
) -> None:
    with_attachments = ImportPolicy(policy.state_dir, policy.folders, attachments=folder)
    now = datetime.now(UTC)
    attach("1770514213626 - 1.png", "red", now - timedelta(hours=2))
    newest = attach("1770514213627 - 2.png", "green", now - timedelta(hours=1))
    guess = await resolve_reference("latest:a", catalog, with_attachments)
    assert guess.record.path == newest
    assert guess.notes[0].startswith(
        "latest:a is a guess: the newest attachment in LM Studio, 1770514213627 - 2.png of "
    )
    assert (await resolve_reference("latest:a", catalog, with_attachments)).record == guess.record
    # A copy may keep the old time of its original; the name tells when it was attached.
    later = attach(f"{int((now + timedelta(hours=1)).timestamp() * 1000)} - 3.png", "blue", now - timedelta(days=9))
    assert (await resolve_reference("latest:a", catalog, with_attachments)).record.path == later


async def test_two_photos_of_one_message_are_told_apart(
    catalog: ImageCatalog, policy: ImportPolicy, folder: Path, attach: Callable[..., Path]
) -> None:
    policy = ImportPolicy(policy.state_dir, policy.folders, attachments=folder)
    now = datetime.now(UTC)
    older = attach("1770514213626 - beach.png", "red", now - timedelta(seconds=2))
    newer = attach("1770514213627 - dog.png", "green", now - timedelta(seconds=1))
    for _ in range(2):  # the older one gets its id last, and is still the older one
        first = await resolve_reference("latest:a", catalog, policy)
        second = await resolve_reference("latest:a2", catalog, policy)
        assert (first.record.path, second.record.path) == (newer, older)
    assert second.notes[0].startswith("latest:a2 is a guess: the second newest attachment in LM Studio, 177")
    for name in ("dog.png", "DOG.png", "1770514213627 - dog.png"):
        assert (await resolve_reference(name, catalog, policy)).record == first.record
    with pytest.raises(UnknownNameError, match="There is no latest:a3: no picture has been brought in so often yet"):
        await resolve_reference("latest:a3", catalog, policy)


async def test_what_was_attached_before_is_older_than_what_was_brought_since(
    catalog: ImageCatalog, policy: ImportPolicy, folder: Path, attach: Callable[..., Path], draw: Draw
) -> None:
    attachments = folder / "user-files"
    attachments.mkdir()
    policy = ImportPolicy(policy.state_dir, policy.folders, attachments=attachments)
    attach("user-files/1.png", "red", datetime.now(UTC) - timedelta(hours=1))
    brought = folder / "brought.png"
    brought.write_bytes(draw(colour="blue"))
    await resolve_reference(str(brought), catalog, policy)
    assert (await resolve_reference("latest:a", catalog, policy)).record.path == brought
    assert (await resolve_reference("latest:a2", catalog, policy)).record.id == "a2"
    assert (await resolve_reference("latest:a", catalog, policy)).record.path == brought


async def test_lm_studio_is_looked_at_where_its_folder_may_be_read(
    settings: Settings, catalog: ImageCatalog, draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    (home / ".lmstudio" / "user-files").mkdir(parents=True)
    (home / ".lmstudio" / "user-files" / "1770514213626 - 1.png").write_bytes(draw())
    studio = tmp_path / "elsewhere"
    (studio / "user-files").mkdir(parents=True)
    (studio / "user-files" / "1770514213626 - 1.png").write_bytes(draw())
    at_home = build_policy(settings.model_copy(update={"input_dirs": (home,)}))
    assert (await resolve_reference("latest:a", catalog, at_home)).record.id == "a1"
    (home / ".lmstudio-home-pointer").write_text(f"{studio}\n")
    moved = build_policy(settings.model_copy(update={"input_dirs": (home / "pictures",)}))
    assert moved.attachments is None
    with pytest.raises(UnknownNameError, match=f"add {studio}/user-files to DRAWTHINGS_INPUT_DIRS"):
        await resolve_reference("latest:a9", catalog, moved)
    for named in (studio, studio / "user-files"):
        with_attachments = build_policy(settings.model_copy(update={"input_dirs": (named,)}))
        assert (await resolve_reference("latest:a", catalog, with_attachments)).record.id == "a1"
