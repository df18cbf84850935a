"""The MCP server: tools, content blocks, the two error channels. The only importer of ``mcp``."""
