"""Ready maps and the controls that read them, through the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.settings import load_settings
from drawthings_mcp.simulator import Simulator
from drawthings_mcp.studio.studio import open_studio
from drawthings_mcp.wire.configuration import parse_configuration

pytestmark = pytest.mark.anyio

CANNY = "controlnet_canny_1.x_v1.1_f16.ckpt"
EDGES = np.zeros((512, 512, 3), np.uint8)
EDGES[200:210] = 255


async def render(simulator: Simulator, folder: Path, **given: Any) -> Any:
    environment = {"DRAWTHINGS_OUTPUT_DIR": str(folder / "out"), "DRAWTHINGS_STATE_DIR": str(folder / "state")}
    settings = load_settings({"server": simulator.address, "tls": "off"}, environment=environment)
    hints = (("canny", EDGES, given.pop("weight", None)),)
    with anyio.fail_after(60):
        async with open_studio(settings) as studio:
            await studio.generate(
                GenerateParams(prompt="a fox", model="sd_v1.5_f16.ckpt", width=512, height=512, hints=hints, **given)
            )
    (seen,) = simulator.requests
    assert [hint.hintType for hint in seen.message.hints] == ["custom"]
    return parse_configuration(seen.message.configuration).controls


@pytest.mark.parametrize("browsing", [True, False])
async def test_the_control_that_reads_a_map_is_found_with_and_without_browsing(tmp_path: Path, browsing: bool) -> None:
    async with Simulator(model_browser=browsing) as simulator:
        (control,) = await render(simulator, tmp_path, weight=0.7)
    assert (control.file, control.weight) == (CANNY, pytest.approx(0.7))
    assert not simulator.degradations


async def test_controls_of_the_configuration_are_taken_as_they_are(tmp_path: Path) -> None:
    named = {"controls": [{"file": CANNY, "weight": 0.5, "guidanceEnd": 0.8}]}
    async with Simulator(model_browser=False) as simulator:
        (control,) = await render(simulator, tmp_path, configuration=named)
    assert (control.file, control.weight, control.guidance_end) == (CANNY, 0.5, pytest.approx(0.8))


async def test_without_a_fitting_control_the_kinds_that_there_are_are_listed(tmp_path: Path) -> None:
    async with Simulator(missing_files=[CANNY]) as simulator:
        with pytest.raises(InvalidInputError, match="no control for canny maps"):
            await render(simulator, tmp_path)
