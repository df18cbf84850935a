"""Questions about one server, each answered from the evidence alone.

Owns which switch is to be flipped where. Asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from drawthings_mcp.address import is_loopback
from drawthings_mcp.client.certificate import Certificate, parse_certificate
from drawthings_mcp.client.probe import Speaks
from drawthings_mcp.doctor.evidence import HTTP2, Evidence
from drawthings_mcp.doctor.finding import Verdict, blame, ok, problem, skipped, warning
from drawthings_mcp.doctor.sample import Sample
from drawthings_mcp.errors import (
    DrawThingsError,
    InvalidInputError,
    RequestRefusedError,
    ServerUnreachableError,
    SharedSecretError,
    UnsupportedRequestError,
    WrongProtocolError,
)
from drawthings_mcp.tensors.header import Codec

Check: TypeAlias = Callable[[Evidence], Verdict]

NOT_ASKED = "not known while the server cannot be asked"

_API_SERVER = "in Draw Things under Advanced settings → API Server"

_TLS_SWITCH = (
    f"The server's switch is Transport Layer Security {_API_SERVER}; a stand-alone server speaks TLS unless it was "
    "started with --no-tls."
)

_UNREACHABLE_ON_A_MAC = (
    " On a Mac also see System Settings → Privacy & Security → Local Network: the program that starts this one "
    "(Terminal, LM Studio, Claude, …) has to be switched on there."
)

_NO_PICTURE = skipped("shows only when a picture is made", "To make a tiny one: drawthings-mcp doctor --render")

_EXPIRES_SOON = timedelta(days=30)

_FULL_PICTURE = 1024 * 1024 * 3 * 2 / 1e6
"""Megabytes of a raw payload of 1024×1024 pixels: three float16 each (protocol §3.1)."""


def check_address(evidence: Evidence) -> Verdict:
    """Whether anything answers."""
    way = evidence.way
    if isinstance(way.refusal, ServerUnreachableError):
        verdict = blame(way.refusal)
        more = _UNREACHABLE_ON_A_MAC if way.found.speaks is Speaks.UNREACHABLE else ""
        return problem(verdict.detail, verdict.remedy + more)
    where = f"{way.found.ip} port {way.found.address.port}" if way.found.ip else "the address"
    return ok(f"something answers at {where}")


def check_protocol(evidence: Evidence) -> Verdict:
    """Whether what answers is Draw Things, in gRPC mode."""
    way, talk = evidence.way, evidence.talk
    if way.web_api:
        return problem(
            f"{way.found.address} is Draw Things, but its API server is in HTTP mode; gRPC is needed",
            f"Set Protocol to gRPC {_API_SERVER}, then use the port that is shown there.",
        )
    if way.found.speaks not in HTTP2:
        return blame(way.refusal) if isinstance(way.refusal, WrongProtocolError) else skipped(NOT_ASKED)
    if talk.info is not None or isinstance(talk.refusal, SharedSecretError):
        return ok(_describe_answer(evidence))
    if isinstance(talk.refusal, UnsupportedRequestError | RequestRefusedError):
        return problem(
            f"something else than Draw Things seems to answer: {blame(talk.refusal).detail}",
            f"Use the port that is shown {_API_SERVER} (7859 by default), and the server's own address rather than "
            "that of a proxy.",
        )
    return skipped(NOT_ASKED) if talk.trial or talk.refusal is None else blame(talk.refusal)


def _describe_answer(evidence: Evidence) -> str:
    talk = evidence.talk
    simulated = talk.info is not None and talk.info.simulated
    return (
        "gRPC"
        + ("; this is the simulator, which draws without a model" if simulated else "")
        + ("; asked without trust, so what follows is only what it claims" if talk.trial else "")
    )


def check_encryption(evidence: Evidence) -> Verdict:
    """TLS or plaintext, and whether the setting allows it."""
    way, mode = evidence.way, evidence.settings.tls
    if way.found.speaks not in HTTP2:
        return skipped(NOT_ASKED)
    if isinstance(way.refusal, WrongProtocolError):
        verdict = blame(way.refusal)
        return problem(verdict.detail, f"{verdict.remedy} {_TLS_SWITCH}")
    if isinstance(way.refusal, InvalidInputError) and mode == "off":
        return blame(way.refusal, "Unset DRAWTHINGS_CA_FILE (--ca-file), or set DRAWTHINGS_TLS=on.")
    if way.found.speaks is Speaks.TLS:
        return ok(f"TLS, as the setting tls={mode} allows")
    if is_loopback(way.found.ip):
        return ok("plaintext, and nothing leaves this machine")
    return warning(
        f"plaintext, as the setting tls={mode} allows: everybody on the network can read prompts and pictures",
        f"Switch TLS on in the server, then set DRAWTHINGS_TLS=auto. {_TLS_SWITCH}",
    )


def check_certificate(evidence: Evidence) -> Verdict:
    """Which certificate is shown and what it proves."""
    way = evidence.way
    if way.found.speaks is not Speaks.TLS:
        return skipped("there is none without TLS" if way.found.speaks is Speaks.PLAINTEXT else NOT_ASKED)
    try:
        certificate = parse_certificate(way.found.certificate)
    except DrawThingsError as error:
        return blame(error)
    if way.security is None:
        return _judge_refused(evidence, certificate)
    detail = f"{_describe_trust(evidence, certificate)}; {_describe(certificate)}"
    if certificate.not_after - datetime.now(UTC) < _EXPIRES_SOON:
        return warning(f"expires soon: {detail}", "Renew it on the server before that day.")
    return ok(detail)


def _judge_refused(evidence: Evidence, certificate: Certificate) -> Verdict:
    refusal = evidence.way.refusal
    if refusal is None or isinstance(refusal, WrongProtocolError) or evidence.settings.tls == "off":
        return skipped(f"not judged, since TLS is off here; {_describe(certificate)}")
    verdict = blame(refusal, "Correct DRAWTHINGS_CA_FILE (--ca-file), or leave it out to pin the certificate.")
    return problem(f"{verdict.detail}; {_describe(certificate)}", verdict.remedy)


def _describe_trust(evidence: Evidence, certificate: Certificate) -> str:
    way, ca_file = evidence.way, evidence.settings.ca_file
    if ca_file is not None:
        return f"verified against {ca_file}: the server is the one that it says it is"
    if certificate.is_shared:
        return (
            "Draw Things' shared public certificate: it encrypts, but proves no identity, because its key is public. "
            "Good enough at home"
        )
    if certificate.is_simulators:
        return "the simulator's certificate: it encrypts, but proves no identity, because every simulator makes one"
    if way.met_before:
        return "the server's own certificate, with the same key as at the first meeting (pinned)"
    return "the server's own certificate, met for the first time and pinned now; another key will be refused"


def _describe(certificate: Certificate) -> str:
    names = ", ".join(certificate.names) or "nobody"
    return f"issued for {names}; valid until {certificate.not_after:%Y-%m-%d}; key {certificate.spki_sha256[:16]}…"


def check_secret(evidence: Evidence) -> Verdict:
    """Whether a shared secret is needed, and whether the given one is right."""
    talk, given = evidence.talk, evidence.secret_given
    if isinstance(talk.refusal, SharedSecretError) and (not talk.trial or not given):
        found = blame(talk.refusal)
        return problem(found.detail, f"{found.remedy} It stands {_API_SERVER}.")
    if talk.wants_secret is None:
        return skipped(NOT_ASKED)
    if talk.trial and talk.wants_secret:
        return skipped("needed and set; whether it is right shows once the connection is allowed")
    if not talk.wants_secret:
        return ok("set here, though the server asks for none" if given else "the server asks for none")
    return ok("needed, and the one that is set is right")


def check_browsing(evidence: Evidence) -> Verdict:
    """Whether the server lists its models."""
    info = evidence.talk.info
    if info is None:
        return skipped(NOT_ASKED)
    if info.catalog is None:
        return warning(
            "off: only files of the built-in presets can be looked for, other models have to be named exactly",
            f"Switch Enable Model Browsing on {_API_SERVER}. Stand-alone server: start it with --model-browser.",
        )
    catalog = info.catalog
    counts = {
        "models": catalog.models,
        "LoRAs": catalog.loras,
        "controls": catalog.controls,
        "upscalers": catalog.upscalers,
        "embeddings": catalog.embeddings,
    }
    return ok(f"on: {', '.join(f'{what} {len(entries)}' for what, entries in counts.items())}")


def check_compression(evidence: Evidence) -> Verdict:
    """Whether pictures come compressed, as far as a picture was made."""
    sample = evidence.talk.sample
    if evidence.talk.info is None:
        return skipped(NOT_ASKED)
    if sample is None:
        return _NO_PICTURE
    if isinstance(sample, DrawThingsError):
        return skipped("no picture came that would show it")
    packed = f"{sample.size / 1e3:.0f} kB for 128×128 pixels"
    if sample.codec is Codec.RAW:
        return ok(
            f"off ({packed}): a picture of 1024×1024 takes {_FULL_PICTURE:.1f} MB on the network. To have it "
            f"smaller, switch Response Compression on {_API_SERVER} (stand-alone server: no "
            "--no-response-compression)"
        )
    return ok(f"on ({sample.codec.name.lower()}, {packed})")


def check_picture(evidence: Evidence) -> Verdict:
    """Whether a picture can be made and read, as far as one was asked for."""
    sample = evidence.talk.sample
    if isinstance(sample, Sample):
        return ok(f"128×128 pixels in 2 steps took {sample.seconds:.1f} s with {sample.model}, loading included")
    if isinstance(sample, DrawThingsError):
        return blame(sample, "The server's log says more.")
    return _NO_PICTURE if evidence.talk.info is not None else skipped(NOT_ASKED)


SERVER_CHECKS: Mapping[str, Check] = {
    "address": check_address,
    "protocol": check_protocol,
    "encryption": check_encryption,
    "certificate": check_certificate,
    "shared secret": check_secret,
    "model browsing": check_browsing,
    "compression": check_compression,
    "test picture": check_picture,
}
