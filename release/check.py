"""Builds everything that is released from a clean clone, and tries each of it. Run by ``make release-check``.

What is tried: the wheel by ``uvx``, the source distribution by ``pip``, the bundle as a desktop client starts it, the
registry entry against its schema, the image, and the list of licences. Each server must answer a handshake and list
eight tools. Needs Node; where there is no Docker engine, the steps of the Dockerfile run in an environment of their
own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("uv==0.13.9", "skillsaw==0.22.0")
PACKER = "@anthropic-ai/mcpb@2.1.2"
PORT = "7868"
"""Of the image; its steps take a free one."""
PREFIXES = ("/app", "/data")
"""Folders of the image that stand elsewhere when its steps run without a container."""


def run(*command: object, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """A program's output; ends this one when it fails."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    done = subprocess.run(words, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}\n{words[0]} failed")
    return done.stdout


def try_server(what: str, command: Sequence[str], home: Path, environment: dict[str, str] | None = None) -> None:
    """Starts a server on stdio with the simulator behind it, shakes hands and lists its tools."""
    home.mkdir(parents=True, exist_ok=True)
    variables = {"DRAWTHINGS_SERVER": "demo", **os.environ, "HOME": str(home), **(environment or {})}

    async def greet() -> tuple[str, int]:
        async with Client(StdioServerParameters(command=command[0], args=list(command[1:]), env=variables)) as client:
            assert client.server_info is not None
            return client.server_info.version, len((await client.list_tools()).tools)

    async def bounded() -> tuple[str, int]:
        with anyio.fail_after(300):
            return await greet()

    version, tools = anyio.run(bounded)
    print(f"  {what}: version {version}, {tools} tools", flush=True)
    if tools != 8:
        sys.exit(f"{what} lists {tools} tools")


def check_wheel(clone: Path, work: Path, tools: Path) -> None:
    """The wheel, by ``uvx``."""
    (wheel,) = (clone / "dist").glob("*.whl")
    try_server("wheel by uvx", [str(tools / "uvx"), "--from", str(wheel), "drawthings-mcp"], work / "wheel-home")


def check_source(clone: Path, work: Path) -> None:
    """The source distribution, by ``pip``."""
    (archive,) = (clone / "dist").glob("*.tar.gz")
    run(sys.executable, "-m", "venv", work / "sdist", cwd=work)
    run(work / "sdist/bin/pip", "install", "--quiet", archive, cwd=work)
    try_server("source distribution", [str(work / "sdist/bin/drawthings-mcp")], work / "sdist-home")


def check_bundle(clone: Path, work: Path, tools: Path) -> None:
    """The bundle, unpacked and started with its user's settings put in as a desktop client does it."""
    (bundle,) = (clone / "dist").glob("*.mcpb")
    unpacked, home = work / "bundle", work / "bundle-home"
    run("npx", "--yes", PACKER, "unpack", bundle, unpacked, cwd=work)
    manifest = json.loads((unpacked / "manifest.json").read_text("utf-8"))
    values = {name: str(field.get("default", "")) for name, field in manifest["user_config"].items()} | {
        "server": "demo"
    }

    def fill(text: str) -> str:
        text = re.sub(r"\$\{user_config\.(\w+)\}", lambda match: values[match[1]], text)
        return text.replace("${__dirname}", str(unpacked)).replace("${HOME}", str(home))

    config = manifest["server"]["mcp_config"]
    environment = {name: fill(value) for name, value in config["env"].items()}
    environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    try_server("bundle", [str(tools / config["command"]), *map(fill, config["args"])], home, environment)


def check_registry_entry(clone: Path, work: Path, tools: Path) -> None:
    """``server.json`` against the registry's schema and its rules for publishing."""
    entry = json.loads((clone / "dist" / "server.json").read_text("utf-8"))
    folder = work / "entry"
    folder.mkdir()
    shutil.copy(clone / "dist" / "server.json", folder)
    report = run(tools / "skillsaw", "lint", folder, cwd=work)
    if "mcp-registry" not in report or f"mcp-name: {entry['name']}" not in (clone / "README.md").read_text("utf-8"):
        sys.exit("server.json was not recognised, or README.md does not name it")
    print("  server.json: valid", flush=True)


