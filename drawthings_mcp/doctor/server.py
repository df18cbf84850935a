"""Questions about one server and its models, each answered from the evidence alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from drawthings_mcp.address import is_loopback
from drawthings_mcp.client.certificate import Certificate, parse_certificate
from drawthings_mcp.client.probe import Speaks
from drawthings_mcp.doctor.evidence import FAMILIES, HTTP2, Evidence, Sample, list_fast_recipes, list_usable_models
from drawthings_mcp.doctor.finding import Check, Finding, blame, ok, problem, skipped, warning
from drawthings_mcp.errors import (
    DrawThingsError,
    InvalidInputError,
    RequestRefusedError,
    ServerUnreachableError,
    SharedSecretError,
    UnsupportedRequestError,
    WrongProtocolError,
)
from drawthings_mcp.faces import Step, Text, say
from drawthings_mcp.presets.mode_table import choose_model, find_recipe, list_preferred_models
from drawthings_mcp.presets.preset import Preset, strip_variant
from drawthings_mcp.tensors.header import Codec

_NOT_ASKED = "not known while the server cannot be asked"

_API_SERVER = "in Draw Things under Advanced settings → API Server"

_TLS_SWITCH = (
    f"The server's switch is Transport Layer Security {_API_SERVER}; a stand-alone server speaks TLS unless it was "
    "started with --no-tls."
)

_UNREACHABLE_ON_A_MAC = (
    "On a Mac also see System Settings → Privacy & Security → Local Network: the program that starts this one "
    "(Terminal, LM Studio, Claude, …) has to be switched on there."
)

_NO_PICTURE = skipped("shows only when a picture is made", "To make a tiny one: drawthings-mcp doctor --render")

_EXPIRES_SOON = timedelta(days=30)

_FULL_PICTURE = 1024 * 1024 * 3 * 2 / 1e6
"""Megabytes of a raw payload of 1024×1024 pixels: three float16 each (protocol §3.1)."""

_DOWNLOAD = "Download it in Draw Things (Settings → Model → Manage)"


def check_address(evidence: Evidence) -> Finding:
    """Whether anything answers."""
    if isinstance(evidence.refusal, ServerUnreachableError):
        found = blame(evidence.refusal)
        on_a_mac = evidence.found.speaks is Speaks.UNREACHABLE
        return replace(found, remedy=_join(found.remedy, _UNREACHABLE_ON_A_MAC)) if on_a_mac else found
    where = f"{evidence.found.ip} port {evidence.found.address.port}" if evidence.found.ip else "the address"
    return ok(f"something answers at {where}")


def check_protocol(evidence: Evidence) -> Finding:
    """Whether what answers is Draw Things, in gRPC mode."""
    replies = evidence.replies
    if evidence.is_web_api:
        return problem(
            f"{evidence.found.address} is Draw Things, but its API server is in HTTP mode; gRPC is needed",
            f"Set Protocol to gRPC {_API_SERVER}, then use the port that is shown there.",
        )
    if evidence.found.speaks not in HTTP2:
        return blame(evidence.refusal) if isinstance(evidence.refusal, WrongProtocolError) else skipped(_NOT_ASKED)
    if replies.info is not None or isinstance(replies.refusal, SharedSecretError):
        return ok(_describe_answer(evidence))
    if isinstance(replies.refusal, UnsupportedRequestError | RequestRefusedError):
        return problem(
            Text("something else than Draw Things seems to answer: {what}", what=say(blame(replies.refusal).detail)),
            f"Use the port that is shown {_API_SERVER} (7859 by default), and the server's own address rather than "
            "that of a proxy.",
        )
    return skipped(_NOT_ASKED) if replies.on_trial or replies.refusal is None else blame(replies.refusal)


def _describe_answer(evidence: Evidence) -> str:
    replies = evidence.replies
    simulated = replies.info is not None and replies.info.simulated
    return (
        "gRPC"
        + ("; this is the simulator, which draws without a model" if simulated else "")
        + ("; asked without trust, so what follows is only what it claims" if replies.on_trial else "")
    )


def check_encryption(evidence: Evidence) -> Finding:
    """TLS or plaintext, and whether the setting allows it."""
    mode = evidence.settings.tls
    if evidence.found.speaks not in HTTP2:
        return skipped(_NOT_ASKED)
    if isinstance(evidence.refusal, WrongProtocolError):
        found = blame(evidence.refusal)
        return replace(found, remedy=_join(found.remedy, _TLS_SWITCH))
    if isinstance(evidence.refusal, InvalidInputError) and mode == "off":
        tls_on = Step("set", setting="tls", value="on")
        return blame(evidence.refusal, Text("Leave {ca_file} (DRAWTHINGS_CA_FILE) out, or {step}.", step=tls_on))
    if evidence.found.speaks is Speaks.TLS:
        return ok(f"TLS, as the setting tls={mode} allows")
    if is_loopback(evidence.found.ip):
        return ok("plaintext, and nothing leaves this machine")
    return warning(
        f"plaintext, as the setting tls={mode} allows: everybody on the network can read prompts and pictures",
        _join(
            Text("Switch TLS on in the server, then {step}.", step=Step("set", setting="tls", value="auto")),
            _TLS_SWITCH,
        ),
    )


def check_certificate(evidence: Evidence) -> Finding:
    """Which certificate is shown and what it proves."""
    if evidence.found.speaks is not Speaks.TLS:
        return skipped("there is none without TLS" if evidence.found.speaks is Speaks.PLAINTEXT else _NOT_ASKED)
    try:
        certificate = parse_certificate(evidence.found.certificate)
    except DrawThingsError as error:
        return blame(error)
    if evidence.security is None:
        return _judge_refused(evidence, certificate)
    detail = f"{_describe_trust(evidence, certificate)}; {_describe(certificate)}"
    if certificate.not_after - datetime.now(UTC) < _EXPIRES_SOON:
        return warning(f"expires soon: {detail}", "Renew it on the server before that day.")
    return ok(detail)


def _judge_refused(evidence: Evidence, certificate: Certificate) -> Finding:
    refusal = evidence.refusal
    if refusal is None or isinstance(refusal, WrongProtocolError) or evidence.settings.tls == "off":
        return skipped(f"not judged, since TLS is off here; {_describe(certificate)}")
    remedy = "Correct {ca_file} (DRAWTHINGS_CA_FILE), or leave it out to pin the certificate."
    found = blame(refusal, Text(remedy))
    return replace(found, detail=Text("{what}; {shown}", what=say(found.detail), shown=say(_describe(certificate))))


def _describe_trust(evidence: Evidence, certificate: Certificate) -> str:
    ca_file = evidence.settings.ca_file
    if ca_file is not None:
        return f"verified against {ca_file}: the server is the one that it says it is"
    if certificate.is_shared:
        return (
            "Draw Things' shared public certificate: it encrypts, but proves no identity, because its key is public. "
            "Good enough at home"
        )
    if certificate.is_simulators:
        return "the simulator's certificate: it encrypts, but proves no identity, because every simulator makes one"
    if evidence.met_before:
        return "the server's own certificate, with the same key as at the first meeting (pinned)"
    return "the server's own certificate, met for the first time and pinned now; another key will be refused"


def _describe(certificate: Certificate) -> str:
    names = ", ".join(certificate.names) or "nobody"
    return f"issued for {names}; valid until {certificate.not_after:%Y-%m-%d}; key {certificate.spki_sha256[:16]}…"


def check_secret(evidence: Evidence) -> Finding:
    """Whether a shared secret is needed, and whether the given one is right."""
    replies, given = evidence.replies, bool(evidence.secret)
    if isinstance(replies.refusal, SharedSecretError) and (not replies.on_trial or not given):
        found = blame(replies.refusal)
        return replace(found, remedy=_join(found.remedy, f"It stands {_API_SERVER}."))
    if replies.wants_secret is None:
        return skipped(_NOT_ASKED)
    if replies.on_trial and replies.wants_secret:
        return skipped("needed and set; whether it is right shows once the connection is allowed")
    if not replies.wants_secret:
        return ok("set here, though the server asks for none" if given else "the server asks for none")
    return ok("needed, and the one that is set is right")


def check_browsing(evidence: Evidence) -> Finding:
    """Whether the server lists its models."""
    info = evidence.replies.info
    if info is None:
        return skipped(_NOT_ASKED)
    if info.catalog is None:
        return warning(
            "off: only files of the built-in presets can be looked for, other models have to be named exactly",
            Text("{step:C}.", step=Step("switch_on_browsing")),
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


def check_compression(evidence: Evidence) -> Finding:
    """Whether pictures come compressed, as far as a picture was made."""
    sample = evidence.replies.sample
    if evidence.replies.info is None:
        return skipped(_NOT_ASKED)
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


def check_picture(evidence: Evidence) -> Finding:
    """Whether a picture can be made and read, as far as one was asked for."""
    sample = evidence.replies.sample
    if isinstance(sample, Sample):
        return ok(f"128×128 pixels in 2 steps took {sample.seconds:.1f} s with {sample.model}, loading included")
    if isinstance(sample, DrawThingsError):
        return blame(sample, "The server's log says more.")
    return _NO_PICTURE if evidence.replies.info is not None else skipped(_NOT_ASKED)


def check_model(evidence: Evidence) -> Finding:
    """Whether there is a model that ``generate_image`` can choose by itself."""
    inventory, refusal = evidence.replies.inventory, evidence.replies.refusal
    if inventory is None:
        unanswered = evidence.replies.info is not None and refusal is not None
        return blame(refusal) if unanswered and refusal else skipped(_NOT_ASKED)
    chosen = choose_model([model.file for model in list_usable_models(inventory)])
    if chosen is None:
        return problem(
            "none that generate_image could choose by itself",
            f"{_DOWNLOAD}: {_label(list_preferred_models()[0])}.",
        )
    return ok(f"generate_image chooses {_label(chosen)} when none is named")


def check_family(family: str, evidence: Evidence) -> Finding:
    """Whether there is a model of a family, and which is the preferred one."""
    inventory = evidence.replies.inventory
    if inventory is None:
        return skipped(_NOT_ASKED)
    preferred = list_preferred_models(family)
    best, chosen = preferred[0], choose_model([model.file for model in list_usable_models(inventory)], family)
    if chosen is not None:
        same = strip_variant(chosen) == strip_variant(best)
        return ok(f"installed: {_label(chosen)}" + ("" if same else f"; preferred would be {_label(best)}"))
    if broken := [file for file in preferred if inventory.has(file)]:
        return warning(
            f"{_label(broken[0])} is there, but a file that it needs is missing",
            f"{_DOWNLOAD} again: that fetches what is missing.",
        )
    return warning("not installed (needed only if you want this family)", f"{_DOWNLOAD}: {_label(best)}.")


def check_fast_loras(evidence: Evidence) -> Finding:
    """Whether installed models have the LoRAs with which four steps are enough."""
    inventory = evidence.replies.inventory
    if inventory is None:
        return skipped(_NOT_ASKED)
    usable = [recipe for recipe in list_fast_recipes() if inventory.list_existing(recipe.checkpoint.files)]
    if not usable:
        return skipped("none is needed: no installed model has one")
    missing = [recipe for recipe in usable if not all(map(inventory.has, recipe.loras))]
    present = [recipe for recipe in usable if recipe not in missing]
    if missing:
        return warning(
            f"missing: {_list_loras(missing)}{f'; installed: {_list_loras(present)}' if present else ''}",
            "Download them in Draw Things (Settings → LoRA → Manage): pictures then take 4 steps instead of 30 or so.",
        )
    return ok(f"installed: {_list_loras(present)}")


def _label(file: str) -> str:
    """Display name and file of a model: ``Qwen Image 2512 (qwen_image_2512_q6p.ckpt)``."""
    recipe = find_recipe(file)
    return f"{recipe.name} ({file})" if recipe else file


def _list_loras(recipes: list[Preset]) -> str:
    # The app calls a LoRA "Qwen Image 2512 Lightning 4-Step v1.0" and its recipe "Qwen Image 2512 with Lightning …".
    return ", ".join(f"{recipe.name.replace(' with ', ' ')} ({', '.join(sorted(recipe.loras))})" for recipe in recipes)


def _join(first: str, second: str) -> Text:
    return Text("{first} {second}", first=say(first), second=say(second))


SERVER_CHECKS: Mapping[str, Check[Evidence]] = {
    "address": check_address,
    "protocol": check_protocol,
    "encryption": check_encryption,
    "certificate": check_certificate,
    "shared secret": check_secret,
    "model browsing": check_browsing,
    "compression": check_compression,
    "test picture": check_picture,
    "model": check_model,
    **{f"{family} model": partial(check_family, family) for family in FAMILIES},
    "4-step LoRAs": check_fast_loras,
}
