"""Everything there is to find out about one server, gathered before anything is judged.

The shared secret is sent only where the settings allow a connection.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from drawthings_mcp.address import parse_address
from drawthings_mcp.catalog import Model, ServerInventory
from drawthings_mcp.client.probe import ProbeResult, Speaks, offers_web_api, probe
from drawthings_mcp.client.server_client import ServerClient, ServerInfo
from drawthings_mcp.client.trust import Security, TrustPolicy, build_policy
from drawthings_mcp.errors import (
    DrawThingsError,
    EmptyResultError,
    InvalidInputError,
    ServerUnreachableError,
    SharedSecretError,
)
from drawthings_mcp.events import ImageReceived
from drawthings_mcp.generation import GenerationRequest, ImageGenerationConfig
from drawthings_mcp.limits import MIN_SIDE
from drawthings_mcp.planning.abilities import list_modes
from drawthings_mcp.planning.lookup import describe_model
from drawthings_mcp.presets.mode_table import list_preferred_models, list_recipes, recommended_configuration
from drawthings_mcp.presets.preset import Preset, find_family
from drawthings_mcp.settings import Settings
from drawthings_mcp.tensors.header import Codec, parse_header
from drawthings_mcp.tensors.image import decode_image

T = TypeVar("T")

HTTP2 = frozenset({Speaks.TLS, Speaks.PLAINTEXT})
"""Answers behind which there may be a gRPC server."""

FAMILIES = ("z-image", "qwen-image", "flux")
"""The families that a caller can ask for by name."""

_FEW_STEPS = 4

_SAMPLE_PROMPT = "a red apple"
_SAMPLE_STEPS = 2

_VERSIONS = (
    *("pixart", "v1", "v2", "ssd_1b", "cosmos2.5_2b", "sd3", "sdxl_base_v0.9", "flux2_4b", "z_image", "auraflow"),
    *("sd3_large", "ernie_image", "flux2_9b", "flux1", "hidream_i1", "qwen_image", "flux2"),
)
"""Versions by the number of their parameters, the smallest first."""

_PRECISIONS = ("_i4x", "_q5p", "_q6p", "_i6x", "_q8p", "_i8x")
"""Parts of a file's name that tell bits per parameter, the fewest first; without one there are sixteen."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One tiny picture: only a real run shows how a server packs its pictures, and that they can be read.

    ``size`` is that of its payload in bytes; the ``seconds`` go from the request to the decoded picture, loading of the
    model included.
    """

    model: str
    codec: Codec
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Replies:
    """What the server replied, or why it did not.

    ``wants_secret`` is None when that is not known. With ``on_trial`` the settings lead to no connection; one was made
    all the same, without the shared secret and without trusting what came back. ``sample`` is the picture that was
    made, or why there is none; None when none was asked for.
    """

    info: ServerInfo | None = None
    refusal: DrawThingsError | None = None
    wants_secret: bool | None = None
    on_trial: bool = False
    inventory: ServerInventory | None = None
    sample: Sample | DrawThingsError | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one server, and the settings that were used.

    ``is_web_api``: it is Draw Things in HTTP mode. ``met_before``: a key was pinned for this address before this look.
    ``security`` says how the connection is protected; it is None, with a ``refusal``, when the settings lead to none.
    """

    settings: Settings
    found: ProbeResult
    is_web_api: bool = False
    met_before: bool = False
    security: Security | None = None
    refusal: DrawThingsError | None = None
    replies: Replies = Replies()

    @property
    def secret(self) -> str:
        """The shared secret that is set; empty when none is."""
        return self.settings.shared_secret.get_secret_value()


async def gather_evidence(address: str, settings: Settings, *, timeout: float, render: bool) -> Evidence:
    """Looks at a server, within ``timeout`` seconds for each question but a picture, which ``render`` asks for.

    Raises ``InvalidInputError`` when the address is none.
    """
    found = await probe(parse_address(address), timeout=timeout)
    evidence = await _find_way(Evidence(settings, found), timeout)
    if evidence.security is not None:
        return replace(evidence, replies=await _ask(evidence, timeout, render=render))
    if found.speaks in HTTP2:
        return replace(evidence, replies=await _ask_without_secret(evidence, timeout))
    return evidence


async def _find_way(evidence: Evidence, timeout: float) -> Evidence:
    found = evidence.found
    if found.speaks is Speaks.HTTP1:
        evidence = replace(evidence, is_web_api=await offers_web_api(found.address, timeout=timeout))
    try:
        policy = _build_policy(evidence.settings, found)
        met_before = await anyio.to_thread.run_sync(_is_pinned, policy, found)
        route = await policy.choose_route(found)
    except DrawThingsError as error:
        return replace(evidence, refusal=error)
    return replace(evidence, met_before=met_before, security=route.security)


def _build_policy(settings: Settings, found: ProbeResult) -> TrustPolicy:
    # What is wrong where no gRPC server can be has nothing to do with settings that contradict each other.
    tls, ca_file = (settings.tls, settings.ca_file) if found.speaks in HTTP2 else ("auto", None)
    return build_policy(insecure=None, verify_ssl=True, tls=tls, ca_file=ca_file, state_dir=settings.state_dir)


def _is_pinned(policy: TrustPolicy, found: ProbeResult) -> bool:
    if found.speaks is not Speaks.TLS or policy.ca_file is not None:
        return False
    return policy.pins.find(str(found.address)) is not None


