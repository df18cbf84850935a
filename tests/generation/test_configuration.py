"""The configuration value: what it accepts, what it refuses and with which words."""

from __future__ import annotations

import collections.abc
import math
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from drawthings_mcp import ControlNetConfig, ImageGenerationConfig, LoRAConfig, SamplerType
from drawthings_mcp.errors import DrawThingsError, InvalidInputError, UnknownNameError
from drawthings_mcp.generation import (
    ControlInputType,
    ControlMode,
    LoRAMode,
    SeedMode,
    configuration,
    enums,
    list_batch_seeds,
    next_seed,
)
from drawthings_mcp.generation.fields import ConfigurationFields, ControlFields


def test_aliases_and_display_names_mean_the_same_as_the_fields() -> None:
    fields: dict[str, Any] = {"cfg_scale": 1.5, "scheduler": "Euler A Trailing", "fps_id": 12}
    config = ImageGenerationConfig(model="flux_1_schnell_q8p.ckpt", **fields)
    assert (config.guidance_scale, config.cfg_scale) == (1.5, 1.5)
    assert (config.sampler, config.scheduler) == (SamplerType.EulerATrailing, "Euler A Trailing")
    assert config.fps == 12
    assert config.replace(cfg_scale=3).guidance_scale == 3


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        *((sampler.display_name, sampler) for sampler in SamplerType),
        *((sampler.name, sampler) for sampler in SamplerType),
        *((sampler.display_name.upper(), sampler) for sampler in SamplerType),
        ("Euler a", SamplerType.EulerA),
        ("DPMPP2M Karras", SamplerType.DPMPP2MKarras),
        ("UniPC ays", SamplerType.UniPCAYS),
        ("dpm_2m_karras", SamplerType.DPMPP2MKarras),
        ("dpmpp 2m karras", SamplerType.DPMPP2MKarras),
        ("k_euler_ancestral", SamplerType.EulerA),
        ("trailing unipc", SamplerType.UniPCTrailing),
        ("Karras DPM++ SDE", SamplerType.DPMPPSDEKarras),
        ("Euler A Align Your Steps", SamplerType.EulerAAYS),
        ("dpm++ 2m t", SamplerType.DPMPP2MTrailing),
    ],
)
def test_samplers_are_found_by_the_names_people_use(name: str, sampler: SamplerType) -> None:
    assert SamplerType.parse(name) is sampler


