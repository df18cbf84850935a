"""An error says the same on every face, each in its own terms."""

from __future__ import annotations

import ast
import os
import pickle
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.errors import DrawThingsError, InvalidInputError, UnknownNameError
from drawthings_mcp.faces import PYTHON, STEP_KINDS, Face, Step, Text
from drawthings_mcp.generation import ImageGenerationConfig
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.server.app import build_server
from drawthings_mcp.server.face import MCP
from drawthings_mcp.settings import load_settings
from drawthings_mcp.simulator import Simulator
from tests.warm_start import list_command

PACKAGE = Path(__file__).parents[1] / "drawthings_mcp"
FACES = {"MCP": MCP, "shell": SHELL, "Python": PYTHON}
FACTS: dict[str, Any] = {
    "folder": "/pictures",
    "images": ["v1"],
    "kind": "models",
    "query": "flux",
    "setting": "tls",
    "value": "off",
    "what": "it",
}
TOOLS = r"list_models|search_images|review_image|transform_image|tag_image|get_job|cancel_job"
OWN_TERMS = {
    "MCP": re.compile(rf"\b(?:{TOOLS}|generate_image)\b(?!\(\))|ask the user"),
    "shell": re.compile(r"`drawthings-mcp |(?<![\w-])--(?!model-browser|no-response-compression)[a-z]"),
    "Python": re.compile(r"client\.\w+\(|\binput_image\b|\bmask_image\b|\bhint_images\b|\btls='"),
}
"""What only one face says."""


def assert_in_terms_of(name: str, text: str) -> None:
    for other, terms in OWN_TERMS.items():
        if other != name:
            assert not terms.search(text), f"{name} speaks as {other}: {text}"


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize("kind", STEP_KINDS)
def test_every_kind_of_step_is_worded_in_the_terms_of_each_face(kind: Any, name: str) -> None:
    phrase = FACES[name].word(Step(kind, **FACTS))
    assert phrase
    assert phrase == phrase.strip(" .\n")
    assert_in_terms_of(name, phrase)


def test_every_kind_of_step_is_taken_somewhere() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert [kind for kind in STEP_KINDS if not re.search(rf'Step\(\s*"{kind}"', texts)] == []


@pytest.mark.parametrize(
    ("face", "words"),
    [
        (MCP, "canvas: is blue. Leave mask out, set tiledDiffusion or ask the user to set DRAWTHINGS_TLS=off."),
        (SHELL, "--canvas: is blue. Leave --mask out, set tiledDiffusion or use --tls off or set DRAWTHINGS_TLS=off."),
        (PYTHON, "input_image: is blue. Leave mask_image out, set tiled_diffusion or pass tls='off' to the client."),
    ],
)
def test_parameters_fields_and_settings_have_the_names_of_the_face(face: Face, words: str) -> None:
    step = Step("set", setting="tls", value="off")
    text = Text("is {colour}. Leave {mask} out, set {tiled_diffusion} or {step}.", colour="blue", step=step)
    error = InvalidInputError(text, parameter="canvas", value="#00f")
    assert error.word(face) == words
    assert (error.parameter, error.value, error.steps) == ("canvas", "#00f", (step,))
    assert str(error) == error.word(PYTHON)


def test_what_is_quoted_is_never_taken_for_a_template() -> None:
    inner = InvalidInputError(Text("has no {name!r}", name="{canvas} {0} {"), parameter="preset")
    outer = DrawThingsError(Text("{error}; {path}", error=inner, path="/tmp/{mask}"))
    assert outer.word(MCP) == "preset: has no “{canvas} {0} {”; /tmp/{mask}"


def test_errors_survive_another_process() -> None:
    error = UnknownNameError(Text("{file}: {step}", file="a", step=Step("list_models")), name="a", nearest=["b"])
    error.add_note("seed 7")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.word(SHELL), copy.name, copy.nearest, copy.__notes__) == (error.word(SHELL), "a", ("b",), ["seed 7"])


SD = "sd_v1.5_f16.ckpt"

FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown model": ({"model": "nonesuch"}, "nearest"),
    "a model that does not edit": (
        {"model": "sd_v1.5_f16.ckpt", "mode": "edit", "canvas": "PICTURE"},
        "does not do edit",
    ),
    "a family for another mode": (
        {"model": "z-image", "mode": "edit", "canvas": "PICTURE"},
        "z-image does not do edit",
    ),
    "a mode without its picture": ({"mode": "edit"}, "needs a picture"),
    "a picture that nothing looks at": ({"mode": "text2image", "canvas": "PICTURE"}, "looks at no picture"),
    "an inpainting without a mask": ({"mode": "inpaint", "canvas": "PICTURE"}, "needs a"),
    "a mask of another size": ({"mode": "inpaint", "canvas": "PICTURE", "mask": "SMALL"}, "must have the size of"),
    "a moodboard for a model that looks at the canvas only": (
        {"mode": "image2image", "canvas": "PICTURE", "moodboard": ["PICTURE"]},
        "looks at the canvas only",
    ),
    "a step too many": ({"steps": 500}, "150"),
    "an unknown sampler": ({"sampler": "Eulr"}, "no sampler"),
    "an unknown preset": ({"preset": "nonesuch"}, "no preset"),
    "a wrong type in a configuration": ({"configuration": {"clipSkip": "often"}}, "must be a whole number"),
    "a number that the model reads": ({"configuration": {"hiresFix": True, "hiresFixStrength": 3}}, "from 0 to 1"),
    "a value of a configuration": ({"configuration": {"steps": 500}}, "steps"),
    "one step that gives nothing": ({"steps": 1, "sampler": "DPM++ 2M Karras"}, "can crash the server"),
    "a LoRA for another model": (
        {"loras": ["hyper_sd_v1.x_4_step_lora_f16.ckpt"]},
        "hyper_sd_v1.x_4_step_lora_f16.ckpt",
    ),
    "a picture that is not there": ({"canvas": "v999"}, "v999"),
}
"""Calls that are refused, and what each face says of them."""


@pytest.mark.anyio
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_refusal_says_the_same_on_all_faces_each_in_its_own_terms(failure: str, tmp_path: Path) -> None:
    arguments, fact = FAILURES[failure]
    async with Simulator() as simulator:
        texts = {
            "MCP": await ask_mcp(simulator.address, tmp_path, arguments),
            "shell": await ask_shell(simulator.address, tmp_path, arguments),
        }
    for name, text in texts.items():
        assert fact.lower() in text.lower(), f"{name}: {text}"
        assert_in_terms_of(name, text)
        assert "Traceback" not in text
    assert not simulator.requests


def draw_pictures(folder: Path) -> dict[str, str]:
    from PIL import Image

    sizes = {"PICTURE": (256, 192), "SMALL": (64, 64)}
    paths = {name: folder / f"{name}.png" for name in sizes}
    for name, (width, height) in sizes.items():
        Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(paths[name])
    return {name: str(path) for name, path in paths.items()}


