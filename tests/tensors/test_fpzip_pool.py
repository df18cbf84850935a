"""Decoding fpzip payloads in other processes: crashes, threads, scripts, forks, and the end of it all."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray

from drawthings_mcp.errors import DecoderCrashedError, TensorError
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.fpzip_codec import WorkerTask
from drawthings_mcp.tensors.fpzip_pool import MAX_PROCESSES, FpzipPool, FpzipProcess, WorkerFailedError
from drawthings_mcp.tensors.header import HEADER_SIZE, Codec, parse_header, split_payload
from drawthings_mcp.tensors.latent import decode_latent, encode_latent

RunScript = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = """
import os, sys
import numpy as np
from drawthings_mcp.tensors import decode_image, encode_image
from drawthings_mcp.tensors.header import Codec
from drawthings_mcp.tensors.fpzip_pool import _shared

pixels = np.arange(64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 64, 3)
payload = encode_image(pixels, codec=Codec.FPZIP)
assert (decode_image(payload) == pixels).all()
"""


def decode_with(pool: FpzipPool, payload: bytes) -> NDArray[np.uint8]:
    header, body = split_payload(payload)
    pixels = np.empty(header.dims[1:], np.uint8)
    pool.decode(WorkerTask.PIXELS, header, body, pixels)
    return pixels


@pytest.fixture
def payload(pixels: NDArray[np.uint8]) -> bytes:
    return encode_image(pixels, codec=Codec.FPZIP)


@pytest.fixture
def deadly_payload(payload: bytes) -> bytes:
    """The payload with a part of its stream inverted, which makes the library write where it should not."""
    start = HEADER_SIZE + 40
    return payload[:start] + bytes(byte ^ 0xFF for byte in payload[start : start + 200]) + payload[start + 200 :]


def test_a_payload_that_crashes_the_library_is_one_clear_error(
    pool: FpzipPool, payload: bytes, deadly_payload: bytes, pixels: NDArray[np.uint8]
) -> None:
    np.testing.assert_array_equal(decode_with(pool, payload), pixels)
    with pytest.raises(DecoderCrashedError, match=r"\[1, 48, 64, 3\].*SIG.*--no-response-compression"):
        decode_with(pool, deadly_payload)
    np.testing.assert_array_equal(decode_with(pool, payload), pixels)


def test_a_crash_does_not_disturb_what_others_decode(
    pool: FpzipPool, payload: bytes, deadly_payload: bytes, pixels: NDArray[np.uint8]
) -> None:
    def decode(index: int) -> bool:
        try:
            return np.array_equal(decode_with(pool, deadly_payload if index % 5 == 0 else payload), pixels)
        except DecoderCrashedError:
            return index % 5 == 0

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(decode, range(20))) == [True] * 20
    assert len(pool.list_pids()) <= MAX_PROCESSES


def test_many_threads_share_few_processes(pool: FpzipPool) -> None:
    pictures = [np.full((64, 64, 3), level, np.uint8) for level in range(40)]
    payloads = [encode_image(picture, codec=Codec.FPZIP) for picture in pictures]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda payload: decode_with(pool, payload), payloads))
    for result, picture in zip(results, pictures, strict=True):
        np.testing.assert_array_equal(result, picture)
    assert len(pool.list_pids()) <= MAX_PROCESSES


def test_a_process_is_used_again(pool: FpzipPool, payload: bytes) -> None:
    decode_with(pool, payload)
    pids = pool.list_pids()
    for _ in range(5):
        decode_with(pool, payload)
    assert pool.list_pids() == pids
    assert len(pids) == 1


def test_processes_that_were_started_ahead_are_used(pool: FpzipPool, payload: bytes) -> None:
    pool.prestart(100)
    pids = pool.list_pids()
    assert len(pids) == MAX_PROCESSES
    decode_with(pool, payload)
    pool.prestart()
    assert pool.list_pids() == pids


def test_a_process_that_somebody_killed_is_replaced(pool: FpzipPool, payload: bytes, pixels: NDArray[np.uint8]) -> None:
    decode_with(pool, payload)
    [pid] = pool.list_pids()
    os.kill(pid, signal.SIGKILL)
    np.testing.assert_array_equal(decode_with(pool, payload), pixels)
    assert pool.list_pids() != [pid]


def test_an_interrupt_from_the_keyboard_does_not_end_a_process(pool: FpzipPool, payload: bytes) -> None:
    decode_with(pool, payload)
    pids = pool.list_pids()
    os.kill(pids[0], signal.SIGINT)
    decode_with(pool, payload)
    assert pool.list_pids() == pids


def test_a_stream_that_the_library_refuses_keeps_the_process(pool: FpzipPool, payload: bytes) -> None:
    decode_with(pool, payload)
    pids = pool.list_pids()
    header, _ = split_payload(payload)
    with pytest.raises(TensorError, match="not an fpzip stream"):
        pool.decode(WorkerTask.PIXELS, header, memoryview(b"no stream" * 9), np.empty(header.dims[1:], np.uint8))
    decode_with(pool, payload)
    assert pool.list_pids() == pids


def test_a_process_that_hangs_is_not_waited_for(payload: bytes) -> None:
    worker = FpzipProcess(patience=0.05)
    os.kill(worker.pid, signal.SIGSTOP)
    header, body = split_payload(payload)
    with pytest.raises(WorkerFailedError, match="did not answer in time"):
        worker.exchange(WorkerTask.PIXELS, header, body, np.empty(header.dims[1:], np.uint8))
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def test_a_process_that_cannot_start_says_why(
    pool: FpzipPool, payload: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('this numpy is broken')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(DecoderCrashedError, match=r"exit code 1: ImportError: this numpy is broken"):
        decode_with(pool, payload)


def test_a_missing_interpreter_is_one_clear_error(
    pool: FpzipPool, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for executable in ("", "/nowhere/python"):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(DecoderCrashedError, match="No process can be started"):
            decode_with(pool, payload)


def test_a_closed_pool_leaves_no_process_and_decodes_nothing(payload: bytes) -> None:
    pool = FpzipPool()
    pool.prestart(2)
    decode_with(pool, payload)
    pids = pool.list_pids()
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(DecoderCrashedError, match="have been ended"):
        decode_with(pool, payload)


def test_large_payloads_go_through_in_both_directions(pool: FpzipPool) -> None:
    noise = np.random.default_rng(5).integers(0, 64, (1024, 1536, 3), np.uint8)
    payload = encode_image(noise, codec=Codec.FPZIP)
    assert parse_header(payload).codec is Codec.FPZIP
    assert len(payload) > 4 << 20
    np.testing.assert_array_equal(decode_with(pool, payload), noise)


def test_latents_are_decoded_there_too() -> None:
    latent = np.linspace(-4, 4, 128 * 128 * 16).astype(np.float16).reshape(1, 128, 128, 16)
    np.testing.assert_array_equal(decode_latent(encode_latent(latent, codec=Codec.FPZIP)), latent)


@pytest.mark.anyio
async def test_asynchronous_code_decodes_through_threads(payload: bytes, pixels: NDArray[np.uint8]) -> None:
    results: list[NDArray[np.uint8]] = []

    async def decode() -> None:
        results.append(await anyio.to_thread.run_sync(decode_image, payload))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(decode)
    assert all(np.array_equal(result, pixels) for result in results)
    assert len(results) == 6


def test_a_script_without_a_main_guard_runs_once(run_script: RunScript) -> None:
    done = run_script(PROGRAM + "print('decoded')")
    assert (done.stdout, done.stderr, done.returncode) == ("decoded\n", "", 0)


def test_the_processes_leave_the_caller_s_input_alone(run_script: RunScript) -> None:
    done = run_script(PROGRAM + "print(sys.stdin.read())", "a message for the script")
    assert (done.stdout, done.stderr) == ("a message for the script\n", "")


def test_at_the_end_of_a_program_no_process_and_no_warning_is_left(run_script: RunScript) -> None:
    program = PROGRAM + "_shared.prestart(2)\nprint(*_shared.list_pids())"
    done = run_script(program, "", "-X", "dev")
    assert (done.stderr, done.returncode) == ("", 0)
    for pid in done.stdout.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_modules_in_the_working_directory_are_not_taken_for_libraries(
    run_script: RunScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "fpzip.py").write_text("raise SystemExit('the wrong library')")
    monkeypatch.chdir(elsewhere)
    done = run_script(PROGRAM + "print('decoded')")
    assert (done.stdout, done.stderr) == ("decoded\n", "")


def test_a_forked_process_starts_its_own(run_script: RunScript) -> None:
    program = """
        ours = _shared.list_pids()
        child = os.fork()
        assert (decode_image(payload) == pixels).all()
        assert (_shared.list_pids() == ours) == bool(child)
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert (decode_image(payload) == pixels).all()
            print('both decoded')
    """
    done = run_script(PROGRAM + program.replace("\n        ", "\n"))
    assert (done.stdout, done.stderr) == ("both decoded\n", "")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux can wait for a process that is no child")
def test_the_processes_end_when_their_parent_is_killed() -> None:
    program = PROGRAM + "print(*_shared.list_pids(), flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        watched = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    assert poll.poll(30_000)
    os.close(watched)


def test_most_damage_is_noticed_and_nothing_but_tensor_errors_comes_of_it(payload: bytes) -> None:
    rng = random.Random(3)
    crashes = 0
    for _ in range(8):
        broken = bytearray(payload)
        broken[rng.randrange(HEADER_SIZE + 32, len(broken))] ^= 1 << rng.randrange(8)
        try:
            assert decode_image(broken, report=str).shape == (48, 64, 3)
        except DecoderCrashedError:
            crashes += 1
        except TensorError:
            continue
    assert crashes
