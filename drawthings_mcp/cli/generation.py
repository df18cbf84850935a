"""What ``generate`` and ``edit`` share: options, the way to the studio, the progress bar, the printed result."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from drawthings_mcp.cli.options import SERVER_NAMES, read_settings, reported_errors, server_options
from drawthings_mcp.cli.output import print_json, print_text, say
from drawthings_mcp.limits import MAX_SEED, MAX_SIDE, MAX_VARIANTS, MIN_SIDE
from drawthings_mcp.presets.mode_table import list_families, match_family
from drawthings_mcp.settings import Settings
from drawthings_mcp.studio import (
    DryRun,
    GenerateArguments,
    GenerationResult,
    ImageFormat,
    Mode,
    Report,
    describe_dry_run,
    open_studio,
)
from drawthings_mcp.validation import suggest

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

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

_OPTIONS = (
    click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="PNG file to write."),
    click.option("--negative", "negative_prompt", default="", metavar="TEXT", help="What to avoid."),
    click.option("--mode", type=click.Choice(get_args(Mode)), default="auto", help="Default: by the pictures given."),
    click.option("--family", metavar="NAME", help="E.g. z-image, qwen-image, flux, custom: a model of it is chosen."),
    click.option("--model", metavar="NAME", help="File or display name. Default: one that suits."),
    click.option("--format", "image_format", type=click.Choice(get_args(ImageFormat)), help="Shape, at native size."),
    click.option("--size", type=SizeType(), help="Any size; rendered at multiples of 64 and cropped."),
    click.option("--steps", type=click.IntRange(1, 150), help="Default: by model."),
    click.option("--guidance", "guidance_scale", type=click.FloatRange(0, 50), help="Default: by model."),
    click.option("--seed", type=click.IntRange(-1, MAX_SEED), default=-1, help="Default: drawn."),
    click.option("--sampler", metavar="NAME", help="E.g. 'Euler A Trailing'. Default: by model."),
    click.option("--strength", type=click.FloatRange(0, 1), help="1 ignores the canvas's pixels. Default: by mode."),
    click.option("--lora", "loras", type=WeightedType(), multiple=True, help="Can be given several times."),
    click.option("--preset", default="", metavar="NAME", help="Yours from the app, or a built-in one."),
    click.option(
        "--variants", type=click.IntRange(1, MAX_VARIANTS), default=1, help="Pictures, each with its own seed."
    ),
    click.option("--moodboard", type=PICTURE, multiple=True, help="Further reference; can be given several times."),
    click.option("--mask", type=PICTURE, help="White is repainted, black is kept."),
    click.option(
        "--control",
        "controls",
        type=WeightedType(),
        multiple=True,
        metavar="TYPE=FILE[@W]",
        help="Ready map for a control, e.g. canny=edges.png@0.7.",
    ),
    click.option("--fit", type=click.Choice(["crop", "pad", "stretch"]), default="crop", help="Canvas to size."),
    click.option("--config", "configuration", type=ConfigurationType(), help="Keys of the app's configuration."),
    click.option("--dry-run", is_flag=True, help="Print every setting and where it came from; render nothing."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
)


def generation_options(command: CommandT) -> CommandT:
    """Adds everything that a generation can be told."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return server_options(command)


def read_arguments(prompt: str, options: Mapping[str, Any]) -> GenerateArguments:
    """The studio's arguments from the options of a command."""
    size = options["size"]
    return GenerateArguments(
        prompt=prompt,
        mode=options["mode"],
        negative_prompt=options["negative_prompt"],
        model=_read_model(options),
        image_format=options["image_format"],
        width=size[0] if size else None,
        height=size[1] if size else None,
        variants=options["variants"],
        seed=options["seed"],
        steps=options["steps"],
        guidance_scale=options["guidance_scale"],
        sampler=options["sampler"],
        strength=options["strength"],
        loras=options["loras"],
        preset=options["preset"],
        canvas=options["canvas"],
        moodboard=options["moodboard"],
        mask=options["mask"],
        hints=tuple(_read_control(control) for control in options["controls"]),
        fit=options["fit"],
        configuration=options["configuration"] or {},
    )


