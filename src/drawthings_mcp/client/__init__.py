"""The only code that opens a connection to a Draw Things server."""

from drawthings_mcp.client.address import DEFAULT_PORT, Address, parse_address
from drawthings_mcp.client.async_client import AsyncDrawThingsClient
from drawthings_mcp.client.blocking import DrawThingsClient
from drawthings_mcp.client.collect import EventCallback
from drawthings_mcp.client.info import ServerInfo
from drawthings_mcp.client.one_call import generate_image
from drawthings_mcp.client.probe import ProbeResult, Speaks, probe
from drawthings_mcp.client.results import list_result_configurations
from drawthings_mcp.client.trust import Security, TlsMode

__all__ = [
    "DEFAULT_PORT",
    "Address",
    "AsyncDrawThingsClient",
    "DrawThingsClient",
    "EventCallback",
    "ProbeResult",
    "Security",
    "ServerInfo",
    "Speaks",
    "TlsMode",
    "generate_image",
    "list_result_configurations",
    "parse_address",
    "probe",
]
