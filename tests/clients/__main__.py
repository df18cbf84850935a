"""Installs the clients, lets each talk to the server in front of a scripted model, and prints what they did.

``python -m tests.clients [NAME…]``: all of them, or those whose names hold one of the words. Fails where a client does
what ``configs/clients.json`` does not say. Where the system allows that, nothing but the loopback interface can be
reached meanwhile, and no process outlives the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from string import Template

import anyio
import anyio.from_thread

from drawthings_mcp.attachments.policy import find_policy
from drawthings_mcp.packaged import read_packaged
from drawthings_mcp.simulator import Simulator
from tests.clients.measure import AS_TEXT, Passed, Recording, follow, has_base64_text
from tests.clients.programs import PROGRAMS, Program
from tests.clients.scripted_model import MARK, ScriptedModel, Step

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "clients"
DOCUMENT = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end of what was measured -->\n"
INSIDE = "LAB_INSIDE"
"""The variable that is set once only the loopback interface is left."""
WITH_SCRIPTS = ("@anthropic-ai/claude-code", "opencode-ai")
"""Packages whose scripts are run: without them their programs do not start."""
PATIENCE = 150
AT_ONCE = 2

QUESTION = f"{MARK}: make the picture that the tools of drawthings make."
SMALL = {"prompt": "a red fox in snow", "width": 256, "height": 256, "steps": 8}


@dataclass(frozen=True, slots=True)
class Scene:
    """One conversation: what the model calls, what the server is set to, how long each step of a render takes."""

    name: str
    script: tuple[Step, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    step_seconds: float = 0.0
    is_interrupted: bool = False


SCENES = (
    Scene(
        "passing",
        (Step("generate_image", SMALL, r"j1 goes on"), Step("get_job", {"job": "j1", "wait": 45}, r"v1: ")),
        {"DRAWTHINGS_PREVIEW": "always", "DRAWTHINGS_ATTACHMENTS": "max_edge=256", "DRAWTHINGS_MAX_WAIT": "1"},
        step_seconds=0.4,
    ),
    Scene(
        "four variants",
        (
            Step(
                "generate_image", {"prompt": "a red fox in snow", "width": 1024, "height": 1024, "variants": 4}, "v4: "
            ),
            Step("generate_image", {"prompt": "make it night", "canvas": "v4", "width": 256, "height": 256}, "v5: "),
        ),
    ),
    Scene(
        "interrupted", (Step("generate_image", {**SMALL, "steps": 60}, "never"),), step_seconds=1.0, is_interrupted=True
    ),
)


@dataclass(slots=True)
class Run:
    """What one scene left."""

    recording: Recording
    requests: list[str]
    seconds: float
    is_gone: bool


# Installing


def install(programs: Sequence[Program]) -> None:
    """What the programs need, below ``build/clients``; at once when it is there."""
    BUILD.mkdir(parents=True, exist_ok=True)
    if any(not program.is_python for program in programs):
        _install_packages()
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    for program in programs:
        python = _get_python(program)
        if program.is_python and not python.exists():
            subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
            arguments = [str(python), "-m", "pip", "install", "--quiet", *program.package.split()]
            if subprocess.run(arguments, check=False, env=environment).returncode:
                shutil.rmtree(python.parents[1])


def _install_packages() -> None:
    lock, done = (HERE / "package-lock.json").read_bytes(), BUILD / "installed"
    if done.exists() and done.read_bytes() == lock:
        return
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, BUILD / name)
    # `npm ci` refuses a lock without the parts for other systems, of which an index may have only some.
    _run_npm("install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
    _run_npm("rebuild", *WITH_SCRIPTS)
    done.write_bytes(lock)


def _run_npm(*words: str) -> None:
    subprocess.run(["npm", *words], cwd=BUILD, check=True)


def _get_python(program: Program) -> Path:
    return BUILD / "venvs" / program.package.split()[0].split("==")[0].split("[")[0] / "bin" / "python"


def find_version(program: Program) -> str:
    """The version that is pinned."""
    if program.is_python:
        return program.package.split()[0].split("==")[1]
    return str(json.loads((HERE / "package.json").read_text())["dependencies"][program.package])


# Running


def play(program: Program, scene: Scene) -> Run:
    """Lets a client talk through one scene, in a home folder that begins empty."""
    home = BUILD / "homes" / program.name.replace(" ", "-").replace(",", "") / scene.name.replace(" ", "-")
    shutil.rmtree(home, ignore_errors=True)
    (home / "work").mkdir(parents=True)
    with (
        ScriptedModel(scene.script, program.prefix) as model,
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Simulator(tls=False, step_seconds=scene.step_seconds)) as simulator,
    ):
        values = {
            "url": model.url,
            "home": str(home),
            "question": QUESTION,
            "frameworks": str(HERE / "frameworks.py"),
            "server": str(_write_server(home, simulator.address, scene.settings)),
        }
        begun = time.monotonic()
        ended = _run_program(program, values, home, scene)
        run = Run(Recording.read(home / "log.jsonl"), list(model.requests), time.monotonic() - begun, False)
        run.is_gone = _wait_until(lambda: not _is_alive(Recording.read(home / "log.jsonl").pick("pid")), 10)
        run.recording = Recording.read(home / "log.jsonl")
        _end_leftovers(home)
    (home / "requests.json").write_text(json.dumps([json.loads(text) for text in run.requests], indent=1))
    (home / "ended").write_text(str(ended))
    return run


def _write_server(home: Path, address: str, settings: Mapping[str, str]) -> Path:
    """The command that clients start: the server behind the recorder, with folders of its own."""
    folders = {"HOME": str(home), "DRAWTHINGS_OUTPUT_DIR": f"{home}/pictures", "DRAWTHINGS_STATE_DIR": f"{home}/state"}
    lines = [f"export {name}='{value}'" for name, value in {**folders, **settings}.items()]
    command = [sys.executable, HERE / "recorder.py", home / "log.jsonl", sys.executable, "-m", "drawthings_mcp"]
    server = home / "server"
    quoted = " ".join(f"'{word}'" for word in (*command, "--server", address, "--tls", "off"))
    server.write_text("\n".join(["#!/bin/sh", *lines, f"exec {quoted}", ""]))
    server.chmod(0o755)
    return server


def _run_program(program: Program, values: Mapping[str, str], home: Path, scene: Scene) -> int:
    """Runs it until it ends, or until it was interrupted in the middle of a call; its exit code."""
    for name, text in program.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(Template(text).substitute(values))
    words = [Template(word).substitute(values) for word in program.command]
    words[0] = str(_get_python(program) if program.is_python else BUILD / "node_modules" / ".bin" / words[0])
    own = {name: Template(value).substitute(values) for name, value in program.environment.items()}
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", "NO_COLOR": "1", "CI": "1", **own}
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=home / "work",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        if scene.is_interrupted:
            _wait_until(lambda: process.poll() is not None or bool(Recording.read(home / "log.jsonl").calls), 60)
            time.sleep(1)
            # To the whole group, as a terminal does.
            _signal_group(process, signal.SIGINT)
            if not _wait_until(lambda: process.poll() is not None, 5):
                _signal_group(process, signal.SIGTERM)
        return process.wait(5 if scene.is_interrupted else PATIENCE)
    except subprocess.TimeoutExpired:
        return -1
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _end_leftovers(home: Path) -> None:
    """Ends what a program left running, by its home folder: the next scene would find it."""
    mark = f"HOME={home}\0".encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes():
                os.kill(int(environment.parent.name), signal.SIGKILL)


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def _is_alive(pids: Sequence[int]) -> bool:
    return any(Path(f"/proc/{pid}").exists() and _read_state(pid) != "Z" for pid in pids)


def _read_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


# Judging


@dataclass(slots=True)
class Row:
    """One line of the table, and what is wrong with it."""

    program: Program
    cells: list[str]
    problems: list[str]


def judge(program: Program, runs: Mapping[str, Run]) -> Row:
    """What a client did, in words, compared with what is known of it."""
    passing, four, broken = runs["passing"], runs["four variants"], runs["interrupted"]
    name, version = passing.recording.name
    small = next((sent for sent in passing.recording.results if sent.pictures), None)
    passed = follow(small, passing.requests) if small else None
    first = next((sent for sent in four.recording.results if "v4: " in sent.texts[0]), None)
    large = follow(first, four.requests) if first else None
    row = Row(program, [], [])
    row.cells = [
        f"{program.name} {find_version(program)}" + (f" ({program.note})" if program.note else ""),
        f"{name} / {version}; {passing.recording.handshake}",
        _describe_tools(passing.recording),
        _describe_picture(passed),
        _describe_text(passed),
        _describe_large(large),
        "yes" if "v5: " in " ".join(text for sent in four.recording.results for text in sent.texts) else "**no**",
        "yes" if passing.recording.calls[:2] == ["generate_image", "get_job"] and passed else "**no**",
        f"{broken.recording.cancellation or '–'}; {broken.recording.ending}",
        f"{four.recording.ending}; {'gone' if four.is_gone else '**still there**'}",
    ]
    row.problems += _list_problems(passing, four, broken, passed, large)
    row.problems += _compare_with_data(program, name, version, passed)
    return row


def _describe_tools(recording: Recording) -> str:
    views = len(recording.view_tools)
    return f"{len(recording.tools)}" + (f", and {views} for views, which its model is not offered" if views else "")


def _describe_picture(passed: Passed | None) -> str:
    if passed is None:
        return "**the result did not arrive**"
    if not passed.picture:
        return "**no**"
    if passed.picture == AS_TEXT:
        return f"**{AS_TEXT}**"
    return f"yes, {passed.picture}" + ("" if passed.unchanged else ", made anew")


def _describe_text(passed: Passed | None) -> str:
    if passed is None:
        return "–"
    return ("intact" if passed.text else "**changed**") + (", first" if passed.in_order else ", **after the picture**")


def _describe_large(large: Passed | None) -> str:
    if large is None:
        return "**did not arrive**"
    arrived, sent = large.pictures
    return f"{arrived} of {sent} pictures; {large.characters:,} characters, ~{large.tokens:,} tokens"


def _list_problems(passing: Run, four: Run, broken: Run, passed: Passed | None, large: Passed | None) -> Iterator[str]:
    if len(passing.recording.tools) != 8:
        yield f"{len(passing.recording.tools)} tools were listed"
    if any(name in text for name in passing.recording.view_tools for text in passing.requests):
        yield "its model was offered what only views are for"
    if passed is None or large is None:
        yield "a result did not reach the model"
    if any(has_base64_text(run.requests) for run in (four, broken)):
        yield "base64 reached the model as text"
    if large is not None and not large.held:
        yield "the question was lost after four variants"
    if any(found is not None and not (found.text and found.in_order) for found in (passed, large)):
        yield "text was changed, or came after its pictures"
    for scene, run in (("passing", passing), ("four variants", four), ("interrupted", broken)):
        if run.recording.entries and not run.is_gone:
            yield f"the server outlived the client ({scene})"


def _compare_with_data(program: Program, name: str, version: str, passed: Passed | None) -> Iterator[str]:
    """Where ``configs/clients.json`` says something else."""
    policy = find_policy(name, version)
    if passed is None or not policy.is_known:
        return
    reaches = bool(passed.picture) and passed.picture != AS_TEXT
    if reaches and policy.model_sees is False:
        yield "clients.json says that its model gets no pictures"
    if not reaches and policy.model_sees is not False:
        yield "clients.json does not say that its model gets no pictures"
    if passed.picture == AS_TEXT and policy.shows_pictures:
        yield "clients.json lets pictures be sent, which it passes on as text"
    checked = [entry["checked"] for entry in read_packaged("clients.json")["clients"] if _names(entry, name)]
    if not any(known["how"] == "measured" and known["version"] == find_version(program) for known in checked):
        yield f"clients.json was not measured with {find_version(program)}"


def _names(entry: Mapping[str, Sequence[str]], name: str) -> bool:
    return any(name == known or (known.endswith("*") and name.startswith(known[:-1])) for known in entry["names"])


# Telling

HEAD = (
    "client",
    "introduces itself as; protocol",
    "tools",
    "picture reaches its model",
    "text",
    "result with four variants of 1024 × 1024",
    "id used in a second call",
    "slow render handed back, fetched with get_job",
    "interrupted in a call: cancellation; what ends the server",
    "ends the server by",
)


def tell(rows: Sequence[Row]) -> str:
    """The table, in Markdown."""
    lines = [" | ".join(HEAD), " | ".join("---" for _ in HEAD), *(" | ".join(row.cells) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def write_document(table: str) -> None:
    """Puts the table into the document, with the date."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    today = datetime.now(UTC).date().isoformat()
    said = f"Measured on {today} on {sys.platform} with drawthings-mcp {_find_own_version()}:\n\n{table}"
    DOCUMENT.write_text(f"{before}{BEGIN}\n{said}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def read_back() -> int:
    """The tests in which the clients themselves list what ``install`` wrote; their exit code."""
    programs = BUILD / "node_modules" / ".bin"
    environment = {**os.environ, "READ_BACK": "1", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "300", "tests/install/test_read_back.py"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _find_own_version() -> str:
    from importlib.metadata import version

    return version("drawthings-mcp")


def main(words: Sequence[str]) -> int:
    """Runs everything; 1 when something is not as it is said to be."""
    programs = [program for program in PROGRAMS if not words or any(w.lower() in program.name.lower() for w in words)]
    if INSIDE not in os.environ:
        install(programs)
        return _run_inside(words)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        rows = list(pool.map(_measure, programs))
    table = tell(rows)
    sys.stdout.write(table)
    problems = [f"{row.program.name}: {problem}" for row in rows for problem in row.problems]
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    if words:
        return 1 if problems else 0
    write_document(table)
    return 1 if problems or read_back() else 0


def _measure(program: Program) -> Row:
    runs = {}
    for scene in SCENES:
        run = runs[scene.name] = play(program, scene)
        sys.stderr.write(f"{program.name}, {scene.name}: {run.seconds:.0f} s, {len(run.requests)} requests\n")
    return judge(program, runs)


def _run_inside(words: Sequence[str]) -> int:
    """The same again, with nothing but the loopback interface."""
    again = [sys.executable, "-m", "tests.clients", *words]
    environment = {**os.environ, INSIDE: "1"}
    spaces = ["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    cut_off = ["unshare", *spaces, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if shutil.which("unshare") and not subprocess.run([*cut_off, "true"], check=False).returncode:
        return subprocess.run([*cut_off, *again], env=environment, check=False).returncode
    sys.stderr.write("This system gives no network of one's own: clients could reach the outside.\n")
    return subprocess.run(again, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
