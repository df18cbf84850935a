"""The clients of the laboratory, as data: what is installed, with which files it is set up, how it is asked.

In commands, environments and files ``$url`` is the scripted model, ``$server`` the command that starts our server,
``$home`` the program's own home folder, ``$question`` what it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Program:
    """One client.

    Attributes
    ----------
    package
        Of npm (in ``package.json``), or what pip installs, versions included.
    command
        The first word is a program of its package.
    prefix
        What it puts before the names of tools.
    files
        By their paths in the home folder.
    note
        What its settings here say that others may not.
    """

    name: str
    package: str
    command: tuple[str, ...]
    prefix: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def is_python(self) -> bool:
        """Whether it is a framework, run by a script of ours."""
        return "==" in self.package


_SERVERS = '{"mcpServers": {"drawthings": {"command": "$server", "args": []%s}}%s}'
_OPENAI = {"OPENAI_BASE_URL": "$url/v1", "OPENAI_API_KEY": "x", "OPENAI_MODEL": "scripted"}

CODEX = """
model = "gpt-5.1"
model_provider = "lab"
[model_providers.lab]
name = "lab"
base_url = "$url/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
[mcp_servers.drawthings]
command = "$server"
"""

OPENCODE = """{
  "model": "lab/scripted",
  "autoupdate": false,
  "share": "disabled",
  "provider": {"lab": {
    "npm": "@ai-sdk/openai-compatible",
    "options": {"baseURL": "$url/v1", "apiKey": "x"},
    "models": {"scripted": {
      "tool_call": true, "attachment": true, "limit": {"context": 200000, "output": 8000},
      "modalities": {"input": ["text", "image"], "output": ["text"]}
    }}
  }},
  "mcp": {"drawthings": {"type": "local", "command": ["$server"], "enabled": true}}
}"""

CONTINUE = """
name: lab
version: 0.0.1
schema: v1
models:
  - name: scripted
    provider: anthropic
    model: claude-sonnet-4-5
    apiKey: x
    apiBase: $url/v1/
    roles: [chat]
    capabilities: [tool_use, image_input]
mcpServers:
  - name: drawthings
    command: $server
    args: []
"""

CLINE = """{"version": 1, "lastUsedProvider": "openai-compatible", "modes": {}, "providers": {"openai-compatible": {
  "settings": {"provider": "openai-compatible", "apiKey": "x", "model": "scripted", "baseUrl": "$url/v1"},
  "updatedAt": "2026-11-21T00:00:00.000Z", "tokenSource": "manual"
}}}"""


def _framework(name: str, package: str, function: str, **environment: str) -> Program:
    return Program(
        name,
        package,
        ("python", "$frameworks", function, "$server", "$question"),
        environment={**_OPENAI, **environment},
    )


PROGRAMS = (
    Program(
        "Claude Code",
        "@anthropic-ai/claude-code",
        ("claude", "-p", "$question", "--mcp-config", "$home/mcp.json", "--allowedTools", "mcp__drawthings"),
        "mcp__drawthings__",
        {
            "ANTHROPIC_BASE_URL": "$url",
            "ANTHROPIC_API_KEY": "x",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        {"mcp.json": _SERVERS % (', "type": "stdio"', "")},
    ),
    Program(
        "Codex CLI",
        "@openai/codex",
        ("codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "$question"),
        "mcp__drawthings__",
        {"OPENAI_API_KEY": "x"},
        {".codex/config.toml": CODEX},
    ),
    Program(
        "Gemini CLI",
        "@google/gemini-cli",
        ("gemini", "--skip-trust", "-y", "-m", "gemini-2.5-pro", "-p", "$question"),
        "mcp_drawthings_",
        {"GEMINI_API_KEY": "x", "GOOGLE_GEMINI_BASE_URL": "$url"},
        {".gemini/settings.json": _SERVERS % ("", ', "security": {"auth": {"selectedType": "gemini-api-key"}}')},
    ),
    Program(
        "Qwen Code",
        "@qwen-code/qwen-code",
        ("qwen", "-y", "--auth-type", "openai", "-p", "$question"),
        "mcp__drawthings__",
        _OPENAI,
        {".qwen/settings.json": _SERVERS % ("", ', "model": {"generationConfig": {"modalities": {"image": true}}}')},
        "its settings say that the model takes images",
    ),
    Program(
        "opencode",
        "opencode-ai",
        ("opencode", "run", "--auto", "-m", "lab/scripted", "$question"),
        "drawthings_",
        {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
        {".config/opencode/opencode.json": OPENCODE},
        "its settings say that the model takes images",
    ),
    Program(
        "Copilot CLI",
        "@github/copilot",
        ("copilot", "-p", "$question", "--allow-all-tools"),
        "drawthings-",
        {
            "COPILOT_PROVIDER_BASE_URL": "$url/v1",
            "COPILOT_PROVIDER_API_KEY": "x",
            "COPILOT_MODEL": "gpt-4.1",
            "COPILOT_OFFLINE": "true",
        },
        {".copilot/mcp-config.json": _SERVERS % (', "type": "local", "tools": ["*"]', "")},
        "with a key of one's own",
    ),
    Program(
        "Continue CLI",
        "@continuedev/cli",
        ("cn", "-p", "$question", "--auto", "--config", "$home/config.yaml"),
        "",
        {"CONTINUE_TELEMETRY_ENABLED": "0"},
        {"config.yaml": CONTINUE},
    ),
    Program(
        "Cline CLI",
        "cline",
        ("cline", "-P", "openai-compatible", "$question"),
        "drawthings__",
        {**_OPENAI, "CLINE_TELEMETRY_DISABLED": "1"},
        {
            ".cline/data/settings/cline_mcp_settings.json": _SERVERS % (', "timeout": 60', ""),
            ".cline/data/settings/providers.json": CLINE,
        },
    ),
    _framework("OpenAI Agents SDK, Responses", "openai-agents==0.24.0", "openai_responses"),
    _framework("OpenAI Agents SDK, Chat", "openai-agents==0.24.0", "openai_chat"),
    _framework("Pydantic AI", "pydantic-ai-slim[openai,mcp]==2.68.0", "pydantic"),
    _framework("LangChain adapters", "langchain-mcp-adapters==0.3.2 langchain langchain-openai", "langchain"),
    _framework("Agno", "agno==3.1.10 openai mcp fastmcp", "agno"),
    _framework("Strands", "strands-agents[openai]==1.62.0", "strands"),
    _framework("smolagents", "smolagents[mcp,openai]==1.26.0 mcp<2", "smolagents"),
    _framework("Google ADK", "google-adk==2.13.0 mcp<2", "google", GOOGLE_API_KEY="x", GOOGLE_GEMINI_BASE_URL="$url"),
)
