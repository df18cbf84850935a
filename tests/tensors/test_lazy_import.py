"""What importing the room costs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

import drawthings_mcp.tensors as tensors

RunScript = Callable[..., subprocess.CompletedProcess[str]]


def test_the_room_alone_imports_no_library(run_script: RunScript) -> None:
    done = run_script(
        "import sys, drawthings_mcp.tensors as tensors\n"
        "print([name for name in ('numpy', 'PIL', 'fpzip') if name in sys.modules])\n"
        "tensors.decode_tensor\n"
        "print([name for name in ('numpy', 'PIL') if name in sys.modules])\n"
    )
    assert (done.stdout, done.stderr) == ("[]\n['numpy']\n", "")


def test_the_decoder_process_does_without_pillow(run_script: RunScript) -> None:
    done = run_script("import sys, drawthings_mcp.tensors.fpzip_worker\nprint('PIL' in sys.modules)")
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_every_public_name_is_there_and_others_are_not() -> None:
    assert all(getattr(tensors, name) is not None for name in tensors.__all__)
    assert set(tensors.__all__) <= set(dir(tensors))
    with pytest.raises(AttributeError, match="no attribute 'decode_video'"):
        tensors.decode_video  # noqa: B018
