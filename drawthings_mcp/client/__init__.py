"""The only code that opens a connection to a Draw Things server."""

import drawthings_mcp.client.quiet_grpc  # noqa: F401 - first, before gRPC is loaded
from drawthings_mcp.client.info import ServerInfo
from drawthings_mcp.client.probe import ProbeResult, Speaks, probe
from drawthings_mcp.client.server_client import ServerClient
from drawthings_mcp.client.trust import Security, TlsMode

__all__ = ["ProbeResult", "Security", "ServerClient", "ServerInfo", "Speaks", "TlsMode", "probe"]
