"""What importing the room costs, and what it gives."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import drawthings_mcp.tensors as tensors

RunScript = Callable[..., subprocess.CompletedProcess[str]]


def test_the_decoder_process_does_without_pillow(run_script: RunScript) -> None:
    done = run_script("import sys, drawthings_mcp.tensors.fpzip_codec\nprint('PIL' in sys.modules)")
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_the_room_itself_gives_what_scripts_rely_on() -> None:
    assert tensors.__all__ == ["decode_image", "encode_image", "encode_image_to_tensor", "save_tensor_image"]
    assert all(callable(getattr(tensors, name)) for name in tensors.__all__)
