"""What a program gets from the clients in addition to pictures: files, notebooks, limits, warnings, sentences."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anyio.from_thread import BlockingPortal
from PIL import Image

import drawthings_mcp
from drawthings_mcp import (
    AsyncDrawThingsClient,
    DrawThingsClient,
    DrawThingsWarning,
    GeneratedImage,
    ImageGenerationConfig,
    ModelMetadata,
    SamplerType,
    generate_image,
    get_record,
    read_recipe,
)
from drawthings_mcp.errors import GenerationError, InvalidInputError, StorageError, TimeLimitError, UnknownNameError
from drawthings_mcp.events import Event, ImageReceived
from drawthings_mcp.library.catalog import ImageCatalog
from drawthings_mcp.metadata.reading import read_metadata
from drawthings_mcp.simulator import Simulator
from tests.slots import read_slots

SD = "sd_v1.5_f16.ckpt"
SMALL = ImageGenerationConfig(model=SD, width=128, height=128, steps=2, seed=5, sampler=SamplerType.EulerATrailing)
LOCAL: Any = {"insecure": True}


@pytest.fixture
def simulated(portal: BlockingPortal) -> Any:
    """``with simulated(**options) as simulator``: a simulator in another thread."""

    @contextmanager
    def start(**options: Any) -> Iterator[Simulator]:
        with portal.wrap_async_context_manager(Simulator(**options)) as simulator:
            yield simulator

    return start


def test_a_picture_is_saved_shown_and_converted(simulated: Any, tmp_path: Path) -> None:
    with simulated() as simulator, DrawThingsClient(simulator.address, insecure=True) as client:
        (image,) = client.generate_image("a lion", SMALL)
    assert isinstance(image, GeneratedImage)
    assert repr(image) == "<GeneratedImage 128x128 seed 5, simulated>"
    assert image.to_pil().size == (128, 128)
    with Image.open(io.BytesIO(image._repr_png_())) as shown:
        assert (np.asarray(shown) == image.pixels).all()
    first, second = image.save(tmp_path / "deep" / "lion.png"), image.save(tmp_path / "deep" / "lion.png")
    assert (first.name, second.name) == ("lion.png", "lion-2.png")
    read = read_metadata(first)
    assert read is not None
    assert read.prompt == "a lion"
    with pytest.raises(InvalidInputError, match=r"name it lion\.png, not 'lion\.jpg'"):
        image.save(tmp_path / "lion.jpg")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        image.save(tmp_path / "file" / "lion.png")


def test_one_call_takes_a_size_and_an_output(simulated: Any, tmp_path: Path) -> None:
    with simulated() as simulator:
        options = {"address": simulator.address, "client_options": LOCAL, "model": SD, "steps": 2}
        (image,) = generate_image("a lion", size=192, output=tmp_path / "lion.png", **options)
        (wide,) = generate_image("a lion", size=(256, 128), **options)
        sizes: Any = ("512x768", "64", (512,), (1, 2, 3), 5.5)
        for size in sizes:
            with pytest.raises(InvalidInputError, match=r"size: must be the side of a square or \(width, height\)"):
                generate_image("a lion", size=size, **options)
        runs = len(simulator.runs)
        with pytest.raises(InvalidInputError, match=r"output: pictures are written as PNG: name it lion\.png"):
            generate_image("a lion", size=192, output=tmp_path / "lion.jpg", **options)
        assert len(simulator.runs) == runs
    assert (image.size, wide.size) == ((192, 192), (256, 128))
    assert (tmp_path / "lion.png").is_file()


@pytest.mark.parametrize("browsing", [True, False])
def test_one_call_renders_at_the_models_native_size_with_the_recipe_of_the_command_line(
    simulated: Any, browsing: bool
) -> None:
    with simulated(model_browser=browsing) as simulator:
        options: Any = {"address": simulator.address, "client_options": LOCAL}
        (small,) = generate_image("a lion", model=SD, **options)
        (best,) = generate_image("a lion", **options)
    assert small.size == (512, 512)
    sent = read_slots(simulator.requests[1].message.configuration)
    assert (best.size, sent["model"], sent["steps"]) == ((1024, 1024), "z_image_turbo_1.0_q8p.ckpt", 8)


def test_a_models_version_scale_and_native_size_come_from_the_catalog(simulated: Any) -> None:
    with simulated() as simulator:
        models = ModelMetadata(simulator.address, insecure=True)
        info = models.get_latent_info(SD)
        with pytest.raises(UnknownNameError, match=r"sd_v1\.5_f16\.ckpt"):
            models.get_latent_info("sd_v1.5")
    assert (info["version"], info["default_scale"], info["native_size"]) == ("v1", 8, 512)


def test_a_blocking_client_streams_and_stops_the_run_when_the_context_is_left(simulated: Any) -> None:
    with simulated(step_seconds=0.02) as simulator, DrawThingsClient(simulator.address, insecure=True) as client:
        (request,) = client.compose("a lion", SMALL).requests
        with client.stream(request) as events:
            seen = list(events)
        assert any(isinstance(event, ImageReceived) for event in seen)
        (long,) = client.compose("a lion", SMALL.replace(steps=150)).requests
        with client.stream(long) as events:
            next(events)
        (image,) = client.generate(request)
    assert image.size == (128, 128)


def test_a_call_that_takes_longer_than_its_limit_is_stopped(simulated: Any) -> None:
    with (
        simulated(step_seconds=0.05) as simulator,
        DrawThingsClient(simulator.address, insecure=True, timeout=0.5) as client,
    ):
        with pytest.raises(TimeLimitError, match=r"timeout: 0\.5 s were not enough") as caught:
            client.generate_image("a lion", SMALL.replace(steps=150))
        assert isinstance(caught.value, TimeoutError)
        (image,) = client.generate_image("a lion", SMALL)
    assert image.size == (128, 128)


def test_a_call_from_inside_on_event_is_refused_in_a_sentence(simulated: Any) -> None:
    refusals: list[str] = []

    def ask_again(event: Event) -> None:
        if not refusals:
            with pytest.raises(InvalidInputError) as caught:
                client.echo()
            refusals.append(str(caught.value))

    with simulated() as simulator, DrawThingsClient(simulator.address, insecure=True) as client:
        client.generate_image("a lion", SMALL, on_event=ask_again)
    assert "called from inside on_event" in refusals[0]


def test_closing_during_a_run_raises_an_error_of_this_package(simulated: Any) -> None:
    raised: list[BaseException] = []
    begun = threading.Event()
    with simulated(step_seconds=0.05) as simulator:
        client = DrawThingsClient(simulator.address, insecure=True)
        client.__enter__()

        def work() -> None:
            try:
                client.generate_image("a lion", SMALL.replace(steps=150), on_event=lambda event: begun.set())
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(30)
        client.__exit__(None, None, None)
        thread.join(30)
    assert [type(error) for error in raised] == [GenerationError]
    assert "closed before the call was done" in str(raised[0])


def list_places(caught: list[warnings.WarningMessage]) -> set[str]:
    return {warning.filename for warning in caught if issubclass(warning.category, DrawThingsWarning)}


def test_a_warning_points_at_the_line_of_the_caller(simulated: Any) -> None:
    with (
        simulated() as simulator,
        DrawThingsClient(simulator.address, insecure=True) as client,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        client.generate_image("a lion", SMALL.replace(strength=0.5))
    assert list_places(caught) == {__file__}


@pytest.mark.anyio
async def test_a_warning_points_at_the_line_of_the_asynchronous_caller() -> None:
    async with Simulator() as simulator, AsyncDrawThingsClient(simulator.address, insecure=True) as client:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await client.generate_image("a lion", SMALL.replace(strength=0.5))
    assert list_places(caught) == {__file__}


def test_another_event_loop_than_asyncio_is_refused_in_a_sentence() -> None:
    coroutine = AsyncDrawThingsClient("localhost").__aenter__()
    # Outside of any loop is what trio looks like to asyncio.
    with pytest.raises(InvalidInputError, match="runs on asyncio only"):
        coroutine.send(None)


@pytest.mark.anyio
async def test_a_server_that_accepted_the_secret_is_not_said_to_want_another(serve_grpc: Any) -> None:
    import grpc

    from drawthings_mcp.errors import RequestRefusedError

    async def fail(request: object, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.INTERNAL, "no LoRA")
        yield

    async with serve_grpc(fail) as address, AsyncDrawThingsClient(address, insecure=True) as client:
        with pytest.raises(RequestRefusedError) as caught:
            await client.generate_image("a lion", SMALL)
    assert "no LoRA" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert drawthings_mcp.__version__ == version("drawthings-mcp")
    code = "import sys, drawthings_mcp; print('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_help_lists_every_keyword() -> None:
    text = DrawThingsClient.generate_image.__doc__ or ""
    for name in (
        "negative_prompt",
        "input_image",
        "mask_image",
        "moodboard",
        "hint_images",
        "fit",
        "on_event",
        "config",
    ):
        assert f"\n        {name}\n" in text or f"\n{name}\n" in text, name
    assert "UnknownNameError" in text
    assert "``(H, W)``" in text


def test_a_picture_is_repeated_from_its_file(simulated: Any, tmp_path: Path) -> None:
    first, again = tmp_path / "first.png", tmp_path / "again.png"
    with simulated() as simulator:
        call: dict[str, Any] = {"address": simulator.address, "client_options": LOCAL}
        made = generate_image("a lion", config=SMALL.replace(sharpness=3), negative_prompt="fog", output=first, **call)
        (repeated,) = generate_image(settings_from=first, steps=4, output=again, **call)
        (other,) = generate_image("a hen", settings_from=first, seed=9, size=192, **call)
        with pytest.warns(DrawThingsWarning, match="for another model and were left out"):
            (foreign,) = generate_image(
                settings_from=first, model="z_image_turbo_1.0_q8p.ckpt", negative_prompt="", **call
            )
        with pytest.raises(InvalidInputError, match="settings_from: stands in place of config"):
            generate_image(settings_from=first, config=SMALL, **call)
        with pytest.raises(InvalidInputError, match="prompt: is required"):
            generate_image(**call)
    assert repeated.configuration == made[0].configuration.replace(steps=4)
    assert (repeated.prompt, repeated.negative_prompt) == ("a lion", "fog")
    assert (other.prompt, other.seed, other.size) == ("a hen", 9, (192, 192))
    assert other.configuration.sharpness == 3
    assert (foreign.configuration.steps, foreign.seed, foreign.size) == (8, 5, (128, 128))
    recipe = read_recipe(again)
    assert (recipe.prompt, recipe.model, recipe.settings.fields["steps"], recipe.size) == ("a lion", SD, 4, (128, 128))


def test_a_record_of_the_library_is_got_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAWTHINGS_STATE_DIR", str(tmp_path))
    kept = GeneratedImage(np.zeros((8, 8, 3), np.uint8), "a lion", "", SMALL)
    path = kept.save(tmp_path / "lion.png")
    catalog = ImageCatalog(tmp_path)
    catalog.add("v", path, created=datetime.now(UTC), width=8, height=8, prompt="a lion", seed=5, model=SD)
    assert get_record("V1").path == path
    assert get_record("v1", state_dir=tmp_path).prompt == "a lion"
    assert read_recipe("v1").settings.fields["steps"] == SMALL.steps
    path.unlink()
    assert (read_recipe("v1").prompt, read_recipe("v1").seed) == ("a lion", 5)
    with pytest.raises(UnknownNameError, match="v7"):
        get_record("v7")
