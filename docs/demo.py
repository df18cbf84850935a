"""A whole conversation in one minute: a real MCP client, our server over stdio, simulated pictures.

``make demo`` runs it. Nothing is downloaded and no Draw Things is needed: ``--server demo`` makes the server
start its embedded simulator and speak gRPC to it as to any other server.
"""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from mcp.types import ImageContent, TextContent
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "build" / "demo"
COMMAND = Path(sys.executable).with_name("drawthings-mcp")
PROMPT = "a red fox in fresh snow, pine forest, golden morning light"
CHANGE = "make it a moonlit night; keep the fox"


async def show_progress(progress: float, total: float | None, message: str | None) -> None:
    filled = round(progress / (total or 100) * 24)
    line = f"  [{'#' * filled}{'.' * (24 - filled)}] {message or ''}"
    print(f"\r{line:<78}", end="" if sys.stdout.isatty() else "\n", flush=True)


def list_paths(text: str) -> list[Path]:
    """The files that a result names."""
    return [Path(path) for path in re.findall(r"^v\d+: (.+\.png) \d+×\d+", text, re.MULTILINE)]


async def call(client: Client, tool: str, **arguments: Any) -> list[Path]:
    """Calls a tool, prints what the model gets, and gives the files that the result names."""
    print(f"{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})\n")
    result = await client.call_tool(tool, arguments, progress_callback=show_progress)
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    previews = [block for block in result.content if isinstance(block, ImageContent)]
    if result.is_error:
        sys.exit(f"{tool} failed: {' '.join(texts)}")
    if not previews:
        sys.exit("the model was shown no picture")
    print("\nThe text that the model reads:\n")
    print("\n".join(f"  {line}" for line in texts[0].splitlines()))
    print("\nand the pictures that it sees:\n")
    for block in previews:
        print(f"  {block.mime_type}, {len(base64.b64decode(block.data)) / 1000:.0f} kB")
    print()
    return list_paths(texts[0])


def check_pictures(paths: list[Path]) -> None:
    """Opens every picture, so that the demo fails when one is not what it should be."""
    if len(paths) != 3:
        sys.exit(f"expected three pictures, got {paths}")
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
            if picture.size != (1024, 1024):
                sys.exit(f"{path} is {picture.size}, expected 1024×1024")


async def main() -> None:
    # A home of its own keeps the demo apart from the settings and files of whoever runs it.
    environment = {
        "HOME": str(OUTPUT / "home"),
        "XDG_CONFIG_HOME": str(OUTPUT / "home" / ".config"),
        "DRAWTHINGS_OUTPUT_DIR": str(OUTPUT / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(OUTPUT / "state"),
        # A client that the server does not know gets one small preview until its model has proven that it sees.
        "DRAWTHINGS_PREVIEW": "always",
    }
    server = StdioServerParameters(command=str(COMMAND), args=["--server", "demo"], env=environment)
    async with Client(server) as client:
        tools = (await client.list_tools()).tools
        print(f"Connected over stdio. The server offers: {', '.join(tool.name for tool in tools)}\n")
        drafts = await call(client, "generate_image", prompt=PROMPT, width=1024, height=1024, variants=2)
        edits = await call(client, "generate_image", prompt=CHANGE, canvas="latest")
        await call(client, "search_images", query="fox snow")
    check_pictures([*drafts, *edits])
    print("The pictures, 1024×1024, with all settings inside:\n")
    print("\n".join(f"  {path}" for path in [*drafts, *edits]))
    print(
        "\nThese were drawn by the simulator. For real ones, switch on Draw Things' API server (Advanced settings →\n"
        "API Server, protocol gRPC, port 7859) and have your chat clients start this program:\n\n"
        f"  {COMMAND} install\n"
    )


if __name__ == "__main__":
    anyio.run(main)
