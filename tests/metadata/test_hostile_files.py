"""Files that were made to harm, or broke: one clear sentence or what can be read, little memory, little time."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from drawthings_mcp.errors import InvalidImageError
from drawthings_mcp.generation import ResultImage
from drawthings_mcp.metadata.dialect import ImageMetadata
from drawthings_mcp.metadata.draw_things import build_metadata
from drawthings_mcp.metadata.reading import read_image_metadata, read_image_metadata_from
from drawthings_mcp.metadata.xmp import Packet, build_packet
from drawthings_mcp.tensors.png import encode_png
from tests.metadata.heif import box, build_heic, full_box

MakePng = Callable[..., Path]
MakeImage = Callable[..., ResultImage]
MIB = 1024 * 1024
TEXT = "fox\nSteps: 4, Sampler: Euler a, CFG scale: 2, Seed: 7, Size: 8x6"


def _text(keyword: str, text: str) -> tuple[bytes, bytes]:
    return b"iTXt", keyword.encode() + b"\0\1\0\0\0" + zlib.compress(text.encode("utf-8", "surrogatepass"))


def _comment(text: str) -> tuple[bytes, bytes]:
    return _text("XML:com.adobe.xmp", build_packet(Packet(comment="HERE")).replace("HERE", text))


MANY = json.dumps({"c": "x", "v2": {str(index): [] for index in range(60_000)}})
DEEP = '{"c":' + "[" * 500 + "]" * 500 + "}"
DEEPER = '{"c":' + "[" * 200_000
LARGE = json.dumps({"c": "x" * (10 * MIB)})
TANGLED = build_packet(Packet(comment="{}")).replace("</x:xmpmeta>", "") + "<x>" * 300_000
HOSTILE: dict[str, Callable[[], list[tuple[bytes, bytes]]]] = {
    "10 MB of JSON in XMP": lambda: [_comment(LARGE)],
    "10 MB of JSON in a graph": lambda: [_text("prompt", LARGE)],
    "10 MB of parameters": lambda: [_text("parameters", TEXT.replace("fox", "f" * 10 * MIB))],
    "10 MB in five parts": lambda: [(b"tEXt", bytes([65 + part]) + b"\0" + b"x" * 2 * MIB) for part in range(5)],
    "many values": lambda: [_comment(MANY)],
    "many values in a graph": lambda: [_text("prompt", MANY)],
    "many values in a text": lambda: [_text("parameters", TEXT + ", a: 1" * 60_000)],
    "deep JSON": lambda: [_comment(DEEP)],
    "deeper JSON": lambda: [_comment(DEEPER)],
    "deep JSON in a graph": lambda: [_text("prompt", DEEP)],
    "many values in Civitai's resources": lambda: [
        _text("parameters", TEXT + ", Civitai resources: [" + ",".join(["{}"] * 60_000) + "]")
    ],
    "deep JSON in Civitai's settings": lambda: [_text("extraMetadata", DEEP)],
    "deep JSON of NovelAI": lambda: [_text("Software", "NovelAI"), _text("Comment", DEEP)],
    "many values of NovelAI": lambda: [_text("Software", "NovelAI"), _text("Comment", MANY)],
    "deep JSON of Stability Matrix": lambda: [_text("parameters-json", DEEP)],
    "many values in a project": lambda: [_text("smproj", MANY)],
    "many values of RuinedFooocus": lambda: [_text("parameters", MANY.replace("c", "RuinedFooocus", 1))],
    "deep XML": lambda: [_text("XML:com.adobe.xmp", TANGLED)],
    "entities": lambda: [_text("XML:com.adobe.xmp", "<!DOCTYPE x [<!ENTITY a 'a'>]>" + build_packet(Packet()))],
    "broken deflate": lambda: [(b"zTXt", b"parameters\0\0" + b"\x78\x9c\xff\xff")],
    "chunks without end": lambda: [(b"aaAa", b"")] * 66_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_one_sentence_and_takes_little_memory(make_png: MakePng, name: str) -> None:
    path = make_png(*HOSTILE[name]())
    tracemalloc.start()
    try:
        with pytest.raises(InvalidImageError, match=r"made\.png") as caught:
            read_image_metadata(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert peak < 32 * MIB


@pytest.mark.parametrize(
    ("keyword", "text", "expected"),
    [
        ("prompt", '{"1":{"class_type":"KSampler","inputs":{"seed":NaN,"steps":-Infinity,"cfg":1e999}}}', {}),
        ("prompt", '{"1":{"class_type":7,"inputs":[]},"2":null}', {}),
        ("parameters", '{"sui_image_params":{"prompt":"a\\ud83d","seed":"1e400","steps":{}}}', {"prompt": "a\ufffd"}),
        ("parameters", '{"base_model":3,"loras":[[1,2],["a"],null,["b","x"]]}', {"loras": (("b", None),)}),
        ("parameters-json", '{"PositivePrompt":[],"Steps":"x","Seed":{},"CfgScale":1e999,"ModelName":7}', {}),
        ("smproj", '{"State":{"Prompt":[],"Sampler":{"SelectedSampler":3},"Seed":null}}', {}),
        ("extraMetadata", '{"prompt":{},"resources":[3,{"type":7,"air":"a:b"}],"civitaiResources":{},"seed":[]}', {}),
        (
            "parameters",
            TEXT + ', Civitai resources: [{"type":"lora","modelName":[]},7,{"air":"urn:"}]',
            {"prompt": "fox"},
        ),
        ("parameters", '{"software":"RuinedFooocus","Prompt":{},"loras":{"a":1},"scheduler":[]}', {}),
        ("invokeai_metadata", '{"positive_prompt":["x"],"model":[],"loras":{"a":1},"seed":true}', {}),
        ("sd-metadata", '{"image":{"prompt":[{"prompt":"a"},3]}}', {"prompt": "a"}),
        ("Dream", '"a \\\\ [b" -s x -S 1 -', {"prompt": "a \\ [b", "seed": 1}),
        ("parameters", TEXT.replace("fox", "<lora::><lora:x:y:z:w:v:u>\0"), {"prompt": "<lora::><lora:x:y:z:w:v:u>"}),
        (
            "workflow",
            '{"nodes":[{"type":[],"id":{},"inputs":[{"link":{}}],"widgets_values":[{}]}],"links":[[],1,{}]}',
            {},
        ),
    ],
)
def test_values_that_make_no_sense_are_left_out(make_png: MakePng, keyword: str, text: str, expected: Any) -> None:
    metadata = read_image_metadata(make_png(_text(keyword, text)))
    nothing = {"prompt": "", "negative_prompt": "", "model": "", "loras": (), "seed": None, "sampler": ""}
    found = {name: getattr(metadata, name) for name in nothing}
    if "seed" not in expected and "Seed: 7" in text:
        found["seed"], found["sampler"] = None, ""
    assert found == {**nothing, **expected}


def test_half_a_surrogate_pair_can_be_stored_wherever_it_stood(make_png: MakePng) -> None:
    comment = r'{"c":"a\ud83e","uc":"\udd8ab\u0000","v2":{"model":"\ud800","\udc00":["\ud83e\udd8a"]}}'
    metadata = read_image_metadata(make_png(_comment(comment)))
    assert (metadata.prompt, metadata.negative_prompt, metadata.model) == ("a\ufffd", "\ufffdb", "\ufffd")
    assert metadata.configuration == {"model": "\ufffd", "\ufffd": ["🦊"]}


def test_a_graph_that_doubles_at_every_node_stays_small(make_png: MakePng) -> None:
    nodes = {
        str(index): {
            "class_type": "JoinStrings",
            "inputs": {"string1": [str(index + 1), 0], "string2": [str(index + 1), 0]},
        }
        for index in range(2000)
    }
    nodes["2000"] = {"class_type": "Text", "inputs": {"text": "never reached"}}
    nodes["s"] = {
        "class_type": "KSampler",
        "inputs": {
            "steps": 1,
            "cfg": 1,
            "sampler_name": "euler",
            "seed": ["0", 0],
            "positive": ["0", 0],
            "model": ["0", 0],
        },
    }
    metadata = read_image_metadata(make_png(_text("prompt", json.dumps(nodes))))
    assert (metadata.dialect, metadata.prompt, metadata.steps) == ("comfyui", "", 1)


def test_pixels_of_gigabytes_are_stepped_over(make_png: MakePng) -> None:
    path = make_png((b"tEXt", b"parameters\0" + TEXT.encode()))
    head, tail = path.read_bytes()[:33], path.read_bytes()[33:]
    gap = 2**31 - 1
    with path.open("wb") as file:
        file.write(head)
        for _ in range(2):
            file.write(struct.pack(">I4s", gap, b"IDAT"))
            file.seek(gap + 4, io.SEEK_CUR)  # a hole: takes no space on disk
        file.write(tail)
    assert path.stat().st_size > 4 * 1024 * MIB
    assert read_image_metadata(path).prompt == "fox"


def _list_files(make_image: MakeImage) -> list[bytes]:
    packet = build_metadata(make_image())
    files = [encode_png(make_image().pixels, packet), build_heic((8, 6), b"MM\0*\0\0\0\x08\0\0", packet.encode())]
    exif = Image.Exif()
    exif.update({0x010F: "Lumen", 0x0112: 6})
    exif.get_ifd(0x8769).update({0x9286: b"ASCII\0\0\0" + TEXT.encode(), 0x9003: "2025:07:14 18:30:05"})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    for file_format in ("JPEG", "WEBP", "AVIF", "GIF", "TIFF", "BMP"):
        stream = io.BytesIO()
        Image.new("RGB", (8, 6)).save(stream, file_format, exif=exif)
        files.append(stream.getvalue())
    return files


def _read_or_refuse(data: bytes) -> ImageMetadata | None:
    try:
        return read_image_metadata_from(io.BytesIO(data), with_position=True)
    except InvalidImageError:
        return None


def test_a_file_may_end_anywhere(make_image: MakeImage) -> None:
    for data in _list_files(make_image):
        assert _read_or_refuse(data) is not None
        for end in range(0, len(data), max(len(data) // 400, 1)):
            _read_or_refuse(data[:end])


@settings(max_examples=150)
@given(st.data())
def test_a_file_may_be_damaged_anywhere(make_image: MakeImage, data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(_list_files(make_image))))
    for place in data.draw(st.lists(st.integers(0, min(len(damaged), 900) - 1), max_size=8)):
        damaged[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    _read_or_refuse(bytes(damaged))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["1", "2", "KSampler"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("12"), inner, max_size=2),
    max_leaves=6,
)
_INPUTS = st.sampled_from(
    [
        *(
            "seed",
            "noise_seed",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "denoise",
            "positive",
            "negative",
            "model",
        ),
        *("guider", "sigmas", "sampler", "noise", "text", "prompt", "lora_name", "lora_1", "strength_1", "ckpt_name"),
        *("conditioning", "cond1", "guidance", "delimiter", "string", "add_noise", "latent_image", "text_embeds"),
    ]
)
_KINDS = st.sampled_from(
    ["KSampler", "SamplerCustomAdvanced", "JoinStrings", "X", "SaveImage", "Detailer", "ConditioningZeroOut"]
)
_LINK = st.tuples(st.sampled_from(["1", "2", "3", "4"]), st.just(0)).map(list)
_NODE = st.fixed_dictionaries(
    {"class_type": _KINDS, "inputs": st.dictionaries(_INPUTS, _LINK | _LINK | _JSON, max_size=9)}
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["1", "2", "3", "4"]), _NODE | _JSON, min_size=1))
def test_a_graph_may_say_anything(make_png: MakePng, graph: dict[str, Any]) -> None:
    _read_or_refuse(make_png(_text("prompt", json.dumps(graph))).read_bytes())


_KEYS = st.sampled_from(
    [
        *("c", "uc", "v2", "seed", "steps", "lora", "loras", "model", "sampler", "size", "drawthings_mcp", "created"),
        *("id", "sui_image_params", "sui_extra_data", "date", "prompt", "negativeprompt", "loraweights", "base_model"),
        *("lora_combined_1", "full_prompt", "image", "positive_prompt", "nodes", "links", "widgets_values", "inputs"),
        *("link", "id", "type", "mode", "outputs", "weight", "name", "State", "Prompt", "NegativePrompt", "Sampler"),
        *("v4_prompt", "caption", "char_captions", "char_caption", "extraMetadata", "resources", "air", "modelName"),
    ]
)


@settings(max_examples=150)
@given(
    st.sampled_from(
        [
            *("parameters", "invokeai_metadata", "sd-metadata", "workflow", "XML:com.adobe.xmp"),
            *("Comment", "parameters-json", "smproj", "extraMetadata"),
        ]
    ),
    st.recursive(
        _JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=12
    ),
)
def test_json_may_say_anything(make_png: MakePng, keyword: str, value: Any) -> None:
    text = json.dumps(
        {
            **{"c": "x", "sui_image_params": {}, "base_model": "", "nodes": [value], "v2": value, "loras": value},
            **{"Software": "NovelAI", "software": "RuinedFooocus", "v4_prompt": value, "State": value},
            **{"extraMetadata": value, "civitaiResources": value},
        }
    )
    chunk = _comment(text) if "xmp" in keyword else _text(keyword, text)
    _read_or_refuse(make_png(chunk).read_bytes())


@settings(max_examples=150)
@given(
    st.lists(
        st.sampled_from([*'",:{}[]<> \\\n', "Steps: 1", "Seed: 2", "Size: 1x1", "lora", "Negative prompt:", "a"]),
        max_size=40,
    )
)
def test_parameters_may_say_anything(make_png: MakePng, parts: list[str]) -> None:
    _read_or_refuse(make_png(_text("parameters", "".join(parts))).read_bytes())


_ONE_ITEM = full_box(b"iinf", 0, struct.pack(">H", 1), full_box(b"infe", 2, b"\0\1\0\0Exif\0"))
_BOXES = {
    "an item beyond all limits": _ONE_ITEM
    + full_box(b"iloc", 0, b"\x44\x00\0\1\0\1\0\0\0\1", struct.pack(">II", 0, 2**31)),
    "fewer items than announced": full_box(b"iloc", 0, b"\x44\x00\xff\xff"),
    "items in 65,535 parts of no bytes each": full_box(b"iloc", 0, b"\0\0\xff\xff", b"\0\1\0\0\xff\xff" * 0xFFFF),
}


@pytest.mark.parametrize("name", _BOXES)
def test_boxes_that_claim_too_much_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(box(b"ftyp", b"heic\0\0\0\0") + full_box(b"meta", 0, _BOXES[name]))
    with pytest.raises(InvalidImageError, match=r"a\.heic"):
        read_image_metadata(path)


def test_a_heic_without_a_description_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(box(b"ftyp", b"heic\0\0\0\0") + box(b"mdat", b"x"))
    with pytest.raises(InvalidImageError, match=r"a\.heic: .* is damaged"):
        read_image_metadata(tmp_path / "a.heic")
