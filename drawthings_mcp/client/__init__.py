"""The only code that opens a connection to a Draw Things server."""

import drawthings_mcp.client.quiet_grpc  # noqa: F401 - first, before gRPC is loaded
from drawthings_mcp.address import DEFAULT_PORT, Address, parse_address
from drawthings_mcp.client.async_client import AsyncDrawThingsClient
from drawthings_mcp.client.blocking import DrawThingsClient
from drawthings_mcp.client.collect import EventCallback
from drawthings_mcp.client.info import ServerInfo
from drawthings_mcp.client.one_call import generate_image
from drawthings_mcp.client.probe import ProbeResult, Speaks, probe
from drawthings_mcp.client.results import list_result_configurations
from drawthings_mcp.client.trust import Security, TlsMode
from drawthings_mcp.client.video import SavedVideo

__all__ = [
    "DEFAULT_PORT",
    "Address",
    "AsyncDrawThingsClient",
    "DrawThingsClient",
    "EventCallback",
    "ProbeResult",
    "SavedVideo",
    "Security",
    "ServerInfo",
    "Speaks",
    "TlsMode",
    "generate_image",
    "list_result_configurations",
    "parse_address",
    "probe",
]
