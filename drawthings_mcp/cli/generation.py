"""What ``generate`` and ``edit`` share: options, the way to the studio, the progress bar, the printed result."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from drawthings_mcp.cli.completion import COMPLETIONS, list_pictures, offer
from drawthings_mcp.cli.face import SHELL, SPELLINGS
from drawthings_mcp.cli.options import CommandT, with_settings
from drawthings_mcp.cli.output import json_option, print_json, print_text, progress_bar, say
from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.faces import Text
from drawthings_mcp.jobs.job import Asker, Jobs, Order
from drawthings_mcp.limits import MAX_SIDE, MIN_SIDE
from drawthings_mcp.params import GenerateParams, parse_weighted
from drawthings_mcp.presets.mode_table import list_families, match_family
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio.results import GenerationResult, describe_axes, describe_plan
from drawthings_mcp.studio.studio import Studio, open_studio
from drawthings_mcp.tasks import background_tasks
from drawthings_mcp.validation import suggest

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from drawthings_mcp.planning.compose import Plan
    from drawthings_mcp.planning.sweep import Axis


class SizeType(click.ParamType[Any]):
    """``WIDTHxHEIGHT`` in pixels, or the side of a square."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d{1,9})(?:\s*[x×]\s*(\d{1,9}))?", str(value).strip().lower())
        if match is None:
            self.fail(f"{value!r} is not a size; write it like 1024x768, or 768 for a square", param, ctx)
        width, height = int(match[1]), int(match[2] or match[1])
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (width, height)):
            self.fail(f"{value!r}: sides may be {MIN_SIDE} to {MAX_SIDE} pixels", param, ctx)
        return width, height


class WeightedType(click.ParamType[Any]):
    """``NAME@WEIGHT``; the weight may be left out."""

    name = "NAME[@W]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float | None]:
        try:
            return parse_weighted(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


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

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return offer(incomplete, list_pictures, ctx) or [CompletionItem(incomplete, type="file")]


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


class SweepType(click.ParamType[Any]):
    """``NAME=VALUE,VALUE``: an argument and the values to try; those with commas as a JSON list."""

    name = "NAME=V,V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, list[Any]]:
        name, equals, given = str(value).partition("=")
        if not equals:
            self.fail(f"{value!r}: write it like steps=4,8,16", param, ctx)
        spelling = f"--{name.strip().lower().replace('_', '-')}"
        meant = {option: parameter for parameter, option in (*SPELLINGS.items(), ("guidance_scale", "--cfg"))}
        try:
            values = json.loads(given) if given.lstrip().startswith("[") else given.split(",")
        except ValueError as error:
            self.fail(f"{value!r} is no JSON: {error}", param, ctx)
        return meant.get(spelling, name.strip().replace("-", "_")), values


PICTURE = PictureType()


_TYPES: Mapping[str, click.ParamType[Any]] = {
    **dict.fromkeys(("canvas", "moodboard", "mask", "settings_from"), PICTURE),
    "loras": WeightedType(),
    "hints": ControlType(),
    "configuration": ConfigurationType(),
    "sweep": SweepType(),
}
"""Types of parameters that a shell gives in a form of its own."""


_OTHER_SPELLINGS: Mapping[str, Sequence[str]] = {"guidance_scale": ("--cfg",)}
"""What people type who come from other programs."""


def build_option(name: str) -> Callable[[CommandT], CommandT]:
    """The option of a parameter, made from its field."""
    field = GenerateParams.model_fields[name]
    spelling = (SPELLINGS.get(name, f"--{name.replace('_', '-')}"), *_OTHER_SPELLINGS.get(name, ()), name)
    if field.annotation is bool:
        return click.option(*spelling, is_flag=True, help=field.description)
    bounds = {key: getattr(one, key) for one in field.metadata for key in ("ge", "le") if hasattr(one, key)}
    allowed = [*get_args(field.annotation), *(part for one in get_args(field.annotation) for part in get_args(one))]
    kind: Any = _TYPES.get(name)
    if kind is None and bounds:
        is_whole = field.annotation is int or int in allowed
        kind = (click.IntRange if is_whole else click.FloatRange)(bounds["ge"], bounds["le"])
    elif kind is None and (choices := [value for value in allowed if isinstance(value, str)]):
        kind = click.Choice(choices)
    multiple = field.default == () or name == "sweep"
    # Of a sweep the shell has a form of its own, which the option shows.
    description = f"{field.description}".partition(": {")[0].removesuffix(".") + "."
    text = f"{description} May be given several times." if multiple else description
    complete = COMPLETIONS.get(name)
    return click.option(*spelling, type=kind, multiple=multiple, help=text, shell_complete=complete)


_NO_OPTIONS = frozenset({"prompt", "canvas", "width", "height", "preview"})
"""Parameters that commands take in another way, or that mean nothing at a shell."""

_OPTIONS = (
    click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        help="PNG file to write. Default: a new file in the output folder.",
    ),
    click.option("--size", type=SizeType(), help="Size in pixels; rendered at multiples of 64 and cropped."),
    click.option(
        "--family",
        metavar="NAME",
        help="Choose a model of this family, e.g. z-image or flux.",
        shell_complete=COMPLETIONS["family"],
    ),
    *(build_option(name) for name in GenerateParams.model_fields if name not in _NO_OPTIONS),
    json_option,
)


