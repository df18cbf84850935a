"""What a first generation imports and reads, in steps, so that it can be done while nobody waits."""

from __future__ import annotations

from collections.abc import Callable

from drawthings_mcp.settings import DEMO_SERVER, Settings


def list_loads(settings: Settings) -> tuple[Callable[[], object], ...]:
    """Functions to be called in this order, each for at most a fifth of a second; they connect to and write nothing."""
    loads = (_load_tensors, _load_client, _load_library, _load_planning, _load_saving, _load_recipes)
    return (
        (*loads, _load_simulator) if any(server.address == DEMO_SERVER for server in settings.list_servers()) else loads
    )


def _load_tensors() -> object:
    from drawthings_mcp.tensors.picture_files import list_formats

    return list_formats()


def _load_client() -> object:
    from drawthings_mcp.client.server_client import ServerClient

    return ServerClient


def _load_library() -> object:
    from drawthings_mcp.library.recovery import open_catalog
    from drawthings_mcp.references.resolve import resolve_reference

    return open_catalog, resolve_reference


def _load_planning() -> object:
    from drawthings_mcp.planning.plan import plan

    return plan


def _load_saving() -> object:
    from drawthings_mcp.studio.inputs import resolve_inputs
    from drawthings_mcp.studio.render import run_calls

    return resolve_inputs, run_calls


def _load_recipes() -> object:
    from drawthings_mcp.planning.known import load_known
    from drawthings_mcp.presets.mode_table import list_families
    from drawthings_mcp.presets.preset import list_checkpoints

    return load_known(), list_families(), list_checkpoints()


def _load_simulator() -> object:
    from drawthings_mcp.simulator import Simulator

    return Simulator
