"""Facts of any file: where programs put their texts in each format, photos, sizes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from drawthings_mcp.errors import StorageError
from drawthings_mcp.generation import ResultImage
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.metadata.draw_things import build_metadata
from drawthings_mcp.metadata.reading import read_image_metadata, read_image_metadata_from, read_metadata
from drawthings_mcp.metadata.xmp import Packet, build_packet
from drawthings_mcp.tensors.png import encode_png
from tests.metadata.heif import build_heic

MakeImage = Callable[..., ResultImage]
PARAMETERS = "Steps: 4, Sampler: Euler a, CFG scale: 2, Seed: 7, Size: 8x6"
TEXT = f"Füchse 狐 лиса\n{PARAMETERS}"
GRAPH = json.dumps(
    {"1": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 3, "cfg": 1, "sampler_name": "euler"}}}
)
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "TGA")


def _save(path: Path, size: tuple[int, int] = (8, 6), **options: Any) -> Path:
    Image.new("RGB", size).save(path, **options)
    return path


def _exif(tags: dict[int, Any], own: dict[int, Any] | None = None, place: dict[int, Any] | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif.update(tags)
    exif.get_ifd(0x8769).update(own or {})
    exif.get_ifd(0x8825).update(place or {})
    return exif


PHOTO = _exif(
    {0x010F: "Lumen", 0x0110: "Lumen X2", 0x0131: "Lumen OS 3", 0x0112: 6},
    {0x9003: "2025:07:14 18:30:05", 0x9011: "+02:00"},
    {
        1: "S",
        2: (IFDRational(33, 1), IFDRational(30, 1), IFDRational(360, 10)),
        3: "E",
        4: (IFDRational(151, 1), IFDRational(15, 1), IFDRational(0, 1)),
    },
)
PHOTO_FACTS = ImageMetadata(
    "exif",
    6,
    8,
    created=datetime(2025, 7, 14, 18, 30, 5, tzinfo=timezone(timedelta(hours=2))),
    camera="Lumen X2",
    software="Lumen OS 3",
)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_that_tells_nothing_has_a_size(tmp_path: Path, file_format: str) -> None:
    assert read_image_metadata(_save(tmp_path / "a", (48, 32), format=file_format)) == ImageMetadata("plain", 48, 32)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": PHOTO.tobytes()}], ids=["VP8", "VP8L", "VP8X"])
def test_every_kind_of_webp_tells_its_size(tmp_path: Path, options: dict[str, Any]) -> None:
    metadata = read_image_metadata(_save(tmp_path / "a.webp", (300, 200), **options))
    assert {metadata.width, metadata.height} == {300, 200}


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
def test_a_photo_tells_its_camera_and_date_and_is_as_large_as_it_is_shown(tmp_path: Path, suffix: str) -> None:
    assert read_image_metadata(_save(tmp_path / f"a.{suffix}", exif=PHOTO)) == PHOTO_FACTS


def test_a_photo_tells_its_position_only_when_asked(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.jpg", exif=PHOTO)
    assert read_image_metadata(path).position is None
    assert read_image_metadata(path, with_position=True).position == (-33.51, 151.25)


@pytest.mark.parametrize(
    ("place", "position"),
    [
        ({1: "N", 2: (10.5, 0.0, 0.0)}, None),
        ({1: "N", 2: (IFDRational(1, 0), 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (95.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)}, None),
        ({1: "N", 2: (10.5, 0.0, 0.0), 3: "W", 4: (1.0, 30.0, 36.0)}, (10.5, -1.51)),
    ],
)
def test_half_a_position_is_none(tmp_path: Path, place: dict[int, Any], position: tuple[float, float] | None) -> None:
    path = _save(tmp_path / "a.jpg", exif=_exif({0x010F: "Lumen"}, place=place))
    assert read_image_metadata(path, with_position=True).position == position


@pytest.mark.parametrize(
    ("time", "offset", "expected"),
    [
        ("2024:02:29 01:02:03", "Z", datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC)),
        ("2024:02:29 01:02:03", "-05:30", datetime(2024, 2, 29, 6, 32, 3, tzinfo=UTC)),
        ("2024:02:29 01:02:03", "", datetime(2024, 2, 29, 1, 2, 3).astimezone()),
        ("2024:02:29 01:02:03", "+99:00", None),
        ("0000:00:00 00:00:00", "", None),
        ("yesterday", "", None),
    ],
)
def test_dates_are_aware_or_none(tmp_path: Path, time: str, offset: str, expected: datetime | None) -> None:
    path = _save(tmp_path / "a.jpg", exif=_exif({0x010F: "Lumen"}, {0x9003: time, 0x9011: offset}))
    assert read_image_metadata(path).created == expected


@pytest.mark.parametrize("large", [False, True])
def test_a_photo_of_a_phone_is_read_from_heic(tmp_path: Path, large: bool) -> None:
    (tmp_path / "a.heic").write_bytes(
        build_heic((8, 6), PHOTO.tobytes().removeprefix(b"Exif\0\0"), turns=1, large=large)
    )
    assert read_image_metadata(tmp_path / "a.heic") == PHOTO_FACTS


def test_a_heic_that_is_not_turned_is_as_large_as_it_is_stored(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(build_heic((4032, 3024)))
    assert read_image_metadata(tmp_path / "a.heic") == ImageMetadata("plain", 4032, 3024)


def test_draw_things_is_read_from_every_format(make_image: MakeImage, tmp_path: Path) -> None:
    packet = build_metadata(make_image(), created=datetime(2026, 1, 2, tzinfo=UTC), extra={"media_id": "v7"})
    (tmp_path / "a.png").write_bytes(encode_png(make_image().pixels, packet))
    (tmp_path / "a.heic").write_bytes(build_heic((8, 6), xmp=packet.encode()))
    paths = [tmp_path / "a.png", tmp_path / "a.heic"]
    paths += [_save(tmp_path / f"a.{suffix}", xmp=packet.encode()) for suffix in ("jpg", "webp", "avif")]
    found = [read_image_metadata(path) for path in paths]
    assert found == [found[0]] * 5
    assert found[0].configuration == make_image().configuration.to_app_json()
    assert found[0] == ImageMetadata(
        *("draw-things", 8, 6, "a red fox < in snow", "blurry", "z_image_turbo_1.0_q6p.ckpt"),
        loras=(("my_style_lora_f16.ckpt", 0.6),),
        seed=1234567890,
        steps=8,
        guidance_scale=1.0,
        sampler="UniPC Trailing",
        strength=1.0,
        created=datetime(2026, 1, 2, tzinfo=UTC),
        software="Draw Things",
        media_id="v7",
        configuration=found[0].configuration,
    )


def test_draw_things_json_in_exif_is_read(tmp_path: Path) -> None:
    comment = b"ASCII\0\0\0" + '{"c":"狐","seed":-1,"v2":{"seed":9}}'.encode()
    metadata = read_image_metadata(_save(tmp_path / "a.jpg", exif=_exif({}, {0x9286: comment})))
    assert (metadata.dialect, metadata.prompt, metadata.seed) == ("draw-things", "狐", None)


@pytest.mark.parametrize("code", ["utf-16-be", "utf-16-le", "ascii", "none"])
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a1111_is_read_from_exif_in_any_byte_order(tmp_path: Path, suffix: str, code: str) -> None:
    coded = {
        "utf-16-be": b"UNICODE\0" + TEXT.encode("utf-16-be"),
        "utf-16-le": b"UNICODE\0" + TEXT.encode("utf-16-le"),
        "ascii": b"ASCII\0\0\0" + TEXT.encode(),
        "none": TEXT.encode(),
    }
    metadata = read_image_metadata(_save(tmp_path / f"a.{suffix}", exif=_exif({}, {0x9286: coded[code]})))
    assert (metadata.dialect, metadata.prompt, metadata.seed) == ("a1111", "Füchse 狐 лиса", 7)


@pytest.mark.parametrize("suffix", ["gif", "jpg"])
def test_a1111_is_read_from_a_comment(tmp_path: Path, suffix: str) -> None:
    metadata = read_image_metadata(_save(tmp_path / f"a.{suffix}", comment=TEXT.encode()))
    assert (metadata.dialect, metadata.prompt, metadata.seed) == ("a1111", "Füchse 狐 лиса", 7)


@pytest.mark.parametrize("compressed", [False, True])
def test_texts_that_pillow_writes_are_read(tmp_path: Path, compressed: bool) -> None:
    for add in ("add_text", "add_itxt"):
        info = PngInfo()
        text = TEXT if add == "add_itxt" else PARAMETERS
        getattr(info, add)("parameters", text, zip=compressed)
        assert read_image_metadata(_save(tmp_path / "a.png", pnginfo=info)).seed == 7


def test_comfyui_is_read_from_webp(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.webp", exif=_exif({0x0110: f"prompt:{GRAPH}", 0x010F: 'workflow:{"nodes":[]}'}))
    metadata = read_image_metadata(path)
    assert (metadata.dialect, metadata.seed, metadata.steps, metadata.camera) == ("comfyui", 5, 3, "")


def test_comfyui_is_read_from_an_animation(make_png: Callable[..., Path]) -> None:
    metadata = read_image_metadata(make_png((b"comf", b"prompt\0" + GRAPH.encode()), after=True))
    assert (metadata.dialect, metadata.seed) == ("comfyui", 5)


def test_swarmui_is_read_from_jpeg_of_old_and_new_versions(tmp_path: Path) -> None:
    text = '{"sui_image_params": {"prompt": "каньон", "seed": 3}}'
    new = _exif({}, {0x9286: b"UNICODE\0" + text.encode("utf-16-le")})
    for exif, prompt in ((new, "каньон"), (_exif({0x0110: text.replace("каньон", "canyon")}), "canyon")):
        metadata = read_image_metadata(_save(tmp_path / "a.jpg", exif=exif))
        assert (metadata.dialect, metadata.prompt, metadata.seed) == ("swarmui", prompt, 3)


def test_fooocus_is_read_from_the_first_directory(tmp_path: Path) -> None:
    tags = {0x9286: TEXT.encode(), 0x927C: "a1111", 0x0131: "Fooocus v2.5.5"}
    metadata = read_image_metadata(_save(tmp_path / "a.jpg", exif=_exif(tags)))
    assert (metadata.dialect, metadata.prompt, metadata.seed) == ("fooocus", "Füchse 狐 лиса", 7)


def test_the_graph_counts_before_a_text_next_to_it(make_png: Callable[..., Path]) -> None:
    path = make_png((b"tEXt", b"parameters\0" + TEXT.encode()), (b"tEXt", b"prompt\0" + GRAPH.encode()))
    assert read_image_metadata(path).dialect == "comfyui"


def test_a_generated_picture_takes_its_date_from_exif(tmp_path: Path) -> None:
    exif = _exif({0x0132: "2026:01:02 03:04:05"}, {0x9010: "Z", 0x9286: b"ASCII\0\0\0" + TEXT.encode()})
    metadata = read_image_metadata(_save(tmp_path / "a.jpg", exif=exif))
    assert (metadata.dialect, metadata.created) == ("a1111", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_an_open_file_is_read_from_its_beginning_and_left_open(tmp_path: Path) -> None:
    data = _save(tmp_path / "a.jpg", exif=PHOTO).read_bytes()
    for stream in (io.BytesIO(data), (tmp_path / "a.jpg").open("rb")):
        with stream:
            stream.seek(5)
            assert read_image_metadata_from(stream) == PHOTO_FACTS
            assert not stream.closed


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone\.png cannot be read: No such file"):
        read_image_metadata(tmp_path / "gone.png")
    with pytest.raises(StorageError, match="cannot be read"):
        read_image_metadata(_make_unreadable(tmp_path / "a.png"))


def _make_unreadable(path: Path) -> Path:
    """A link to itself: not even root can open it."""
    path.symlink_to(path)
    return path


def _list_comments(graph: str) -> dict[str, dict[int, Any]]:
    workflow = json.dumps({"nodes": [], "links": []})
    both = f'{{"prompt": {graph}, "workflow": {workflow}}}'
    return {
        "Make and Model": {0x010F: f"Prompt: {graph}", 0x0110: f"Workflow: {workflow}"},
        "Make and ImageDescription": {0x010F: f"Prompt:{graph}", 0x010E: f"Workflow:{workflow}"},
        "UserComment in the first directory": {0x9286: both},
        "UserComment with its prefix": {0x9286: b"UNICODE\0" + both.encode("utf-16-be")},
        "UserComment with texts": {0x9286: json.dumps({"prompt": graph, "workflow": workflow})},
        "UserComment that is the graph": {0x9286: b"ASCII\0\0\0" + graph.encode()},
    }


PROMPTED = json.dumps(
    {
        "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "Füchse 狐"}},
        "2": {
            "class_type": "KSampler",
            "inputs": {"seed": 5, "steps": 3, "cfg": 1, "sampler_name": "euler", "positive": ["1", 0]},
        },
    }
)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("place", _list_comments(""))
def test_comfyui_is_read_from_exif_wherever_nodes_write_it(tmp_path: Path, suffix: str, place: str) -> None:
    metadata = read_image_metadata(_save(tmp_path / f"a.{suffix}", exif=_exif(_list_comments(PROMPTED)[place])))
    assert metadata == ImageMetadata(
        *("comfyui", 8, 6, "Füchse 狐"), seed=5, steps=3, guidance_scale=1.0, sampler="euler", software="ComfyUI"
    )


@pytest.mark.parametrize("place", _list_comments(""))
def test_a_damaged_graph_is_no_camera(tmp_path: Path, place: str) -> None:
    path = _save(tmp_path / "a.jpg", exif=_exif(_list_comments(PROMPTED[:-9])[place]))
    assert read_image_metadata(path) in (ImageMetadata("plain", 8, 6), ImageMetadata("comfyui", 8, 6))


def test_the_image_savers_text_counts_before_the_graph_beside_it(tmp_path: Path) -> None:
    text = "a pier\nNegative prompt: unknown\nSteps: 9, Sampler: Euler a, CFG scale: 2.5, Seed: 7, Size: 8x6, Model: m"
    exif = _exif({0x010F: f"prompt:{PROMPTED}"}, {0x9286: b"UNICODE\0" + text.encode("utf-16-be")})
    assert read_image_metadata(_save(tmp_path / "a.jpg", exif=exif)) == ImageMetadata(
        *("comfyui", 8, 6, "a pier", "", "m"),
        seed=7,
        steps=9,
        guidance_scale=2.5,
        sampler="Euler a",
        software="ComfyUI",
    )


NOVELAI = {
    "Comment": json.dumps({"prompt": "fox, 狐", "uc": "fog", "steps": 28, "scale": 5, "seed": 3, "sampler": "k_euler"}),
    "Description": "fox, ç\u008b\u0090",
    "Software": "NovelAI",
    "Source": "NovelAI Diffusion V4 37C2B166",
}


@pytest.mark.parametrize("comment", [json.dumps(NOVELAI, ensure_ascii=False), NOVELAI["Comment"]], ids=["texts", "one"])
def test_novelai_is_read_from_exif(tmp_path: Path, comment: str) -> None:
    exif = _exif({0x0131: "NovelAI", 0x010E: "\0\0\0\0fox"}, {0x9286: b"UNICODE\0" + comment.encode("utf-16-le")})
    metadata = read_image_metadata(_save(tmp_path / "a.webp", exif=exif))
    assert (metadata.dialect, metadata.prompt, metadata.negative_prompt) == ("novelai", "fox, 狐", "fog")
    assert (metadata.seed, metadata.steps, metadata.sampler) == (3, 28, "k_euler")


CIVITAI = {
    "resource-stack": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "urn:air:sd1:1@2"}},
    "11": {
        "class_type": "KSampler",
        "inputs": {"seed": 5, "steps": 3, "cfg": 1, "sampler_name": "euler", "model": ["resource-stack", 0]},
    },
    "extra": {"airs": ["urn:air:sd1:1@2"]},
}
SETTINGS = {"prompt": "fox, 狐", "negativePrompt": "fog", "cfgScale": 5, "steps": 28, "seed": 3, "sampler": "Euler a"}


@pytest.mark.parametrize(
    "comment",
    [
        {**CIVITAI, "extraMetadata": json.dumps(SETTINGS, ensure_ascii=False)},
        {**CIVITAI, "extraMetadata": SETTINGS},
        SETTINGS,
    ],
    ids=["settings as text", "settings as object", "settings alone"],
)
def test_civitai_is_read_from_exif(tmp_path: Path, comment: dict[str, Any]) -> None:
    data = b"UNICODE\0" + json.dumps(comment, ensure_ascii=False).encode("utf-16-le")
    metadata = read_image_metadata(_save(tmp_path / "a.jpg", exif=_exif({}, {0x9286: data})))
    assert (metadata.dialect, metadata.prompt, metadata.negative_prompt) == ("civitai", "fox, 狐", "fog")
    assert (metadata.seed, metadata.steps, metadata.guidance_scale, metadata.sampler) == (3, 28, 5.0, "Euler a")
    assert metadata.model == ("" if comment is SETTINGS else "urn:air:sd1:1@2")


def test_civitais_graph_without_settings_is_read(tmp_path: Path) -> None:
    data = b"ASCII\0\0\0" + json.dumps({**CIVITAI, "extraMetadata": "{damaged"}).encode()
    metadata = read_image_metadata(_save(tmp_path / "a.jpg", exif=_exif({}, {0x9286: data})))
    assert (metadata.dialect, metadata.seed, metadata.model) == ("civitai", 5, "urn:air:sd1:1@2")


def _caption(text: str) -> bytes:
    data = text.encode()
    iptc = b"\x1c\x01\x5a\x00\x03\x1b%G\x1c\x02\x78" + len(data).to_bytes(2) + data
    named = b"8BIM\x03\xed\x03abc\x00\x00\x00\x01x\x00"
    return b"Photoshop 3.0\0" + named + b"8BIM\x04\x04\x00\x00" + len(iptc).to_bytes(4) + iptc


def _add_segment(path: Path, marker: int, content: bytes) -> Path:
    data = path.read_bytes()
    segment = bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content
    path.write_bytes(data[:2] + segment + data[2:])
    return path


MASKED = '{"c":"Wer ist das? F?chse, ?? und ???","lora":[{"model":"T?sche.ckpt","weight":0.5}],"seed":12'
MASKED += ',"uc":"Nebel ?"}'
FULL = "Wer ist das? Füchse, 狐狸 und 🦊\n-Nebel …\nSteps: 8, Sampler: UniPC Trailing, Guidance Scale: 1.0, Seed: 12"
FULL += ", Size: 64x64, Model: m.ckpt, Strength: 1.0, Seed Mode: Scale Alike, LoRA Model: Tüsche.ckpt, LoRA Weight: 0.5"


@pytest.mark.parametrize("place", ["ImageDescription", "IPTC", "XMP"])
def test_question_marks_in_a_jpeg_of_draw_things_are_what_they_were(tmp_path: Path, place: str) -> None:
    exif = _exif(
        {0x010E: FULL.encode()} if place == "ImageDescription" else {}, {0x9286: b"ASCII\0\0\0" + MASKED.encode()}
    )
    xmp: dict[str, Any] = {"xmp": build_packet(Packet(description=FULL)).encode()} if place == "XMP" else {}
    path = _save(tmp_path / "a.jpg", exif=exif, **xmp)
    if place == "IPTC":
        _add_segment(path, 0xED, _caption(FULL))
    metadata = read_image_metadata(path)
    assert (metadata.dialect, metadata.prompt) == ("draw-things", "Wer ist das? Füchse, 狐狸 und 🦊")
    assert (metadata.negative_prompt, metadata.loras) == ("Nebel …", (("Tüsche.ckpt", 0.5),))
    found = read_metadata(path)
    assert found is not None
    assert (found.prompt, found.negative_prompt, found.seed) == (metadata.prompt, "Nebel …", 12)


@pytest.mark.parametrize("caption", ["another picture: Füchse", "Wer ist das?", ""])
def test_question_marks_that_nothing_explains_stay(tmp_path: Path, caption: str) -> None:
    exif = _exif({0x010E: caption.encode()}, {0x9286: b"ASCII\0\0\0" + MASKED.encode()})
    assert read_image_metadata(_save(tmp_path / "a.jpg", exif=exif)).prompt == "Wer ist das? F?chse, ?? und ???"


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_half_a_caption_is_none_or_half(tmp_path: Path, cut: int) -> None:
    path = _add_segment(_save(tmp_path / "a.jpg"), 0xED, _caption(FULL)[:cut])
    assert read_image_metadata(path) == ImageMetadata("plain", 8, 6)
