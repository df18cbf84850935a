from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from drawthings_mcp.client.certificate import PinStore
from drawthings_mcp.errors import CertificateError, StorageError

KEY, OTHER = "ab" * 32, "cd" * 32


def test_a_key_is_pinned_at_first_use_and_accepted_again(tmp_path: Path) -> None:
    store = PinStore(tmp_path / "state")
    store.check("studio:7859", KEY)
    store.check("studio:7859", KEY)
    assert json.loads(store.path.read_text()) == {"studio:7859": KEY}


def test_another_key_is_refused_with_the_file_and_the_entry_to_remove(tmp_path: Path) -> None:
    store = PinStore(tmp_path)
    store.check("studio:7859", KEY)
    with pytest.raises(CertificateError) as caught:
        store.check("studio:7859", OTHER)
    assert str(store.path) in str(caught.value)
    assert "'studio:7859'" in str(caught.value)
    assert json.loads(store.path.read_text()) == {"studio:7859": KEY}


def test_a_key_that_is_not_to_be_pinned_leaves_no_trace(tmp_path: Path) -> None:
    PinStore(tmp_path).check("studio:7859", KEY, pin=False)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_not_to_be_pinned_is_compared_all_the_same(tmp_path: Path) -> None:
    store = PinStore(tmp_path)
    store.check("studio:7859", KEY)
    with pytest.raises(CertificateError):
        store.check("studio:7859", OTHER, pin=False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"studio:7859": 5}', '{"studio:7859": "abcd"}', "\x00\xff"])
def test_a_damaged_file_is_reported_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    store = PinStore(tmp_path)
    store.path.write_text(text, encoding="latin-1")
    with pytest.raises(StorageError, match="damaged"):
        store.check("other:7859", KEY)
    assert store.path.read_text(encoding="latin-1") == text


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match=r"pins\.json cannot be used"):
        PinStore(tmp_path / "state").check("studio:7859", KEY)


def test_processes_that_pin_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from drawthings_mcp.client.certificate import PinStore\n"
        "store = PinStore(Path(sys.argv[1])); print('ready', flush=True); sys.stdin.readline()\n"
        "for number in range(100): store.check(f'{sys.argv[2]}:{number}', 'ab' * 32)"
    )
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program, str(tmp_path), f"host{n}"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for n in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    pins = json.loads(PinStore(tmp_path).path.read_text())
    assert set(pins) == {f"host{n}:{number}" for n in range(3) for number in range(100)}
    assert {path.name for path in tmp_path.iterdir()} == {"pins.json", "pins.lock"}
