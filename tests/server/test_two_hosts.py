"""A server on one host, its client on another, simulators on both: network namespaces, where they can be made."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from tests.http_process import serve_http

HOUSE, DESK = "10.86.7.1", "10.86.7.2"
NAME = "studio.test"
SMALL = {"width": 128, "height": 128, "steps": 1, "preview": "never"}

_CLIENT = """\
import asyncio, io, json, sys
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

url, token, path, uri, small = json.loads(sys.argv[1])

async def main():
    told = {}
    async with httpx2.AsyncClient(timeout=60) as stranger:
        told["stranger"] = [
            (await stranger.get(url.replace("/mcp", place))).status_code for place in ("/health", "/images/v1", "/mcp")
        ]
    async with httpx2.AsyncClient(timeout=60, headers={"Authorization": f"Bearer {token}"}) as http:
        async with Client(streamable_http_client(url, http_client=http), read_timeout_seconds=60) as client:
            async def call(tool, **arguments):
                result = await client.call_tool(tool, arguments)
                return result.is_error, result.content[0].text
            told["uploaded"] = await call("review_image", images=[uri])
            told["path"] = await call("review_image", images=[path])
            told["drawn"] = await asyncio.gather(
                *(call("generate_image", prompt=f"fox {number}", canvas="a1", **small) for number in range(4))
            )
            address = told["drawn"][0][1].partition("open: ")[2].split()[0].replace("<id>", "v1")
        picture = await http.get(address)
        assert picture.status_code == 200, (told, picture.text)
        told["address"], told["size"] = address, Image.open(io.BytesIO(picture.content)).size
        told["another name"] = (await http.get(url, headers={"Host": "elsewhere.test"})).status_code
    print(json.dumps(told))

asyncio.run(main())
"""
"""What is done on the other host."""


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """What to put before a command to run it on either host: the server's, and the one at which somebody sits."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root and iproute2's ip")
    house, desk = (f"drawthings-{os.getpid()}-{name}" for name in ("house", "desk"))
    names = Path("/etc/netns", desk)
    try:
        if run("ip", "netns", "add", house, check=False):
            pytest.skip("network namespaces cannot be made here")
        run("ip", "netns", "add", desk)
        run("ip", "-n", house, "link", "add", "dt0", "type", "veth", "peer", "name", "dt1", "netns", desk)
        for name, link, address in ((house, "dt0", HOUSE), (desk, "dt1", DESK)):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", link)
            for each in (link, "lo"):
                run("ip", "-n", name, "link", "set", each, "up")
        names.mkdir(parents=True)
        (names / "hosts").write_text(f"127.0.0.1 localhost\n{HOUSE} {NAME}\n", encoding="utf-8")
        yield ["ip", "netns", "exec", house], ["ip", "netns", "exec", desk]
    finally:
        for name in (house, desk):
            run("ip", "netns", "delete", name, check=False)
        shutil.rmtree(names, ignore_errors=True)


def run(*command: str, check: bool = True) -> int:
    return subprocess.run(command, check=check, capture_output=True, timeout=60).returncode


@contextlib.contextmanager
def simulate(host: Sequence[str], address: str) -> Iterator[str]:
    """The address of a simulator on a host."""
    arguments = ["-m", "drawthings_mcp", "simulator", "--host", address, "--port", "0", "--step-seconds", "0.5"]
    with subprocess.Popen([*host, sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.kill()


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate with the server's name, which is its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.mark.slow
def test_a_client_on_another_host_uploads_draws_and_fetches_pictures_by_the_servers_name(
    hosts: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    house, desk = hosts
    certificate, key = write_certificate(tmp_path)
    environment = {
        "HOME": str(tmp_path),
        "DRAWTHINGS_OUTPUT_DIR": str(tmp_path / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(tmp_path / "state"),
    }
    photo = tmp_path / "photo.png"
    Image.new("RGB", (128, 128), "teal").save(photo)
    uri = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    options = ("0.0.0.0:0", "--allow-host", NAME, "--tls-cert", str(certificate), "--tls-key", str(key))
    with (
        simulate(house, "127.0.0.1") as near,
        simulate(desk, DESK) as far,
        serve_http(environment, *options, server=f"{near},{far}", within=house) as server,
    ):
        given = [f"https://{NAME}:{server.port}/mcp", server.token, str(photo), uri, SMALL]
        asked = subprocess.run(
            [*desk, sys.executable, "-c", _CLIENT, json.dumps(given)],
            env={**os.environ, "SSL_CERT_FILE": str(certificate)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert asked.returncode == 0, asked.stderr
    told: dict[str, Any] = json.loads(asked.stdout)
    assert told["stranger"] == [200, 401, 401]
    assert told["uploaded"][0] is False
    assert told["uploaded"][1].startswith("a1: ")
    assert told["path"][0] is True
    assert "is a path on the server's machine" in told["path"][1]
    assert [failed for failed, _ in told["drawn"]] == [False] * 4, told["drawn"]
    assert {text.rpartition(" s on ")[2].partition(":")[0] for _, text in told["drawn"]} == {"127.0.0.1", DESK}
    assert told["address"].startswith(f"https://{NAME}:{server.port}/images/v")
    assert told["size"] == [128, 128]
    assert told["another name"] == 421