def _read_model(options: Mapping[str, Any]) -> str:
    family, model = options["family"], options["model"]
    if family and model:
        raise click.UsageError("--family has a model chosen, --model names one: give one of them")
    families = list_families()
    if family and not match_family(family):
        raise click.UsageError(f"--family {family!r}: there is no such family.{suggest(family, families)}")
    return family or model or "auto"


def _read_control(control: tuple[str, float | None]) -> tuple[str, str, float | None]:
    value, weight = control
    kind, equals, file = value.partition("=")
    if not equals:
        raise click.UsageError(f"--control {value!r}: write it like canny=edges.png@0.7")
    try:
        return kind, PICTURE.convert(file, None, None), weight
    except click.BadParameter as error:
        raise click.UsageError(f"--control {value!r}: {error.message}") from None


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
    requests = [(read_arguments(prompt, options), output) for prompt, output in jobs]
    context = click.get_current_context()
    settings = read_settings(context, {name: options[name] for name in SERVER_NAMES})
    if options["dry_run"]:
        with reported_errors():
            runs = anyio.run(_resolve_all, settings, requests) if jobs else []
        _print_dry_runs(runs, as_json=options["as_json"], many=many)
        return
    with reported_errors():
        results = anyio.run(_run_all, settings, requests, options) if jobs else []
    if options["as_json"]:
        documents = [_to_json(result) for result in results]
        print_json(documents if many else documents[0])


async def _run_all(
    settings: Settings, requests: Sequence[tuple[GenerateArguments, Path | None]], options: Mapping[str, Any]
) -> list[GenerationResult]:
    results = []
    async with open_studio(settings, reads_anywhere=True) as studio:
        for arguments, output in requests:
            with _progress_bar() as report:
                result = await studio.generate(arguments, report, output=output)
            if not options["as_json"]:
                _print_result(result)
            results.append(result)
    return results


async def _resolve_all(settings: Settings, requests: Sequence[tuple[GenerateArguments, Path | None]]) -> list[DryRun]:
    async with open_studio(settings, reads_anywhere=True) as studio:
        return [await studio.resolve(arguments) for arguments, _ in requests]


def _print_dry_runs(runs: Sequence[DryRun], *, as_json: bool, many: bool) -> None:
    if as_json:
        documents = [asdict(run) | {"settings": {key: list(rest) for key, *rest in run.settings}} for run in runs]
        print_json(documents if many else documents[0])
        return
    for run in runs:
        print_text(describe_dry_run(run))


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
    for variant in result.variants:
        print_text(str(variant.path))
    simulated = ", simulated" if result.simulated else ""
    seeds = ", ".join(str(variant.seed) for variant in result.variants)
    say(f"{result.model_file}, {result.steps} steps, seed {seeds}, {result.seconds:.1f} s{simulated}")
    for note in result.notes:
        say(f"note: {note}")


def _to_json(result: GenerationResult) -> dict[str, Any]:
    return {
        "images": [
            {
                "id": variant.id,
                "path": str(variant.path),
                "width": variant.size[0],
                "height": variant.size[1],
                "seed": variant.seed,
            }
            for variant in result.variants
        ],
        "inputs": [{"id": picture.id, "path": str(picture.path)} for picture in result.inputs],
        "mode": result.mode,
        "model": result.model_file,
        "model_name": result.model_name,
        "family": result.family,
        "preset": result.preset,
        "steps": result.steps,
        "guidance_scale": result.guidance_scale,
        "sampler": result.sampler,
        "rendered_width": result.rendered_size[0],
        "rendered_height": result.rendered_size[1],
        "seconds": result.seconds,
        "server": result.server,
        "simulated": result.simulated,
        "notes": list(result.notes),
    }
