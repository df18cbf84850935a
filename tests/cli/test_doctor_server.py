"""What the doctor says about the way to a server: real servers and small faulty peers."""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from anyio.abc import ByteStream

from drawthings_mcp._generated import image_service_pb2 as pb
from drawthings_mcp._generated import image_service_pb2_grpc as pb_grpc
from drawthings_mcp.client.certificate import parse_certificate
from drawthings_mcp.doctor.finding import Finding
from drawthings_mcp.simulator import Simulator

pytestmark = pytest.mark.anyio

Examine = Callable[..., Awaitable[dict[str, Finding]]]
Issue = Callable[..., tuple[bytes, bytes]]
Serve = Any

AFTER_THE_ADDRESS = ("protocol", "encryption", "certificate", "shared secret", "model browsing", "model")


async def test_a_closed_port_is_a_problem_and_says_how_to_start_the_server(run: Any, closed_port: str) -> None:
    outcome = await run("doctor", "--json", "--server", closed_port)
    assert outcome.code == 1
    address = outcome.findings["address"]
    assert address.status == "problem"
    assert address.detail == f"{closed_port} refuses connections (Connection refused): nothing listens there"
    assert "switch its API server on (Advanced settings → API Server, protocol gRPC" in address.remedy
    assert {outcome.findings[name].status for name in AFTER_THE_ADDRESS} == {"skipped"}


async def test_an_unknown_host_name_is_a_problem(examine: Examine) -> None:
    address = (await examine("drawthings.invalid"))["address"]
    assert address.status == "problem"
    assert "drawthings.invalid:7859 is not a known host name" in address.detail
    assert "Check the spelling" in address.remedy


async def test_a_machine_that_cannot_be_reached_may_be_a_matter_of_permission_on_a_mac(examine: Examine) -> None:
    address = (await examine("255.255.255.255"))["address"]
    assert address.status == "problem"
    assert "cannot be reached" in address.detail
    assert "Privacy & Security → Local Network" in address.remedy


async def test_a_silent_listener_is_a_problem(examine: Examine, serve_tcp: Serve) -> None:
    async def listen_only(stream: ByteStream) -> None:
        await anyio.sleep_forever()

    async with serve_tcp(listen_only) as server:
        findings = await examine(server, timeout=1.5)
    assert findings["address"].status == "problem"
    assert "takes connections, but does not answer" in findings["address"].detail
    assert "restart it" in findings["address"].remedy


@pytest.mark.parametrize(
    ("body", "detail", "remedy"),
    [
        (
            b'{"seed_mode": "Scale Alike", "guidance_scale": 4}',
            "is in HTTP mode",
            "Set Protocol to gRPC in Draw Things",
        ),
        (b"<html>", "or another web server", "or correct the port"),
    ],
)
async def test_a_web_server_is_distinguished_from_draw_things_in_http_mode(
    examine: Examine, serve_tcp: Serve, body: bytes, detail: str, remedy: str
) -> None:
    async def answer(stream: ByteStream) -> None:
        if (await stream.receive()).startswith(b"GET / "):
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async with serve_tcp(answer) as server:
        findings = await examine(server)
    assert findings["address"].status == "ok"
    assert findings["protocol"].status == "problem"
    assert detail in findings["protocol"].detail
    assert remedy in findings["protocol"].remedy
    assert findings["model"].status == "skipped"


async def test_another_grpc_server_is_not_taken_for_draw_things(examine: Examine) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        protocol = (await examine(f"127.0.0.1:{port}"))["protocol"]
    finally:
        await server.stop(None)
    assert protocol.status == "problem"
    assert "something else than Draw Things seems to answer" in protocol.detail
    assert "Use the port that is shown in Draw Things" in protocol.remedy


