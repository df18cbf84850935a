"""A file of prompts, or of calls as JSON Lines → the jobs whose pictures are not there yet."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drawthings_mcp.cli.face import SHELL, SPELLINGS
from drawthings_mcp.cli.generation import PICTURE, ControlType, ShellCall, SizeType, list_given
from drawthings_mcp.cli.output import say
from drawthings_mcp.errors import DrawThingsError, InvalidInputError
from drawthings_mcp.faces import Face
from drawthings_mcp.params import GenerateParams
from drawthings_mcp.validation import shorten

if TYPE_CHECKING:
    from drawthings_mcp.metadata.draw_things import DrawThingsMetadata

_COMMENT = "#"
_LINE = Face(name=str, phrases=SHELL.phrases)
"""How a line of JSON names parameters: as they are."""
_PARAMETERS = {
    spelling.removeprefix("--"): name
    for name, spelling in (*SPELLINGS.items(), ("guidance_scale", "--cfg"))
    if name in GenerateParams.model_fields
}
"""What options are called, and the parameters that they stand for."""
_MIN_DIGITS = 3
_COMPARED = ("negative_prompt", "steps", "guidance_scale")
"""What is compared with a picture that was not made by this program, besides seed, sampler and size."""


def list_missing(prompt_file: Path, folder: Path, prefix: str, options: Mapping[str, Any]) -> list[ShellCall]:
    """The calls of a file whose pictures are not there yet, each with the file to write.

    A picture is there when a PNG whose name begins with the prefix carries its prompt and was asked for with the same
    settings, wherever its line stood. Of equal lines each needs a picture of its own.

    Parameters
    ----------
    options
        Those of the command; settings of a line win over them.

    Raises
    ------
    click.UsageError
        A line cannot be used; names file and line.
    """
    try:
        text = prompt_file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{prompt_file} is not UTF-8: {error}") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.removesuffix("\n").split("\n"), 1)]
    is_json = prompt_file.suffix.lower() == ".jsonl"
    given = list_given(options)
    jobs: list[tuple[int, ShellCall]] = []
    for number, line in lines:
        if line and not line.startswith(_COMMENT):
            with _blame(prompt_file, number):
                jobs.append((number, _read_line(line, given, folder, is_json=is_json or line.startswith("{"))))
    made = _StoredPictures()
    missing = [(number, job) for number, job in jobs if not made.take(job, folder, prefix)]
    digits = max(len(str(len(lines))), _MIN_DIGITS)
    names = _NewNames(folder, prefix, digits, len(lines))
    return [ShellCall(job.params, job.output or names.choose(number)) for number, job in missing]


@contextmanager
def _blame(prompt_file: Path, number: int) -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        raise click.UsageError(f"{prompt_file}, line {number}: {error.message}") from error
    except InvalidInputError as error:
        raise click.UsageError(f"{prompt_file}, line {number}: {error.word(_LINE)}") from error


def _read_line(line: str, given: Mapping[str, Any], folder: Path, *, is_json: bool) -> ShellCall:
    values = _parse_line(line) if is_json else {"prompt": line}
    output = values.pop("output", None)
    if output is not None and not (isinstance(output, str) and output.lower().endswith(".png")):
        raise click.UsageError(f"output: pictures are written as PNG, end the name with .png, got {output!r}")
    params = GenerateParams(**{**given, **_read_pictures(_read_options(values))})
    if params.sweep or params.prompts:
        raise click.UsageError("sweep and prompts make many pictures; each line is for one: write more lines")
    if not params.prompt.strip():
        raise click.UsageError("prompt: is empty")
    return ShellCall(params, None if output is None else folder / output)


def _parse_line(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise click.UsageError('must be a JSON object such as {"prompt": "a fox", "seed": 7}')
    return values


def _read_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the names of parameters, where some are under those of options."""
    named = {_PARAMETERS.get(name, name): value for name, value in values.items() if name != "size"}
    if "size" in values:
        named["width"], named["height"] = SizeType().convert(str(values["size"]), None, None)
    return named


def _read_pictures(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with pictures and maps as options have them."""
    kinds = {"canvas": PICTURE, "mask": PICTURE, "moodboard": PICTURE, "hints": ControlType()}
    return {name: _convert(kinds[name], name, value) if name in kinds else value for name, value in values.items()}


def _convert(kind: click.ParamType[Any], name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_convert(kind, name, one) for one in value]
    if not isinstance(value, str):
        raise click.UsageError(f"{name}: must be text, got {shorten(value)}")
    return kind.convert(value, None, None) if value else value


@dataclass(frozen=True, slots=True)
class _StoredPicture:
    path: Path
    metadata: DrawThingsMetadata

    @property
    def call(self) -> str:
        """What it has in common with the other pictures of its call."""
        return str(self.metadata.record.get("job") or self.path)


@dataclass(slots=True)
class _StoredPictures:
    """The pictures that are there, by the beginning of their path; each counts for one job."""

    _by_start: dict[Path, list[_StoredPicture]] = field(default_factory=dict)

    def take(self, job: ShellCall, folder: Path, prefix: str) -> bool:
        """Whether the picture of a job is there; it then counts for no other one, nor do those made with it."""
        start = folder / prefix if job.output is None else job.output.with_suffix("")
        if start not in self._by_start:
            self._by_start[start] = list(_list_made(start))
        pictures = self._by_start[start]
        numbered = re.compile(rf"{re.escape(start.name)}(-\d+)?" if job.output else ".*")
        fitting = (one for one in pictures if numbered.fullmatch(one.path.stem) and _fits(one.metadata, job.params))
        found = next(fitting, None)
        if found is None:
            return False
        self._by_start[start] = [one for one in pictures if one.call != found.call]
        say(f"{found.path} is there already, skipped")
        return True


def _list_made(start: Path) -> Iterator[_StoredPicture]:
    from drawthings_mcp.metadata.reading import read_metadata

    for path in sorted(start.parent.glob("*.[pP][nN][gG]")):
        if path.name.startswith(start.name):
            with suppress(DrawThingsError):
                if metadata := read_metadata(path):
                    yield _StoredPicture(path, metadata)


def _fits(found: DrawThingsMetadata, params: GenerateParams) -> bool:
    if found.prompt.strip() != params.prompt.strip():
        return False
    if asked := found.record.get("asked"):
        return bool(asked == params.digest)
    from drawthings_mcp.metadata.draw_things_keys import find_sampler

    wanted = {name: getattr(params, name) for name in _COMPARED if getattr(params, name) not in (None, "")}
    sampler = find_sampler(params.sampler) if params.sampler else None
    size = str(found.record.get("requested_size") or "x".join(map(str, found.size or ())))
    width, _, height = size.partition("x")
    return (
        all(getattr(found, name) == value for name, value in wanted.items())
        and params.seed in (None, -1, found.seed)
        and (sampler is None or sampler.display_name == found.sampler)
        and str(params.width or width) == width
        and str(params.height or height) == height
    )


@dataclass(slots=True)
class _NewNames:
    """Names of new pictures: with the number of the line, or the first behind all others when that is taken."""

    folder: Path
    prefix: str
    digits: int
    last: int

    def choose(self, number: int) -> Path:
        path = self._name(number)
        while path.exists():
            self.last += 1
            path = self._name(self.last)
        return path

    def _name(self, number: int) -> Path:
        return self.folder / f"{self.prefix}-{number:0{self.digits}}.png"