def generation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds everything that a generation can be asked for; the command gets ``settings`` as well."""
    command = with_settings(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class ShellCall:
    """A call, and the file to write in place of a new one in the output folder."""

    params: GenerateParams
    output: Path | None = None


def read_job(prompt: str | None, output: Path | None, options: Mapping[str, Any]) -> ShellCall:
    """What the arguments of a command ask for; without a prompt, options stand in its place."""
    if prompt is not None and not prompt.strip():
        raise click.UsageError("the PROMPT is empty")
    _check_output(output)
    try:
        return ShellCall(GenerateParams(**list_given(options), prompt=prompt or ""), output)
    except InvalidInputError as error:
        raise click.UsageError(error.word(SHELL)) from error


def _check_output(output: Path | None) -> None:
    if output is not None and output.suffix.lower() != ".png":
        raise click.UsageError(f"--output {str(output)!r}: pictures are written as PNG, end the name with .png")


def list_given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the options of a command stand for."""
    given = {name: options[name] for name in GenerateParams.model_fields if options.get(name) not in (None, ())}
    if "sweep" in given:
        given["sweep"] = dict(given["sweep"])
    width, height = options["size"] or (None, None)
    return {**given, "model": _read_model(options), "width": width, "height": height}


def _read_model(options: Mapping[str, Any]) -> str:
    family, model = options["family"], options["model"]
    if family and model:
        raise click.UsageError("--family has a model chosen, --model names one: give one of them")
    from drawthings_mcp.planning.lookup import list_meant

    families = list_families()
    if family and not (match_family(family) or list_meant(family)):
        raise click.UsageError(f"--family {family!r}: there is no such family.{suggest(family, families)}")
    return family or model or "auto"


def run_jobs(settings: Settings, jobs: Sequence[ShellCall], *, as_json: bool, many: bool = False) -> None:
    """Generates for each job in turn and prints what was made.

    Parameters
    ----------
    many
        Print a list as JSON, however many there are.
    """
    import anyio

    documents = []

    async def run_one(shell: _Shell, job: ShellCall, place: str) -> None:
        if job.params.dry_run:
            plan = await shell.studio.plan(job.params)
            documents.append(_plan_to_json(plan))
            if not as_json:
                print_text(describe_plan(plan, SHELL))
            return
        arguments = job.params.model_dump(mode="json", exclude_defaults=True)
        result = await shell.follow(Order("generate", arguments, output=str(job.output or "")), place)
        documents.append(_to_json(result))
        if not as_json:
            _print_result(result, settings)

    async def run() -> None:
        async with _open_shell(settings) as shell:
            for number, job in enumerate(jobs, 1):
                try:
                    await run_one(shell, job, f"{number} of {len(jobs)}: " if len(jobs) > 1 else "")
                except DrawThingsError as error:
                    if rest := len(jobs) - number:
                        template = "{count} more of the file were not begun; the same command makes what is not there."
                        error.add_note(Text(template, count=rest))
                    raise

    if jobs:
        anyio.run(run)
    if as_json:
        print_json(documents if many else documents[0])


