"""The documents as blocks that can be run, and places to run them in."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from PIL import Image

from drawthings_mcp.simulator import Simulator
from tests.warm_start import put_command

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECRET = "open sesame"
_SIDE = 512


@dataclass(frozen=True)
class Block:
    """A fenced block, with the line that it begins at."""

    file: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Place:
    """Where examples run: a folder with pictures, and servers under the addresses of the text."""

    folder: Path
    addresses: dict[str, str]

    def settle(self, text: str) -> str:
        for written, real in self.addresses.items():
            text = text.replace(written, real)
        return text


def _list_blocks(file: str) -> list[Block]:
    text = (ROOT / file).read_text(encoding="utf-8")
    return [
        Block(file, text.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in _BLOCK.finditer(text)
    ]  # fmt: skip


def _save_pictures(folder: Path) -> None:
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE]
    slope = (columns * 255 // (_SIDE - 1)).astype(np.uint8)
    lines = np.where((rows % 64 < 3) | (columns % 64 < 3), 255, 0).astype(np.uint8)
    mask = np.where((rows < 160) & (abs(columns - 256) < 100), 255, 0).astype(np.uint8)
    skeleton = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    skeleton[100:400, 250:262] = (255, 80, 0)
    pictures = {
        "photo.png": np.dstack([slope, slope[::-1], 255 - slope]),
        "cat.png": np.dstack([slope, lines, slope]),
        "room.png": np.dstack([lines, slope, slope])[:, :384],
        "mask.png": mask,
        "edges.png": lines,
        "depth.png": slope,
        "pose.png": skeleton,
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name)


def _issue_certificate() -> tuple[bytes, bytes]:
    """A certificate as somebody makes it for a server of their own, and its key; clients never pin the simulator's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "studio")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), private


@contextmanager
def _simulate(portal: BlockingPortal, folder: Path) -> Iterator[dict[str, str]]:
    with ExitStack() as exits:
        certificate = _issue_certificate()
        (folder / "server.pem").write_bytes(certificate[0])
        plain = exits.enter_context(portal.wrap_async_context_manager(Simulator()))
        secure = exits.enter_context(
            portal.wrap_async_context_manager(Simulator(tls=True, certificate=certificate, shared_secret=_SECRET))
        )
        yield {"localhost:7859": plain.address, "studio.local": secure.address}


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """A loop in another thread that outlives the servers in it."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture
def place(portal: BlockingPortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A folder with pictures, which is the working directory, and running simulators."""
    monkeypatch.chdir(tmp_path)
    _save_pictures(tmp_path)
    with _simulate(portal, tmp_path) as addresses:
        yield Place(tmp_path, addresses)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the repository after ``make demo``; the home is in it."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command, as processes that need not import the libraries."""
    return put_command(tmp_path_factory.mktemp("bin")).parent


@pytest.fixture
def library() -> list[Block]:
    """The blocks of ``docs/library.md``."""
    return _list_blocks("docs/library.md")


@pytest.fixture
def guide() -> list[Block]:
    """The blocks of ``docs/guide.md``."""
    return _list_blocks("docs/guide.md")


@pytest.fixture
def readme() -> list[Block]:
    """The blocks of ``README.md``."""
    return _list_blocks("README.md")
