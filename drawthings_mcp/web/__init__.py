"""The only room that speaks HTTP: to public addresses for what the user asked for, to endpoints that the user named."""

from drawthings_mcp.web.addresses import is_public, resolve_host
from drawthings_mcp.web.fetch import Fetched, fetch_public

__all__ = ["Fetched", "fetch_public", "is_public", "resolve_host"]
