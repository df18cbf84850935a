"""Pictures on the web, when somebody asks for them: one provider per file, all with the contract of ``provider``."""

from drawthings_mcp.search.providers.provider import Provider, WebImage
from drawthings_mcp.search.providers.search import WebSearch, choose_provider

__all__ = ["Provider", "WebImage", "WebSearch", "choose_provider"]
