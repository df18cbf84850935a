"""What the doctor says about models, LoRAs and a picture that is really made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from drawthings_mcp.doctor.finding import Finding
from drawthings_mcp.presets.mode_table import list_preferred_models
from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio

Examine = Callable[..., Awaitable[dict[str, Finding]]]

LORA = "qwen_image_2512_lightning_4_step_v1.0_lora_f16.ckpt"


async def test_a_server_that_does_not_list_its_models_names_both_switches(examine: Examine) -> None:
    async with Simulator(model_browser=False) as simulator:
        findings = await examine(simulator.address)
    browsing = findings["model browsing"]
    assert browsing.status == "warning"
    assert "Switch on Enable Model Browsing in Draw Things (Advanced settings → API Server)" in browsing.remedy
    assert "--model-browser" in browsing.remedy
    assert findings["model"].detail == (
        "generate_image chooses Z Image Turbo 1.0 (z_image_turbo_1.0_q8p.ckpt) when none is named"
    )
    assert findings["4-step LoRAs"].status == "ok"


@pytest.mark.parametrize("model_browser", [True, False])
async def test_a_family_without_a_model_says_what_to_download(examine: Examine, model_browser: bool) -> None:
    missing = list_preferred_models("z-image")
    async with Simulator(model_browser=model_browser, missing_files=missing) as simulator:
        findings = await examine(simulator.address)
    assert findings["z-image model"].status == "warning"
    assert "Settings → Model → Manage): Z Image Turbo 1.0 (z_image_turbo_1.0_q8p.ckpt)" in (
        findings["z-image model"].remedy
    )
    assert findings["qwen-image model"].status == "ok"


async def test_a_model_that_is_not_the_preferred_one_is_good_enough(examine: Examine) -> None:
    turbo = [file for file in list_preferred_models("z-image") if "turbo" in file]
    async with Simulator(missing_files=turbo) as simulator:
        model = (await examine(simulator.address))["z-image model"]
    assert model.status == "ok"
    assert model.detail == (
        "installed: Z Image Base 1.0 (z_image_1.0_q6p.ckpt); "
        "preferred would be Z Image Turbo 1.0 (z_image_turbo_1.0_q8p.ckpt)"
    )


async def test_a_model_whose_text_encoder_is_missing_is_to_be_downloaded_again(examine: Examine) -> None:
    async with Simulator(missing_files=["qwen_3_vl_4b_instruct_q8p.ckpt"]) as simulator:
        model = (await examine(simulator.address))["z-image model"]
    assert model.status == "warning"
    assert "a file that it needs is missing" in model.detail
    assert "again" in model.remedy


async def test_a_server_without_any_known_model_is_a_problem(examine: Examine) -> None:
    async with Simulator(missing_files=list_preferred_models()) as simulator:
        findings = await examine(simulator.address, render=True)
    assert findings["model"].status == "problem"
    assert "Download it in Draw Things" in findings["model"].remedy
    assert "z_image_turbo_1.0_q8p.ckpt" in findings["model"].remedy


@pytest.mark.parametrize("model_browser", [True, False])
async def test_a_missing_lightning_lora_is_named_as_the_app_names_it(examine: Examine, model_browser: bool) -> None:
    async with Simulator(model_browser=model_browser, missing_files=[LORA]) as simulator:
        loras = (await examine(simulator.address))["4-step LoRAs"]
    assert loras.status == "warning"
    assert f"missing: Qwen Image 2512 Lightning 4-Step v1.0 ({LORA}); installed: " in loras.detail
    assert "Settings → LoRA → Manage" in loras.remedy


@pytest.mark.parametrize(("response_compression", "detail"), [(True, "on (fpzip, "), (False, "off (98 kB")])
async def test_a_tiny_picture_shows_whether_pictures_come_compressed(
    examine: Examine, response_compression: bool, detail: str
) -> None:
    async with Simulator(response_compression=response_compression) as simulator:
        findings = await examine(simulator.address, render=True)
        assert len(simulator.requests) == 1
    assert findings["compression"].status == "ok"
    assert findings["compression"].detail.startswith(detail)
    assert findings["test picture"].status == "ok"
    assert "with sd_v1.5_f16.ckpt" in findings["test picture"].detail
    assert not simulator.degradations


async def test_nothing_is_rendered_unless_asked_for(examine: Examine) -> None:
    async with Simulator() as simulator:
        await examine(simulator.address)
    assert not simulator.requests


async def test_a_picture_that_cannot_be_made_is_a_problem(examine: Examine) -> None:
    files = [*list_preferred_models()]
    async with Simulator(model_browser=False, missing_files=files) as simulator:
        findings = await examine(simulator.address, render=True)
    assert findings["test picture"].status == "problem"
    assert "no model that makes pictures from text" in findings["test picture"].detail
    assert "Download one first" in findings["test picture"].remedy
    assert findings["compression"].status == "skipped"