def read_dockerfile(path: Path) -> Iterator[tuple[str, str]]:
    """Its instructions with their arguments."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE))
    for line in filter(None, text.splitlines()):
        instruction, _, argument = line.partition(" ")
        yield instruction, argument.strip()


def check_image(clone: Path, work: Path) -> None:
    """The image, or what its steps make in an environment of their own."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        run("docker", "build", "--tag", "drawthings-mcp:check", ".", cwd=clone)
        command = ["docker", "run", "--rm", "-i", "-e", "DRAWTHINGS_SERVER=demo", "drawthings-mcp:check", "serve"]
        try_server("image", command, work / "image-home")
        return
    print("No Docker engine: the steps of the Dockerfile run in an environment of their own.")
    root = work / "image"
    run(sys.executable, "-m", "venv", root / "python", cwd=work)
    environment = {"PATH": f"{root / 'python/bin'}:{os.environ['PATH']}"}
    entry: list[str] = []
    serve: list[str] = []
    health: list[str] = []

    def move(text: str) -> str:
        return re.sub(rf"(?<![\w/])({'|'.join(PREFIXES)})\b", lambda match: f"{root}{match[1]}", text)

    folder = root
    for instruction, argument in read_dockerfile(clone / "Dockerfile"):
        match instruction:
            case "WORKDIR":
                folder = Path(move(argument))
                folder.mkdir(parents=True)
            case "COPY":
                *sources, target = argument.split()
                for source in (clone / name for name in sources):
                    place = folder / target
                    shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)
            case "RUN":
                run("sh", "-ec", move(argument), cwd=folder, environment={**os.environ, **environment})
            case "ENV":
                environment |= dict(part.split("=", 1) for part in move(argument).split())
            case "ENTRYPOINT":
                entry = json.loads(argument)
            case "HEALTHCHECK":
                health = json.loads(argument.partition("CMD ")[2])
            case "CMD":
                serve = json.loads(argument)
    program = shutil.which(entry[0], path=environment["PATH"])
    assert program is not None
    try_server("image's steps", [program, "serve"], Path(environment["HOME"]), environment)
    # Nothing here listens to other machines, a container's own network apart, nor where another server may be.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = [word.replace("0.0.0.0", "127.0.0.1").replace(PORT, str(port)) for word in serve]
    with subprocess.Popen(
        [program, *serve], env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        said = next((line.strip() for line in server.stderr if f"{port}/mcp" in line), "")
        if not said:
            sys.exit("the image's steps do not serve")
        print(f"  image's steps: {said}")
        run(*(word.replace(PORT, str(port)) for word in health), cwd=root, environment={**os.environ, **environment})
        server.terminate()


def main() -> None:
    """Builds and tries all of it; ends with an error at the first thing that does not work."""
    if shutil.which("npx") is None:
        sys.exit("The bundle is packed by a program that needs Node: install Node 20 or newer.")
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        work = Path(folder)
        clone = work / "clone"
        run("git", "clone", "--quiet", ROOT, clone, cwd=work)
        run("make", "build", "bundle", cwd=clone)
        run(clone / ".venv/bin/python", "release/licences.py", "--check", cwd=clone)
        run(sys.executable, "-m", "venv", work / "tools", cwd=work)
        run(
            work / "tools/bin/pip",
            "install",
            "--quiet",
            *TOOLS,
            cwd=work,
            environment={**os.environ, "PIP_CONSTRAINT": ""},
        )
        tools = work / "tools/bin"
        check_wheel(clone, work, tools)
        check_source(clone, work)
        check_bundle(clone, work, tools)
        check_registry_entry(clone, work, tools)
        check_image(clone, work)
    print("All of it works.")


if __name__ == "__main__":
    main()
