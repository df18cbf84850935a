"""What ``generate`` and ``edit`` share: options, the way to the studio, the progress bar, the printed result."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.options import SERVER_NAMES, CommandT, read_settings, reported_errors, server_options
from drawthings_mcp.cli.output import print_json, print_text, say
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import MAX_SIDE, MIN_SIDE
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.presets.mode_table import list_families, match_family
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.describe import describe_plan
from drawthings_mcp.studio.heartbeat import Report
from drawthings_mcp.studio.results import GenerationResult
from drawthings_mcp.studio.studio import open_studio
from drawthings_mcp.validation import suggest

if TYPE_CHECKING:
    from drawthings_mcp.planning.compose import Plan


_BAR_UNITS = 1000


class SizeType(click.ParamType[Any]):
    """``WIDTHxHEIGHT`` in pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+)\s*[x×]\s*(\d+)", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is not a size; write it like 1024x768", param, ctx)
        width, height = int(match[1]), int(match[2])
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
            self.fail(f"{value!r}: sides may be {MIN_SIDE} to {MAX_SIDE} pixels", param, ctx)
        return width, height


class WeightedType(click.ParamType[Any]):
    """``NAME@WEIGHT``; the weight may be left out."""

    name = "NAME[@W]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float | None]:
        if isinstance(value, tuple):
            return value
        name, at, weight = str(value).rpartition("@")
        if not at:
            return str(value), None
        try:
            return name, float(weight)
        except ValueError:
            self.fail(f"{weight!r} is not a weight; write it like {name}@0.8", param, ctx)


class ControlType(WeightedType):
    """``TYPE=FILE[@WEIGHT]``: a ready map for a control."""

    name = "TYPE=FILE[@W]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        given, weight = super().convert(value, param, ctx)
        kind, equals, file = given.partition("=")
        if not equals:
            self.fail(f"{value!r}: write it like canny=edges.png@0.7", param, ctx)
        return kind, PICTURE.convert(file, param, ctx), weight


class PictureType(click.ParamType[Any]):
    """A file, or another reference to a picture: an id, ``latest``, a URL."""

    name = "FILE|ID"
    _reference = re.compile(r"[avpi]\d+|latest(:[avpi])?|(https|file|data|image|project):.+", re.IGNORECASE)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = Path(value).expanduser()
        if path.is_file():
            return str(path.absolute())
        if not self._reference.fullmatch(str(value)):
            self.fail(f"there is no file {str(value)!r}; give a file, or an id such as v3", param, ctx)
        return str(value)


class ConfigurationType(click.ParamType[Any]):
    """A JSON object, or ``@FILE`` with one."""

    name = "JSON|@FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        try:
            text = Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
            data = json.loads(text)
        except (OSError, ValueError) as error:
            self.fail(f"cannot be read: {error}", param, ctx)
        if not isinstance(data, dict):
            self.fail("must be a JSON object with keys of the app's configuration", param, ctx)
        return data


PICTURE = PictureType()


_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "negative_prompt": ("--negative", "negative_prompt"),
    "image_format": ("--format", "image_format"),
    "guidance_scale": ("--guidance", "guidance_scale"),
    "loras": ("--lora", "loras"),
    "hints": ("--control", "hints"),
    "configuration": ("--config", "configuration"),
}
"""Options that are spelt otherwise than their parameters."""

_TYPES: Mapping[str, click.ParamType[Any]] = {
    "canvas": PICTURE,
    "moodboard": PICTURE,
    "mask": PICTURE,
    "loras": WeightedType(),
    "hints": ControlType(),
    "configuration": ConfigurationType(),
}
"""Types of parameters that a shell gives in a form of its own."""


def build_option(name: str) -> Callable[[CommandT], CommandT]:
    """The option of a parameter, made from its field."""
    field = GenerateParams.model_fields[name]
    spelling = _SPELLINGS.get(name, (f"--{name.replace('_', '-')}",))
    if field.annotation is bool:
        return click.option(*spelling, is_flag=True, help=field.description)
    bounds = {key: getattr(one, key) for one in field.metadata for key in ("ge", "le") if hasattr(one, key)}
    allowed = [*get_args(field.annotation), *(part for one in get_args(field.annotation) for part in get_args(one))]
    kind: Any = _TYPES.get(name)
    if kind is None and bounds:
        is_whole = field.annotation is int or int in allowed
        kind = (click.IntRange if is_whole else click.FloatRange)(bounds["ge"], bounds["le"])
    elif kind is None and allowed:
        kind = click.Choice([value for value in allowed if isinstance(value, str)])
    return click.option(*spelling, type=kind, multiple=field.default == (), help=field.description)


_NO_OPTIONS = frozenset({"prompt", "canvas", "width", "height", "preview"})
"""Parameters that commands take otherwise, or that mean nothing at a shell."""

_OPTIONS = (
    click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="PNG file to write."),
    click.option("--size", type=SizeType(), help="Any size; rendered at multiples of 64 and cropped."),
    click.option("--family", metavar="NAME", help="A family such as z-image or flux: a model of it is chosen."),
    *(build_option(name) for name in GenerateParams.model_fields if name not in _NO_OPTIONS),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