async def test_a_server_that_is_too_busy_to_reply_is_given_more_time(examine: Examine) -> None:
    class Busy(pb_grpc.ImageGenerationServiceServicer):
        async def Echo(self, request: pb.EchoRequest, context: object) -> pb.EchoReply:  # noqa: N802
            await anyio.sleep_forever()
            raise AssertionError

    server = grpc.aio.server()
    pb_grpc.add_ImageGenerationServiceServicer_to_server(Busy(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        protocol = (await examine(f"127.0.0.1:{port}", timeout=2))["protocol"]
    finally:
        await server.stop(None)
    assert protocol.status == "problem"
    assert "did not reply within 2 s" in protocol.detail
    assert "--timeout 120" in protocol.remedy


async def test_a_server_in_order_leaves_nothing_to_do(run: Any, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        outcome = await run("doctor", "--json", "--server", simulator.address)
    assert outcome.code == 0
    assert {finding.status for finding in outcome.findings.values()} == {"ok", "skipped"}
    assert {name: found.detail for name, found in outcome.findings.items() if found.status == "skipped"} == {
        "certificate": "there is none without TLS",
        "compression": "shows only when a picture is made",
        "test picture": "shows only when a picture is made",
    }
    assert outcome.findings["compression"].remedy == "To make a tiny one: drawthings-mcp doctor --render"
    assert not (tmp_path / "pictures").exists()
    assert not (tmp_path / "state").exists()


async def test_tls_that_is_demanded_of_a_plaintext_server_names_both_switches(examine: Examine) -> None:
    async with Simulator() as simulator:
        findings = await examine(simulator.address, tls="on")
    assert findings["encryption"].status == "problem"
    assert "without TLS" in findings["encryption"].detail
    assert "use --tls off or set DRAWTHINGS_TLS=off" in findings["encryption"].remedy
    assert "Transport Layer Security in Draw Things under Advanced settings → API Server" in (
        findings["encryption"].remedy
    )
    assert findings["model browsing"].status == "ok", "one problem must not hide the rest"


async def test_tls_that_is_switched_off_for_a_tls_server_names_the_setting(examine: Examine) -> None:
    async with Simulator(tls=True) as simulator:
        findings = await examine(simulator.address, tls="off")
    assert findings["encryption"].status == "problem"
    assert "Use --tls auto or set DRAWTHINGS_TLS=auto" in findings["encryption"].remedy
    assert findings["certificate"].status == "skipped"
    assert findings["model"].status == "ok"


async def test_a_servers_own_certificate_is_pinned_at_the_first_meeting(examine: Examine, issue: Issue) -> None:
    async with Simulator(tls=True, certificate=issue()) as simulator:
        first = (await examine(simulator.address))["certificate"]
        second = (await examine(simulator.address))["certificate"]
    assert (first.status, second.status) == ("ok", "ok")
    assert "met for the first time and pinned now" in first.detail
    assert "with the same key as at the first meeting" in second.detail
    assert "issued for localhost;" in second.detail


async def test_a_simulators_certificate_is_said_to_prove_nothing(examine: Examine, tmp_path: Path) -> None:
    async with Simulator(tls=True) as simulator:
        certificate = (await examine(simulator.address))["certificate"]
    assert certificate.status == "ok"
    assert "the simulator's certificate: it encrypts, but proves no identity" in certificate.detail
    assert "issued for localhost, 127.0.0.1" in certificate.detail
    assert not (tmp_path / "state" / "pins.json").exists()


async def test_a_changed_key_names_the_file_and_the_entry_to_remove(examine: Examine, tmp_path: Path) -> None:
    pins = tmp_path / "state" / "pins.json"
    pins.parent.mkdir()
    async with Simulator(tls=True, shared_secret="s") as simulator:
        pins.write_text(json.dumps({simulator.address: "0" * 64}))
        findings = await examine(simulator.address, shared_secret="s")
    assert findings["certificate"].status == "problem"
    assert "presents another key than before" in findings["certificate"].detail
    assert f"remove the entry {simulator.address!r} from {pins}" in findings["certificate"].remedy
    assert findings["shared secret"].status == "skipped", "a server that is not trusted is not told the secret"
    assert "asked without trust" in findings["protocol"].detail


async def test_a_damaged_pin_file_is_a_problem_of_the_certificate(examine: Examine, tmp_path: Path) -> None:
    pins = tmp_path / "state" / "pins.json"
    pins.parent.mkdir()
    pins.write_text("{")
    async with Simulator(tls=True) as simulator:
        certificate = (await examine(simulator.address))["certificate"]
    assert certificate.status == "problem"
    assert f"{pins} is damaged" in certificate.detail
    assert certificate.remedy


async def test_draw_things_own_certificate_is_said_to_prove_nothing(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Simulator(tls=True) as simulator:
        # Its private key is public, but nothing that a repository should carry: another one plays its part.
        assert simulator.certificate_pem is not None
        shown = parse_certificate(ssl.PEM_cert_to_DER_cert(simulator.certificate_pem.decode()))
        monkeypatch.setattr("drawthings_mcp.client.certificate.SHARED_SPKI_SHA256", shown.spki_sha256)
        certificate = (await examine(simulator.address))["certificate"]
    assert certificate.status == "ok"
    assert "it encrypts, but proves no identity" in certificate.detail


async def test_a_certificate_that_the_ca_file_vouches_for_proves_an_identity(examine: Examine, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    async with Simulator(tls=True) as simulator:
        assert simulator.certificate_pem is not None
        ca_file.write_bytes(simulator.certificate_pem)
        certificate = (await examine(simulator.address, ca_file=str(ca_file)))["certificate"]
    assert certificate.status == "ok"
    assert f"verified against {ca_file}" in certificate.detail


async def test_a_certificate_that_the_ca_file_does_not_know_is_a_problem(
    examine: Examine, issue: Issue, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(issue()[0])
    async with Simulator(tls=True) as simulator:
        certificate = (await examine(simulator.address, ca_file=str(ca_file)))["certificate"]
    assert certificate.status == "problem"
    assert "does not pass" in certificate.detail
    assert "leave --ca-file out to pin" in certificate.remedy


async def test_a_ca_file_without_a_certificate_is_a_problem(examine: Examine, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("not a certificate")
    async with Simulator(tls=True) as simulator:
        certificate = (await examine(simulator.address, ca_file=str(ca_file)))["certificate"]
    assert certificate.status == "problem"
    assert str(ca_file) in certificate.detail
    assert "DRAWTHINGS_CA_FILE" in certificate.remedy


async def test_settings_that_contradict_each_other_are_reported(examine: Examine, tmp_path: Path) -> None:
    async with Simulator() as simulator:
        encryption = (await examine(simulator.address, tls="off", ca_file=str(tmp_path / "ca.pem")))["encryption"]
    assert encryption.status == "problem"
    assert "no certificate to verify without TLS" in encryption.detail
    assert "DRAWTHINGS_CA_FILE" in encryption.remedy


@pytest.mark.parametrize(
    ("lifetime", "status", "detail"),
    [(timedelta(days=-1), "problem", "expired on"), (timedelta(days=3), "warning", "expires soon")],
)
async def test_the_end_of_a_certificate_is_reported(
    examine: Examine, issue: Issue, lifetime: timedelta, status: str, detail: str
) -> None:
    pair = issue(datetime.now(UTC) + lifetime)
    async with Simulator(tls=True, certificate=pair) as simulator:
        certificate = (await examine(simulator.address))["certificate"]
    assert certificate.status == status
    assert detail in certificate.detail
    assert "Renew it on the server" in certificate.remedy


@pytest.mark.parametrize(
    ("wanted", "given", "status", "detail"),
    [
        ("", "", "ok", "the server asks for none"),
        ("", "mine", "ok", "set here, though the server asks for none"),
        ("right", "right", "ok", "needed, and the one that is set is right"),
        ("right", "", "problem", "wants a shared secret"),
        ("right", "wrong", "problem", "wants another shared secret than the one given"),
    ],
)
async def test_the_shared_secret_is_judged(examine: Examine, wanted: str, given: str, status: str, detail: str) -> None:
    async with Simulator(shared_secret=wanted) as simulator:
        findings = await examine(simulator.address, **({"shared_secret": given} if given else {}))
    secret = findings["shared secret"]
    assert secret.status == status
    assert detail in secret.detail
    if status == "problem":
        assert "use --shared-secret … or set DRAWTHINGS_SHARED_SECRET=…" in secret.remedy
        assert findings["protocol"].status == "ok"
        assert findings["model browsing"].status == "skipped"


async def test_the_secret_of_a_server_with_a_name_belongs_into_its_table(run: Any, tmp_path: Path) -> None:
    config = tmp_path / "drawthings-mcp" / "config.toml"
    config.parent.mkdir()
    async with Simulator(shared_secret="right") as simulator:
        config.write_text(f'[servers.studio]\naddress = "{simulator.address}"\ntls = "off"\n')
        place = {"XDG_CONFIG_HOME": str(tmp_path)}
        examined = await run("doctor", "--json", **place)
        drawn = await run("generate", "a fox", "--size", "128", **place)
    advice = "write shared_secret into [servers.studio] of config.toml"
    assert advice in examined.findings["shared secret"].remedy
    assert drawn.code == 1
    assert f"wants a shared secret. Give the one that it was started with: {advice}." in drawn.stderr


async def test_a_server_under_two_names_is_found_out(run: Any) -> None:
    async with Simulator() as one, Simulator() as other:
        second = one.address.replace("127.0.0.1", "localhost")
        ended = await run("doctor", "--json", "--server", f"{one.address},{other.address},{second}", "--tls", "off")
    found = [finding for finding in ended.document["findings"] if finding["name"] == "identity"]
    assert [(finding["group"], finding["status"]) for finding in found] == [(f"Server {second}", "warning")]
    assert found[0]["detail"] == f"the same server as {one.address}, under another name; it is used once"


async def test_a_spare_server_that_is_off_is_only_a_warning(run: Any, closed_port: str) -> None:
    async with Simulator() as simulator:
        outcome = await run("doctor", "--json", "--server", f"{closed_port},{simulator.address}")
    assert outcome.code == 0
    by_group = {found["group"]: found["status"] for found in outcome.document["findings"] if found["name"] == "address"}
    assert by_group == {f"Server {closed_port}": "warning", f"Server {simulator.address}": "ok"}


@pytest.mark.parametrize("command", ["doctor", "models"])
async def test_an_address_that_is_none_is_wrong_usage(run: Any, command: str) -> None:
    outcome = await run(command, "--server", "http://mac.local:7859")
    assert outcome.code == 2
    assert "without 'http://'" in outcome.stderr


async def test_the_demo_server_is_started_and_said_to_be_one(run: Any) -> None:
    outcome = await run("doctor", "--server", "demo", "--render")
    assert outcome.code == 0
    assert "Started the embedded simulator at 127.0.0.1:" in outcome.stderr
    assert "Server demo" in outcome.stdout
    assert "this is the simulator, which draws without a model" in outcome.stdout
    assert "Everything needed works; no warnings." in outcome.stdout
