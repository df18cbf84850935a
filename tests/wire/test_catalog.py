"""The catalog of an Echo reply, and finding things in it."""

from __future__ import annotations

import json

import pytest

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp.catalog import Catalog, Control, Embedding, LoRA, Model, Upscaler
from drawthings_mcp.errors import UnknownNameError
from drawthings_mcp.wire.catalog import parse_catalog


def model(file: str, name: str, **more: object) -> dict[str, object]:
    return {"file": file, "name": name, "version": "z_image", "prefix": "", "default_scale": 16, **more}


REPLY = pb.EchoReply(
    files=["z_turbo_q8p.ckpt", "vae.ckpt"],
    override=pb.MetadataOverride(
        models=json.dumps(
            [
                model("z_turbo_q8p.ckpt", "Z Image Turbo 1.0", modifier="kontext", guidance_embed=True),
                model("z_turbo_q8p.ckpt", "a second entry for the same file"),
                {"name": "no file"},
                "not an object",
                model("cloud", "Cloud", remote_api_model_config={}),
                model("flux_dev.ckpt", "FLUX.1 [dev]", version="flux1"),
            ]
        ).encode(),
        loras=json.dumps(
            [
                {"file": "l.ckpt", "name": "L", "version": "flux1", "prefix": "zap", "weight": {"value": 0.8}},
                {"file": "m.ckpt", "name": "M", "version": "flux1", "prefix": ""},
            ]
        ).encode(),
        controlNets=json.dumps(
            [{"file": "c.ckpt", "name": "C", "version": "v1", "type": "controlnet", "modifier": "canny"}]
        ).encode(),
        textualInversions=json.dumps(
            [{"file": "t.ckpt", "name": "T", "version": "v1", "keyword": "tee", "length": 2}]
        ).encode(),
        upscalers=b"{not json",
    ),
)


def parsed() -> Catalog:
    catalog = parse_catalog(REPLY)
    assert catalog is not None
    return catalog


def test_specifications_become_typed_values_and_bad_ones_are_left_out() -> None:
    catalog = parsed()
    assert catalog.models == (
        Model(
            "z_turbo_q8p.ckpt",
            "Z Image Turbo 1.0",
            "z_image",
            modifier="kontext",
            default_scale=16,
            guidance_embed=True,
        ),
        Model("cloud", "Cloud", "z_image", default_scale=16, remote=True),
        Model("flux_dev.ckpt", "FLUX.1 [dev]", "flux1", default_scale=16),
    )
    assert catalog.loras == (
        LoRA("l.ckpt", "L", "flux1", prefix="zap", default_weight=0.8),
        LoRA("m.ckpt", "M", "flux1"),
    )
    assert catalog.controls == (Control("c.ckpt", "C", "v1", type="controlnet", modifier="canny"),)
    assert catalog.embeddings == (Embedding("t.ckpt", "T", "v1", keyword="tee"),)
    assert catalog.upscalers == ()
    assert catalog.files == {"z_turbo_q8p.ckpt", "vae.ckpt"}
    assert catalog.models[0].native_side == 1024
    assert catalog.models[0].specification["prefix"] == ""


def test_upscalers_have_a_factor() -> None:
    override = pb.MetadataOverride(upscalers=b'[{"file":"u.ckpt","name":"U","scale_factor":4,"blocks":23}]')
    catalog = parse_catalog(pb.EchoReply(override=override))
    assert catalog is not None
    assert catalog.upscalers == (Upscaler("u.ckpt", "U", scale_factor=4),)


def test_a_server_without_browsing_has_no_catalog_and_one_without_models_an_empty_one() -> None:
    assert parse_catalog(pb.EchoReply(message="HELLO x")) is None
    assert parse_catalog(pb.EchoReply(override=pb.MetadataOverride())) is None
    assert parse_catalog(pb.EchoReply(override=pb.MetadataOverride(models=b"[]"))) == Catalog()


@pytest.mark.parametrize("name", ["flux_dev.ckpt", "FLUX_DEV", "FLUX.1 [dev]", "flux.1 [DEV]", " flux_dev "])
def test_a_model_is_found_by_file_or_display_name(name: str) -> None:
    assert parsed().get_model(name).file == "flux_dev.ckpt"


def test_an_unknown_name_names_the_nearest_files() -> None:
    with pytest.raises(UnknownNameError) as caught:
        parsed().get_model("flux dev q8")
    assert caught.value.nearest[0] == "flux_dev.ckpt"
    assert len(caught.value.nearest) == 3
    with pytest.raises(UnknownNameError, match="lists none"):
        Catalog().get_lora("x")