def generation_options(command: CommandT) -> CommandT:
    """Adds everything that a generation can be asked for."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return server_options(command)


def read_params(prompt: str, options: Mapping[str, Any]) -> GenerateParams:
    """The parameters that the options of a command stand for."""
    given = {name: options[name] for name in GenerateParams.model_fields if options.get(name) not in (None, ())}
    width, height = options["size"] or (None, None)
    try:
        return GenerateParams(
            **{**given, "prompt": prompt, "model": _read_model(options), "width": width, "height": height}
        )
    except InvalidInputError as error:
        raise click.UsageError(error.word(SHELL)) from error


def _read_model(options: Mapping[str, Any]) -> str:
    family, model = options["family"], options["model"]
    if family and model:
        raise click.UsageError("--family has a model chosen, --model names one: give one of them")
    families = list_families()
    if family and not match_family(family):
        raise click.UsageError(f"--family {family!r}: there is no such family.{suggest(family, families)}")
    return family or model or "auto"


def run_jobs(jobs: Sequence[tuple[str, Path | None]], options: Mapping[str, Any], *, many: bool = False) -> None:
    """Generates for each prompt in turn and prints what was made; a job is a prompt and the file to write.

    Parameters
    ----------
    many
        Print a list as JSON, however many there are.
    """
    import anyio

    for _, output in jobs:
        if output is not None and output.suffix.lower() != ".png":
            raise click.UsageError(f"--output {str(output)!r}: pictures are written as PNG, end the name with .png")
    requests = [(read_params(prompt, options), output) for prompt, output in jobs]
    context = click.get_current_context()
    settings = read_settings(context, {name: options[name] for name in SERVER_NAMES})
    if options["dry_run"]:
        with reported_errors():
            runs = anyio.run(_plan_all, settings, requests) if jobs else []
        _print_plans(runs, as_json=options["as_json"], many=many)
        return
    with reported_errors():
        results = anyio.run(_run_all, settings, requests, options) if jobs else []
    if options["as_json"]:
        documents = [_to_json(result) for result in results]
        print_json(documents if many else documents[0])


async def _run_all(
    settings: Settings, requests: Sequence[tuple[GenerateParams, Path | None]], options: Mapping[str, Any]
) -> list[GenerationResult]:
    results = []
    async with open_studio(settings, reads_anywhere=True) as studio:
        for params, output in requests:
            with _progress_bar() as report:
                result = await studio.generate(params, report, output=output)
            if not options["as_json"]:
                _print_result(result)
            results.append(result)
    return results


async def _plan_all(settings: Settings, requests: Sequence[tuple[GenerateParams, Path | None]]) -> list[Plan]:
    async with open_studio(settings, reads_anywhere=True) as studio:
        return [await studio.plan(params) for params, _ in requests]


def _print_plans(plans: Sequence[Plan], *, as_json: bool, many: bool) -> None:
    if as_json:
        documents = [_describe_plan(plan) for plan in plans]
        print_json(documents if many else documents[0])
        return
    for plan in plans:
        print_text(describe_plan(plan, SHELL))


def _describe_plan(plan: Plan) -> dict[str, Any]:
    """A plan as JSON-serialisable dict."""
    return {
        "prompt": plan.requests[0].prompt,
        "negative_prompt": plan.requests[0].negative_prompt,
        **_describe_choices(plan),
        "size": [plan.size.width, plan.size.height],
        "rendered_size": list(plan.size.rendered),
        "sampler": plan.configuration.sampler.display_name,
        "settings": {key: [value, origin] for key, value, origin in plan.list_settings()},
        "notes": list(map(SHELL.word, plan.notes)),
    }


@contextmanager
def _progress_bar() -> Iterator[Report]:
    """A bar on stderr, with what is happening beside it; nothing when stderr is no terminal."""
    with click.progressbar(
        length=_BAR_UNITS,
        file=sys.stderr,
        item_show_func=lambda message: message,
        show_eta=False,
        hidden=not sys.stderr.isatty(),
    ) as bar:

        async def report(fraction: float, message: str) -> None:
            bar.update(max(round(fraction * _BAR_UNITS) - bar.pos, 0), message)

        yield report


def _print_result(result: GenerationResult) -> None:
    for image in result.variants:
        print_text(str(image.path))
    simulated = ", simulated" if result.simulated else ""
    seeds = ", ".join(str(image.seed) for image in result.variants)
    say(
        f"{result.plan.model.file}, {result.plan.configuration.steps} steps, seed {seeds}, {result.seconds:.1f} "
        f"s{simulated}"
    )
    for note in result.notes:
        say(f"note: {SHELL.word(note)}")


def _describe_choices(plan: Plan) -> dict[str, Any]:
    return {
        "mode": plan.mode,
        "model_file": plan.model.file,
        "model_name": plan.model.name,
        "family": plan.family,
        "preset": plan.preset,
    }


def _to_json(result: GenerationResult) -> dict[str, Any]:
    plan = result.plan
    choices = _describe_choices(plan)
    return {
        "images": [
            {
                "id": image.record.id,
                "path": str(image.path),
                "width": image.size[0],
                "height": image.size[1],
                "seed": image.seed,
            }
            for image in result.variants
        ],
        "inputs": [{"id": picture.id, "path": str(picture.path)} for picture in result.inputs],
        "model": choices.pop("model_file"),
        **choices,
        "steps": plan.configuration.steps,
        "guidance_scale": plan.configuration.guidance_scale,
        "sampler": plan.configuration.sampler.display_name,
        "rendered_width": plan.size.rendered[0],
        "rendered_height": plan.size.rendered[1],
        "seconds": result.seconds,
        "server": result.server,
        "simulated": result.simulated,
        "notes": list(map(SHELL.word, result.notes)),
    }