def test_an_unknown_sampler_names_the_nearest_three() -> None:
    with pytest.raises(UnknownNameError) as caught:
        SamplerType.parse("Euler Tailing")
    assert len(caught.value.nearest) == 3
    assert "Euler A Trailing" in caught.value.nearest
    assert "Euler A Trailing" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DPM++ 2M", ["DPM++ 2M Karras", "DPM++ 2M AYS", "DPM++ 2M Trailing"]),
        ("dpmpp_sde", ["DPM++ SDE Karras", "DPM++ SDE Substep", "DPM++ SDE Trailing", "DPM++ SDE AYS"]),
    ],
)
def test_half_a_samplers_name_names_those_that_it_may_mean(name: str, nearest: list[str]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        SamplerType.parse(name)
    assert list(caught.value.nearest) == nearest


@pytest.mark.parametrize("name", ["DPM++ 3M Karras", "DPM2 Karras", "DPM++ 2M SDE Karras", "Euler", "k", ""])
def test_another_sampler_is_not_taken_for_a_near_one(name: str) -> None:
    with pytest.raises(UnknownNameError):
        SamplerType.parse(name)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 100}, "width: must be a multiple of 64"),
        ({"width": 64}, "width: must be from 128 to 8192, got 64"),
        ({"height": 8256}, "height: must be from 128 to 8192, got 8256"),
        ({"steps": 0}, "steps: must be from 1 to 150, got 0"),
        ({"steps": 151}, "steps: must be from 1 to 150, got 151"),
        ({"steps": "many"}, "steps: must be a whole number, got “many”"),
        ({"strength": 1.5}, "strength: must be from 0 to 1, got 1.5"),
        ({"strength": math.nan}, "strength: must be a finite number"),
        ({"guidance_scale": 51}, "guidance_scale: must be from 0 to 50"),
        ({"seed": -2}, "seed: must be from -1 to 4294967295, got -2"),
        ({"seed": 2**32}, "seed: must be from -1 to 4294967295"),
        ({"sampler": 20}, "sampler: must be"),
        ({"batch_size": 0}, "batch_size: must be from 1 to 4"),
        ({"seed_mode": "random"}, "seed_mode: must be one of Legacy"),
        ({"stepz": 3}, "stepz: there is no such argument. Did you mean 'steps'"),
        ({"loras": [{"file": ""}]}, "file: must have at least 1 character"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        ImageGenerationConfig(**fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, DrawThingsError)
    assert isinstance(caught.value, ValueError)


def test_values_are_equal_by_content_and_show_what_differs_from_the_defaults() -> None:
    loose: dict[str, Any] = {"loras": [LoRAConfig(file="l.ckpt", weight=0.8)]}
    config = ImageGenerationConfig(model="a.ckpt", steps=4, **loose)
    assert config == ImageGenerationConfig(steps=4, model="a.ckpt", loras=(LoRAConfig(file="l.ckpt", weight=0.8),))
    assert repr(config) == (
        "ImageGenerationConfig(model='a.ckpt', steps=4, loras=(LoRAConfig(file='l.ckpt', weight=0.8),))"
    )


def test_a_value_is_checked_when_it_is_assigned() -> None:
    config = ImageGenerationConfig(model="a.ckpt", loras=(LoRAConfig(file="l.ckpt"),))
    config.seed = 7
    config.cfg_scale = 2.5
    config.scheduler = "euler a trailing"
    config.loras[0].weight = 0.9
    same = ImageGenerationConfig(
        model="a.ckpt",
        seed=7,
        guidance_scale=2.5,
        sampler=SamplerType.EulerATrailing,
        loras=(LoRAConfig(file="l.ckpt", weight=0.9),),
    )
    assert config == same
    assert config != same.replace(seed=8)
    for name, value, words in (
        ("steps", 0, "steps: must be from 1 to 150, got 0"),
        ("start_width", 1000, "width: must be a multiple of 64"),
        ("sampler", "Euler B", "sampler: There is no sampler 'Euler B'"),
        ("stepz", 3, "stepz: there is no such field. Did you mean 'steps'"),
    ):
        with pytest.raises(InvalidInputError, match=words.replace("(", r"\(")):
            setattr(config, name, value)
    with pytest.raises(InvalidInputError, match="weight: must be from -10 to 10"):
        config.loras[0].weight = 11
    assert config == same
    with pytest.raises(TypeError, match="unhashable"):
        hash(config)


def test_a_changed_copy_shares_nothing_with_the_first() -> None:
    first = ImageGenerationConfig(loras=(LoRAConfig(file="l.ckpt"),))
    second = first.replace(steps=4)
    second.loras[0].weight = 0.9
    assert first.loras[0].weight == 0.6


@pytest.mark.parametrize(
    ("fields", "sizes"),
    [
        ({"start_width": 8, "start_height": 32}, {"width": 512, "height": 2048}),
        ({"width": 8}, {"width": 512}),
        ({"decoding_tile_width": 10, "decoding_tile_height": 12}, {"decoding_tile_width": 640}),
        ({"diffusion_tile_overlap": 2, "hires_fix_start_width": 7}, {"diffusion_tile_overlap": 128}),
        ({"decoding_tile_overlap": 0}, {"decoding_tile_overlap": 0}),
    ],
)
def test_sizes_that_cannot_be_pixels_are_units_of_64(fields: dict[str, Any], sizes: dict[str, int]) -> None:
    config = ImageGenerationConfig(**fields)
    assert {name: getattr(config, name) for name in sizes} == sizes
    assigned = ImageGenerationConfig()
    for name, value in fields.items():
        setattr(assigned, name, value)
    assert assigned == config
    assert all(getattr(config, name) == getattr(assigned, name) for name in fields)
    config = ImageGenerationConfig.from_app_json({"decodingTileWidth": 10, "width": 8})
    assert (config.decoding_tile_width, config.width) == (640, 512)


def test_enumerations_are_accepted_as_numbers_members_and_names() -> None:
    loose: dict[str, Any] = {"seed_mode": 3}
    assert ImageGenerationConfig(**loose).seed_mode is SeedMode.NvidiaGpuCompatible
    loose = {"mode": "refiner"}
    assert LoRAConfig(file="l.ckpt", **loose).mode is LoRAMode.Refiner
    loose = {"control_importance": "prompt", "input_override": ControlInputType.Canny}
    control = ControlNetConfig(file="c.ckpt", **loose)
    assert (control.control_mode, control.input_override) == (ControlMode.Prompt, ControlInputType.Canny)


def test_seeds_of_a_batch_follow_xorshift_and_zero_is_a_seed() -> None:
    # 1 and 270369 are the classic first values of xorshift32 with shifts 13, 17, 5.
    assert next_seed(1) == 270369
    assert list_batch_seeds(1, 3) == [1, 270369, 67634689]
    assert next_seed(0) == next_seed(0x0BAD5EED)
    assert all(0 <= seed < 2**32 for seed in list_batch_seeds(4294967295, 100))


def test_a_field_given_under_two_names_is_refused() -> None:
    both: dict[str, Any] = {"cfg_scale": 1, "guidance_scale": 2}
    with pytest.raises(InvalidInputError, match="cfg_scale and guidance_scale are the same field"):
        ImageGenerationConfig(**both)


def test_loras_and_controls_take_their_values_in_order() -> None:
    make_lora: Any = LoRAConfig
    make_control: Any = ControlNetConfig
    assert make_lora("l.ckpt", 0.8, 1) == LoRAConfig(file="l.ckpt", weight=0.8, mode=LoRAMode.Base)
    assert make_control("c.ckpt", 0.7) == ControlNetConfig(file="c.ckpt", weight=0.7)
    with pytest.raises(InvalidInputError, match="at most 3 values, got 4"):
        make_lora("l.ckpt", 0.8, 1, 5)


def name_kinds(annotation: Any) -> set[str]:
    """The classes in an annotation by name, without what only holds them."""
    parts = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return name_kinds(parts[0])
    if parts:
        return {name for part in parts if part is not ... for name in name_kinds(part)}
    return {annotation.__name__}


@pytest.mark.parametrize(
    ("kind", "fields"), [(ImageGenerationConfig, ConfigurationFields), (ControlNetConfig, ControlFields)]
)
def test_a_type_checker_knows_every_field_by_every_name_and_its_type(kind: Any, fields: Any) -> None:
    given = get_type_hints(fields, localns={**vars(enums), **vars(configuration), **vars(collections.abc)})
    expected: dict[str, set[str]] = {}
    for name, field in kind.model_fields.items():
        choices = getattr(field.validation_alias, "choices", [name])
        expected |= dict.fromkeys(choices, name_kinds(field.annotation))
    assert set(given) == set(expected)
    for name, kinds in expected.items():
        assert kinds <= name_kinds(given[name]), name
        assert name_kinds(given[name]) - kinds <= {"str", "int"}, name