async def _ask(evidence: Evidence, timeout: float, *, render: bool) -> Replies:
    settings = evidence.settings
    async with ServerClient(
        str(evidence.found.address),
        tls=settings.tls,
        ca_file=settings.ca_file,
        shared_secret=evidence.secret,
        state_dir=settings.state_dir,
        connect_timeout=timeout,
    ) as client:
        replies = await _put_questions(client, timeout)
        if replies.inventory is not None and render:
            replies = replace(replies, sample=await _try_to_render(client, replies.inventory))
    if replies.info is not None and evidence.secret:
        return replace(replies, wants_secret=(await _ask_without_secret(evidence, timeout)).wants_secret)
    return replies


async def _ask_without_secret(evidence: Evidence, timeout: float) -> Replies:
    found = evidence.found
    plaintext = found.speaks is Speaks.PLAINTEXT
    async with ServerClient(
        str(found.address), insecure=plaintext, verify_ssl=False, connect_timeout=timeout
    ) as client:
        return replace(await _put_questions(client, timeout), on_trial=True)


async def _put_questions(client: ServerClient, timeout: float) -> Replies:
    try:
        info = await _in_time(client.echo(), client, timeout)
    except SharedSecretError as error:
        return Replies(refusal=error, wants_secret=True)
    except DrawThingsError as error:
        return Replies(refusal=error)
    try:
        inventory = await _in_time(_take_inventory(client, info), client, timeout)
    except DrawThingsError as error:
        return Replies(info, error, wants_secret=False)
    return Replies(info, wants_secret=False, inventory=inventory)


async def _in_time(answer: Awaitable[T], client: ServerClient, timeout: float) -> T:
    # A server may hold a reply back until its current run is done (protocol §9.2, --echo-on-queue).
    try:
        with anyio.fail_after(timeout):
            return await answer
    except TimeoutError as exc:
        raise ServerUnreachableError(
            f"{client.address} is connected, but did not reply within {timeout:g} s. It may be busy with a picture: "
            "wait until that is done, or give it more time with --timeout 120."
        ) from exc


async def _take_inventory(client: ServerClient, info: ServerInfo) -> ServerInventory:
    """What a server has; without a catalog, it is asked for the files of recipes."""
    inventory = info.take_inventory()
    fast = [file for recipe in list_fast_recipes() for file in (*recipe.checkpoint.files, *recipe.loras)]
    await client.work_out(inventory, partial(inventory.ask, [*list_preferred_models(), *fast]))
    return inventory


def list_usable_models(inventory: ServerInventory) -> list[Model]:
    """Complete models on the server itself that make pictures from text."""
    if inventory.catalog is None:
        return [describe_model(inventory, file) for file in inventory.list_existing(list_preferred_models())]
    return [model for model in inventory.models if not model.remote and "text2image" in list_modes(model)]


@cache
def list_fast_recipes() -> tuple[Preset, ...]:
    """The recipes for pictures that need four steps, thanks to a LoRA."""
    return tuple(
        recipe
        for recipe in list_recipes()
        if recipe.loras
        and recipe.configuration["steps"] <= _FEW_STEPS
        and find_family(recipe.checkpoint.version) in FAMILIES
    )


async def _try_to_render(client: ServerClient, inventory: ServerInventory) -> Sample | DrawThingsError:
    try:
        return await _render_sample(client, list_usable_models(inventory))
    except DrawThingsError as error:
        return error


async def _render_sample(client: ServerClient, models: Sequence[Model]) -> Sample:
    """Makes and decodes the smallest picture with the smallest of the models."""
    model = _choose_smallest(models)
    started = time.monotonic()
    async with client.stream(GenerationRequest(_SAMPLE_PROMPT, _build_configuration(model))) as events:
        payloads = [event.payload async for event in events if isinstance(event, ImageReceived)]
    if not payloads:
        raise EmptyResultError("The server finished without a picture. Its log says why.")
    await anyio.to_thread.run_sync(decode_image, payloads[0])
    return Sample(model.file, parse_header(payloads[0]).codec, len(payloads[0]), time.monotonic() - started)


def _choose_smallest(models: Iterable[Model]) -> Model:
    """The model that is likely to be loaded first: fewest parameters, then fewest bits."""
    smallest = min(models, key=_rank, default=None)
    if smallest is None:
        raise InvalidInputError("There is no model that makes pictures from text. Download one first.")
    return smallest


def _rank(model: Model) -> tuple[int, int, str]:
    version = _VERSIONS.index(model.version) if model.version in _VERSIONS else len(_VERSIONS)
    bits = next((place for place, part in enumerate(_PRECISIONS) if part in model.file), len(_PRECISIONS))
    return version, bits, model.file


def _build_configuration(model: Model) -> ImageGenerationConfig:
    recommended = ImageGenerationConfig(**recommended_configuration(model.file, model.version))
    # Only the model is tried: whatever a recipe adds might be missing, and would take its time.
    return ImageGenerationConfig(
        model=model.file,
        width=MIN_SIDE,
        height=MIN_SIDE,
        steps=_SAMPLE_STEPS,
        seed=1,
        sampler=recommended.sampler,
        guidance_scale=recommended.guidance_scale,
        shift=recommended.shift,
    )
