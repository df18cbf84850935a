"""Which connections are made, and how each refusal reads; over real servers."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from drawthings_mcp.address import Address
from drawthings_mcp.api.async_client import AsyncDrawThingsClient
from drawthings_mcp.client.certificate import parse_certificate
from drawthings_mcp.client.probe import ProbeResult, Speaks
from drawthings_mcp.client.server_client import ServerInfo
from drawthings_mcp.client.trust import Security, build_policy
from drawthings_mcp.errors import (
    CertificateError,
    DrawThingsError,
    InvalidInputError,
    ServerDiedError,
    ServerUnreachableError,
    StorageError,
    WrongProtocolError,
)
from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio

Peer = Callable[..., Any]


async def connect(address: str, state_dir: Path, **options: Any) -> Security:
    """One echo with a client of its own; returns how it was protected."""
    with anyio.fail_after(20):
        async with AsyncDrawThingsClient(address, state_dir=state_dir, **options) as client:
            assert (await client.echo()).message == "HELLO drawthings-mcp"
            assert client.security is not None
            return client.security


async def echo_again(client: AsyncDrawThingsClient) -> ServerInfo:
    """An echo after the server was restarted; the first call may still meet the end of the old connection."""
    try:
        return await client.echo()
    except ServerDiedError:
        return await client.echo()


async def refuse(error: type[DrawThingsError], address: str, state_dir: Path, **options: Any) -> str:
    """The text with which a connection is refused."""
    with pytest.raises(error) as caught:
        await connect(address, state_dir, **options)
    return str(caught.value)


@pytest.mark.parametrize("options", [{}, {"tls": "off"}, {"insecure": True}])
async def test_plaintext_is_used_on_this_machine_and_when_asked_for(
    serve_grpc: Peer, tmp_path: Path, options: dict[str, Any]
) -> None:
    async with serve_grpc() as address:
        assert await connect(address, tmp_path, **options) == Security("plaintext", "not encrypted, on this machine")


@pytest.mark.parametrize("options", [{"tls": "on"}, {"insecure": False}, {"insecure": False, "verify_ssl": False}])
async def test_a_plaintext_server_is_refused_when_tls_is_demanded(
    serve_grpc: Peer, tmp_path: Path, options: dict[str, Any]
) -> None:
    async with serve_grpc() as address:
        text = await refuse(WrongProtocolError, address, tmp_path, **options)
    assert "pass tls='off' to the client" in text


async def test_a_plaintext_server_is_refused_when_a_ca_is_to_vouch_for_it(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    ca_file = issue(authority=True).write(tmp_path)
    async with serve_grpc() as address:
        await refuse(WrongProtocolError, address, tmp_path, ca_file=ca_file)


@pytest.mark.parametrize(("tls", "allowed"), [("auto", False), ("on", False), ("off", True)])
async def test_plaintext_over_a_network_is_never_chosen_automatically(tmp_path: Path, tls: Any, allowed: bool) -> None:
    policy = build_policy(insecure=None, verify_ssl=True, tls=tls, ca_file=None, state_dir=tmp_path)
    found = ProbeResult(Address("studio.local"), Speaks.PLAINTEXT, ip="192.168.1.20")
    if allowed:
        route = await policy.choose_route(found)
        assert route.security == Security("plaintext", "not encrypted, readable on the network")
        assert (route.target, route.name) == ("ipv4:192.168.1.20:7859", "studio.local:7859")
    else:
        with pytest.raises(WrongProtocolError, match="pass tls='off' to the client"):
            await policy.choose_route(found)


async def test_a_plaintext_server_at_an_address_of_the_network_is_used_only_when_asked_for(
    serve_grpc: Peer, tmp_path: Path, network_ip: str
) -> None:
    asked: list[str] = []

    async def note_call() -> None:
        asked.append("asked")

    async with serve_grpc(host=network_ip, before_echo=note_call) as address:
        text = await refuse(WrongProtocolError, address, tmp_path, shared_secret="sesame")
        assert asked == [], "a server that is refused must not be told the secret"
        security = await connect(address, tmp_path, tls="off")
    assert "pass tls='off' to the client" in text
    assert security == Security("plaintext", "not encrypted, readable on the network")


async def test_a_server_that_was_met_with_tls_cannot_come_back_without(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    async with serve_grpc(certificate=issue("localhost")) as address:
        await connect(address, tmp_path)
    async with serve_grpc(port=int(address.split(":")[1])):
        text = await refuse(WrongProtocolError, address, tmp_path)
        assert "TLS with a key of its own" in text
        assert "pass tls='off' to the client" in text
        assert f"remove the entry {address!r} from {tmp_path / 'pins.json'}" in text
        for options in ({"tls": "off"}, {"verify_ssl": False}):
            await connect(address, tmp_path, **options)


async def test_damaged_pins_do_not_open_the_way_to_plaintext(serve_grpc: Peer, tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text("{")
    async with serve_grpc() as address:
        assert "damaged" in await refuse(StorageError, address, tmp_path)


async def test_a_tls_server_is_refused_when_tls_is_switched_off(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    async with serve_grpc(certificate=issue("localhost")) as address:
        assert "Pass tls='auto' to the client" in await refuse(WrongProtocolError, address, tmp_path, tls="off")


@pytest.mark.parametrize(
    "names",
    [
        ("localhost",),
        ("localhost", "*", "127.0.0.1", "0.0.0.0"),
        ("studio.lan",),
        ("*.home.lan",),
        ("*", "192.168.1.20"),
        ("fd00::5",),
        (),
    ],
)
async def test_an_unknown_certificate_is_pinned_whatever_it_is_issued_for(
    serve_grpc: Peer, issue: Peer, tmp_path: Path, names: tuple[str, ...]
) -> None:
    authority = issue(authority=True, common_name="an authority")
    certificate = issue(*names, common_name="studio", issuer=authority)
    async with serve_grpc(certificate=certificate) as address:
        first = await connect(address, tmp_path)
        assert await connect(address, tmp_path) == first
    assert first.note == "the server's own certificate, pinned at first use"
    assert json.loads((tmp_path / "pins.json").read_text()) == {address: first.spki_sha256}


async def test_a_certificate_without_any_name_is_refused(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    async with serve_grpc(certificate=issue(common_name="")) as address:
        assert "holds no name" in await refuse(CertificateError, address, tmp_path)


@pytest.mark.parametrize("names", [("*",), ("*.lan",), ("*", "*.*.home.lan")])
async def test_a_certificate_with_names_that_grpc_never_accepts_is_refused_with_the_names(
    serve_grpc: Peer, issue: Peer, tmp_path: Path, names: tuple[str, ...]
) -> None:
    async with serve_grpc(certificate=issue(*names)) as address:
        text = await refuse(CertificateError, address, tmp_path, verify_ssl=False)
    assert f"issued only for {', '.join(names)}, which gRPC accepts for no host" in text


async def test_a_changed_certificate_is_refused_with_the_entry_to_remove(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    async with serve_grpc(certificate=issue("localhost")) as address:
        await connect(address, tmp_path)
    async with serve_grpc(certificate=issue("localhost"), port=int(address.split(":")[1])):
        text = await refuse(CertificateError, address, tmp_path)
        assert f"remove the entry {address!r} from {tmp_path / 'pins.json'}" in text
        (tmp_path / "pins.json").write_text("{}")
        await connect(address, tmp_path)


async def test_a_certificate_that_changes_under_an_open_client_is_refused(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    with anyio.fail_after(20):
        async with AsyncExitStack() as stack:
            async with serve_grpc(certificate=issue("localhost")) as address:
                client = await stack.enter_async_context(AsyncDrawThingsClient(address, state_dir=tmp_path))
                await client.echo()
            async with serve_grpc(certificate=issue("localhost"), port=int(address.split(":")[1])):
                with pytest.raises(CertificateError, match="another key than before"):
                    await echo_again(client)


async def test_the_certificate_that_all_servers_share_is_accepted_but_not_pinned(
    serve_grpc: Peer, issue: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = issue("localhost", "*", "127.0.0.1", "0.0.0.0")
    spki_sha256 = parse_certificate(certificate.der).spki_sha256
    monkeypatch.setattr("drawthings_mcp.client.certificate.SHARED_SPKI_SHA256", spki_sha256)
    async with serve_grpc(certificate=certificate) as address:
        security = await connect(address, tmp_path)
    assert security.note == "Draw Things' shared public certificate: encrypts, proves no identity"
    assert not (tmp_path / "pins.json").exists()


async def test_a_server_that_had_its_own_key_cannot_come_back_with_the_shared_one(
    serve_grpc: Peer, issue: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = issue("localhost")
    spki_sha256 = parse_certificate(shared.der).spki_sha256
    monkeypatch.setattr("drawthings_mcp.client.certificate.SHARED_SPKI_SHA256", spki_sha256)
    async with serve_grpc(certificate=issue("localhost")) as address:
        await connect(address, tmp_path)
    async with serve_grpc(certificate=shared, port=int(address.split(":")[1])):
        assert "another key than before" in await refuse(CertificateError, address, tmp_path)


async def test_any_certificate_is_accepted_without_a_pin_when_verification_is_off(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    async with serve_grpc(certificate=issue("localhost")) as address:
        security = await connect(address, state_dir, verify_ssl=False)
    assert security.note == "any certificate is accepted: encrypts, proves no identity"
    assert not state_dir.exists()


async def test_an_open_client_follows_a_changed_certificate_when_verification_is_off(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    with anyio.fail_after(20):
        async with AsyncExitStack() as stack:
            async with serve_grpc(certificate=issue("localhost")) as address:
                client = await stack.enter_async_context(AsyncDrawThingsClient(address, verify_ssl=False))
                await client.echo()
            async with serve_grpc(certificate=issue("studio.lan"), port=int(address.split(":")[1])):
                assert (await echo_again(client)).identifier == 7


async def test_a_simulator_is_never_pinned(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    async with Simulator(tls=True) as first:
        security = await connect(first.address, tmp_path)
    port = int(first.address.split(":")[1])
    async with Simulator(tls=True, port=port) as second:
        assert second.certificate_pem != first.certificate_pem
        await connect(second.address, tmp_path)
    assert security.note == "the simulator's certificate: encrypts, proves no identity"
    async with serve_grpc(certificate=issue("localhost"), port=port):
        note = (await connect(first.address, tmp_path)).note
    assert note == "the server's own certificate, pinned at first use"


async def test_draw_things_may_take_the_place_of_a_simulator(
    serve_grpc: Peer, issue: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = issue("localhost", "*", "127.0.0.1", "0.0.0.0")
    async with Simulator(tls=True) as simulator:
        await connect(simulator.address, tmp_path)
    monkeypatch.setattr(
        "drawthings_mcp.client.certificate.SHARED_SPKI_SHA256", parse_certificate(shared.der).spki_sha256
    )
    async with serve_grpc(certificate=shared, port=int(simulator.address.split(":")[1])):
        assert "shared public certificate" in (await connect(simulator.address, tmp_path)).note


async def test_a_server_that_had_its_own_key_cannot_come_back_as_a_simulator(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    async with serve_grpc(certificate=issue("localhost")) as address:
        await connect(address, tmp_path)
    async with Simulator(tls=True, port=int(address.split(":")[1])):
        assert "another key than before" in await refuse(CertificateError, address, tmp_path)


async def test_damaged_pins_stop_the_connection(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text("{")
    async with serve_grpc(certificate=issue("localhost")) as address:
        assert "damaged" in await refuse(StorageError, address, tmp_path)


async def test_a_ca_file_vouches_for_chain_and_host_name(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    authority = issue(authority=True, common_name="an authority")
    ca_file = authority.write(tmp_path)
    async with serve_grpc(certificate=issue("127.0.0.1", issuer=authority)) as address:
        security = await connect(address, tmp_path, ca_file=ca_file)
    assert security.note == f"verified against {ca_file}"
    assert not (tmp_path / "pins.json").exists()


async def test_a_ca_file_may_hold_the_certificate_of_the_server_itself(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    certificate = issue("127.0.0.1", issuer=issue(authority=True, common_name="an authority"))
    async with serve_grpc(certificate=certificate) as address:
        await connect(address, tmp_path, ca_file=str(certificate.write(tmp_path)))


async def test_a_certificate_for_another_host_does_not_pass_a_ca_file(
    serve_grpc: Peer, issue: Peer, tmp_path: Path
) -> None:
    authority = issue(authority=True, common_name="an authority")
    async with serve_grpc(certificate=issue("studio.lan", issuer=authority)) as address:
        text = await refuse(CertificateError, address, tmp_path, ca_file=authority.write(tmp_path))
    assert "IP address mismatch" in text


async def test_a_certificate_of_another_ca_does_not_pass(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    authority, other = issue(authority=True, common_name="one"), issue(authority=True, common_name="two")
    async with serve_grpc(certificate=issue("127.0.0.1", issuer=authority)) as address:
        text = await refuse(CertificateError, address, tmp_path, ca_file=other.write(tmp_path))
    assert "unable to get local issuer certificate" in text


async def test_an_expired_certificate_is_refused_with_its_date(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    authority = issue(authority=True, common_name="an authority")
    ca_file = authority.write(tmp_path)
    expired = issue("127.0.0.1", issuer=authority, valid="expired")
    async with serve_grpc(certificate=expired) as address:
        for options in ({}, {"verify_ssl": False}):
            assert "expired on 2021-01-01" in await refuse(CertificateError, address, tmp_path, **options)
        assert "certificate has expired" in await refuse(CertificateError, address, tmp_path, ca_file=ca_file)
    assert not (tmp_path / "pins.json").exists()


async def test_a_certificate_that_is_not_valid_yet_is_refused(serve_grpc: Peer, issue: Peer, tmp_path: Path) -> None:
    async with serve_grpc(certificate=issue("localhost", valid="not yet")) as address:
        assert "valid only from 2119-01-01" in await refuse(CertificateError, address, tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
async def test_a_ca_file_that_holds_no_certificate_is_refused(
    serve_grpc: Peer, issue: Peer, tmp_path: Path, content: bytes | None
) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    async with serve_grpc(certificate=issue("localhost")) as address:
        assert str(ca_file) in await refuse(InvalidInputError, address, tmp_path, ca_file=ca_file)


async def test_a_server_that_wants_a_client_certificate_is_refused_with_the_reason(
    serve_tcp: Peer, issue: Peer, tmp_path: Path
) -> None:
    certificate = issue("localhost")
    context = certificate.build_context(tmp_path, ["h2"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate.pem.decode())

    async def wait(stream: ByteStream) -> None:
        await stream.receive()

    async with serve_tcp(wait, context) as address:
        text = await refuse(CertificateError, address, tmp_path)
    assert "TLS connection fails" in text


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"tls": "maybe"}, "tls"),
        ({"insecure": True, "tls": "on"}, "insecure"),
        ({"insecure": False, "tls": "off"}, "insecure"),
        ({"insecure": True, "ca_file": "ca.pem"}, "ca_file"),
        ({"verify_ssl": False, "ca_file": "ca.pem"}, "ca_file"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{word}: "):
        AsyncDrawThingsClient(**options)


async def test_http_mode_is_named_with_the_switch_in_the_app(serve_tcp: Peer, tmp_path: Path) -> None:
    async def answer(stream: ByteStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with serve_tcp(answer) as address:
        text = await refuse(WrongProtocolError, address, tmp_path)
    assert "HTTP API mode" in text
    assert "API Server → Protocol to gRPC" in text


@pytest.mark.parametrize(
    ("speaks", "error"),
    [
        (Speaks.SILENT, ServerUnreachableError),
        (Speaks.CLOSES, ServerUnreachableError),
        (Speaks.REFUSED, ServerUnreachableError),
        (Speaks.UNRESOLVED, ServerUnreachableError),
        (Speaks.UNREACHABLE, ServerUnreachableError),
        (Speaks.TLS_ONLY, WrongProtocolError),
        (Speaks.TLS_FAILS, WrongProtocolError),
        (Speaks.HTTP1, WrongProtocolError),
        (Speaks.OTHER, WrongProtocolError),
    ],
)
async def test_every_finding_that_leads_nowhere_has_its_error(
    tmp_path: Path, speaks: Speaks, error: type[DrawThingsError]
) -> None:
    policy = build_policy(insecure=None, verify_ssl=True, tls="auto", ca_file=None, state_dir=tmp_path)
    with pytest.raises(error, match=r"^studio\.local:7859 .*\(the detail\).*\."):
        await policy.choose_route(ProbeResult(Address("studio.local"), speaks, detail="the detail"))
