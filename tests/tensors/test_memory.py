"""How much memory large payloads take, on both sides, in interpreters of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fpzip
import numpy as np
import pytest

from drawthings_mcp.tensors.header import Codec, DataType, TensorFormat, TensorHeader, build_header
from drawthings_mcp.tensors.tensor import encode_tensor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of another process")

SHAPE = (1, 2048, 4096, 4)
PIXELS_MIB, TENSOR_MIB, WIDE_MIB = 32, 64, 128  # one, two and four bytes for each of the values
SLACK_MIB = 8
PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.fpzip_pool import _shared
from drawthings_mcp.tensors.tensor import decode_tensor

def read_peaks():
    paths = [Path(f"/proc/{process}/status") for process in ("self", *_shared.list_pids())]
    lines = [line.split() for path in paths for line in path.read_text().splitlines()]
    return [int(line[1]) / 1024 for line in lines if line[0] == "VmHWM:"]

path, name = sys.stdin.read().split()
decode = {"decode_image": decode_image, "decode_tensor": decode_tensor}[name]
for codec in Codec:
    decode(encode_image(np.zeros((64, 64, 4), np.uint8), codec=codec))
payload = Path(path).read_bytes()
before = read_peaks()
decoded = decode(payload)
print(json.dumps([after - size for after, size in zip(read_peaks(), before, strict=True)]))
"""


def build_payload(codec: Codec) -> bytes:
    if codec is not Codec.FPZIP:
        return encode_tensor(np.zeros(SHAPE, np.float16), codec=codec)
    header = build_header(TensorHeader(codec, DataType.F16, TensorFormat.NHWC, SHAPE))
    return header + bytes(fpzip.compress(np.zeros(SHAPE, np.float32), precision=19, order="C"))


@pytest.mark.parametrize(
    ("decoder", "codec", "here", "there"),
    [
        ("decode_image", Codec.RAW, PIXELS_MIB, 0),
        ("decode_image", Codec.DEFLATE, PIXELS_MIB, 0),
        ("decode_image", Codec.FPZIP, PIXELS_MIB, WIDE_MIB),
        ("decode_tensor", Codec.RAW, 0, 0),
        ("decode_tensor", Codec.DEFLATE, TENSOR_MIB, 0),
        ("decode_tensor", Codec.FPZIP, TENSOR_MIB, WIDE_MIB),
    ],
)
def test_a_payload_takes_the_memory_of_its_result_and_fpzip_that_of_its_floats(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    decoder: str,
    codec: Codec,
    here: int,
    there: int,
) -> None:
    path = tmp_path / "payload"
    path.write_bytes(build_payload(codec))
    done = run_script(PROGRAM, f"{path} {decoder}")
    assert done.returncode == 0, done.stderr
    parent, worker = json.loads(done.stdout)
    assert here <= parent + SLACK_MIB
    assert parent < here + SLACK_MIB
    assert there <= worker + SLACK_MIB
    assert worker < there + SLACK_MIB