def run_upscale(settings: Settings, picture: str, long_edge: int | None, output: Path | None, *, as_json: bool) -> None:
    """Enlarges a picture and prints what was made; see ``Studio.upscale``."""
    import anyio

    _check_output(output)

    async def run() -> GenerationResult:
        async with _open_shell(settings) as shell:
            arguments = {"picture": picture, "long_edge": long_edge}
            return await shell.follow(Order("upscale", arguments, output=str(output or "")))

    result = anyio.run(run)
    if as_json:
        print_json(_to_json(result))
    else:
        _print_result(result, settings)


@dataclass(frozen=True, slots=True)
class _Shell:
    """A studio whose renders everybody sees and can stop, as those of any other program."""

    studio: Studio
    jobs: Jobs

    async def follow(self, order: Order, place: str = "") -> GenerationResult:
        """What an order makes, with a progress bar meanwhile."""
        is_taken = bool(order.output) and Path(order.output).exists()
        with progress_bar() as show:

            async def report(fraction: float, message: str) -> None:
                show(fraction, f"{place}{message}")

            job = await self.jobs.start(order, Asker("shell", self.studio))
            job.listeners.append(report)
            await job.wait(math.inf)
        result = job.get_result()
        job.note_delivery()
        if is_taken and result.variants:
            say(f"{order.output} exists already; the new picture became {result.variants[0].path.name}")
        return result


@asynccontextmanager
async def _open_shell(settings: Settings) -> AsyncIterator[_Shell]:
    async with open_studio(settings, reads_anywhere=True) as studio, background_tasks() as tasks:
        yield _Shell(studio, Jobs(tasks, studio))


def _plan_to_json(plan: Plan) -> dict[str, Any]:
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


def _print_result(result: GenerationResult, settings: Settings) -> None:
    plan = result.plan
    for image in result.variants:
        print_text(str(image.path))
    if result.sheet is not None:
        print_text(str(result.sheet.path))
    if result.axes:
        say(f"{'the last file is a sheet of them: ' if result.sheet else ''}{describe_axes(result.axes)}")
    seeds = ", ".join(str(image.seed) for image in result.variants)
    where = f" on {result.server}" if len(settings.list_servers()) > 1 else ""
    simulated = ", simulated" if result.simulated else ""
    varied = {axis.name for axis in result.axes}
    model = "" if "model" in varied else f"{plan.model.file}, "
    steps = f"{plan.configuration.steps} steps, " if plan.configuration.strength and "steps" not in varied else ""
    say(f"{model}{steps}seed {seeds}, {result.seconds:.1f} s{where}{simulated}")
    for note in result.notes:
        say(f"note: {SHELL.word(note)}")


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
                **({"values": values} if values else {}),
            }
            for image, values in zip(result.variants, _list_values(result.axes) or repeat({}), strict=False)
        ],
        **({"sheet": {"id": result.sheet.id, "path": str(result.sheet.path)}} if result.sheet else {}),
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


def _list_values(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """What each picture of a sweep was made with, row by row."""
    cells = product(*(axis.labels for axis in reversed(axes)))
    return [dict(zip((axis.name for axis in axes), reversed(cell), strict=True)) for cell in cells] if axes else []


def _describe_choices(plan: Plan) -> dict[str, Any]:
    return {
        "mode": plan.mode,
        "model_file": plan.model.file,
        "model_name": plan.model.name,
        "family": plan.family,
        "preset": plan.preset,
    }