def fill_in(value: Any, pictures: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [fill_in(item, pictures) for item in value]
    return pictures.get(value, value) if isinstance(value, str) else value


async def ask_mcp(server: str, folder: Path, arguments: dict[str, Any]) -> str:
    from mcp import Client

    environment = {
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
        "DRAWTHINGS_INPUT_DIRS": str(folder),
    }
    settings = load_settings({"server": server, "tls": "off", "custom_configs": "none"}, environment=environment)
    pictures = draw_pictures(folder)
    given = {name: fill_in(value, pictures) for name, value in arguments.items()}
    async with Client(build_server(settings), read_timeout_seconds=60) as client:
        result = await client.call_tool("generate_image", {"prompt": "a fox", **given})
    assert result.is_error
    return "\n".join(block.text for block in result.content if block.type == "text")


async def ask_shell(server: str, folder: Path, arguments: dict[str, Any]) -> str:
    import json

    pictures = draw_pictures(folder)
    spellings = {"image_format": "format", "configuration": "config", "loras": "lora"}
    words = ["generate", "a fox", "--server", server, "--tls", "off"]
    for name, value in arguments.items():
        for item in value if isinstance(value, list) else [value]:
            text = json.dumps(item) if isinstance(item, dict) else str(fill_in(item, pictures))
            words += [f"--{spellings.get(name, name)}", text]
    environment = {
        "HOME": os.environ["HOME"],
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
        "DRAWTHINGS_CUSTOM_CONFIGS": "none",
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "10000",
    }
    with anyio.fail_after(60):
        ended = await anyio.run_process(list_command("-m", "drawthings_mcp", *words), env=environment, check=False)
    assert ended.returncode in (1, 2), ended
    # The hint above a usage error is click's.
    return re.sub(r"Usage: .*\n|Try '.*\n", "", ended.stderr.decode())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("config", "pictures", "words"),
    [
        ({"model": "nonesuch.ckpt"}, {}, "There is no model 'nonesuch.ckpt' on the server"),
        (
            {"model": "sd_v1.5_f16.ckpt"},
            {"mask_image": "MASK"},
            "mask_image: masks a canvas, of which there is none. Give input_image",
        ),
        ({"model": "sd_v1.5_f16.ckpt"}, {"hint_images": {"canny": "MASK"}}, "hint_images: no control reads canny maps"),
        (
            {"model": "sd_v1.5_f16.ckpt", "steps": 1, "sampler": "DPM++ 2M Karras"},
            {},
            "sampler: one step with DPM++ 2M Karras",
        ),
    ],
)
async def test_python_is_told_in_its_own_terms(config: dict[str, Any], pictures: dict[str, Any], words: str) -> None:
    mask = np.full((512, 512, 3), 255, np.uint8)
    given: dict[str, Any] = {
        name: mask if value == "MASK" else dict.fromkeys(value, mask) for name, value in pictures.items()
    }
    settings = ImageGenerationConfig(**{"width": 512, "height": 512, **config})
    async with Simulator() as simulator, AsyncDrawThingsClient(simulator.address, insecure=True) as client:
        with pytest.raises(DrawThingsError) as caught, warnings.catch_warnings():
            await client.generate_image("a fox", settings, **given)
    assert words in str(caught.value)
    assert_in_terms_of("Python", str(caught.value))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MCP", "ask the user to set DRAWTHINGS_TLS=off"),
        ("shell", "use --tls off"),
        ("Python", "pass tls='off' to the client"),
    ],
)
async def test_a_server_without_tls_is_allowed_in_the_words_of_the_face(name: str, words: str) -> None:
    async with Simulator() as simulator, AsyncDrawThingsClient(simulator.address, tls="on") as client:
        with pytest.raises(DrawThingsError) as caught:
            await client.echo()
    text = caught.value.word(FACES[name])
    assert words in text
    assert_in_terms_of(name, text)


def test_python_has_a_keyword_for_every_parameter_of_a_picture() -> None:
    from drawthings_mcp.api.async_client import Pictures

    shared = {PYTHON.name(name) for name in ("canvas", "mask", "moodboard", "hints", "fit", "negative_prompt")}
    assert shared == set(Pictures.__annotations__)
    assert {"canvas", "mask", "moodboard", "hints", "fit", "negative_prompt"} <= set(GenerateParams.model_fields)


FOREIGN = re.compile(
    rf"\b({TOOLS})\b\(|(?<![\w-])--[a-z][a-z-]+|\bdrawthings-mcp [a-z]+|\b(input_image|mask_image|hint_images)\b"
)
MAY_SPEAK = {
    "attachments/budget.py": "writes what a model reads",
    "doctor/": "speaks to a person at a shell",
    "install/": "runs other programs and writes down how this one is started",
    "limits.py": "names the simulator",
    "api/": "is Python's face",
    "cli/": "is the shell's face",
    "server/": "is MCP's face",
    "simulator/": "is another program",
    "_generated/": "is not written by hand",
    "faces.py": "has Python's words",
}
"""Modules whose texts may have the words of one face."""


def list_texts(path: Path) -> Iterator[ast.Constant]:
    """The texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    documentation = {id(statement.value) for statement in statements}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node


def test_no_text_below_the_faces_has_the_words_of_one() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(tuple(MAY_SPEAK)):
            texts = [text for text in list_texts(path) if FOREIGN.search(str(text.value))]
            found += [f"{name}:{text.lineno}: {text.value!s}" for text in texts]
    # Options of Draw Things' own stand-alone server are the same for everybody.
    assert [line for line in found if not re.search(r"gRPCServerCLI|stand-alone", line)] == []


def test_nothing_rewrites_the_text_of_an_error() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        assert ".args = (" not in source.replace("error.args = args", ""), path
