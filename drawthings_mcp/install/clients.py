"""The chat clients: where each keeps its configuration, and what the entry in it looks like.

Facts are in docs/clients.md. A place is a path in which a name in braces stands for one of ``Machine.folders``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from drawthings_mcp.faces import variable
from drawthings_mcp.install.formats import FormatName
from drawthings_mcp.install.launch import Launch, find_options
from drawthings_mcp.install.lm_studio import find_home

ENTRY = "drawthings"
"""What our entry is called in every client."""

System = Literal["darwin", "linux", "win32"]

_PATIENCE = 300
"""Seconds after which a call may end where a client asks for a number; renders are handed back before."""

_ENV, _NAME, _COMMAND, _ARGS = "ENV", "NAME", "COMMAND", "ARGS"
"""What stands in a client's own command for what we fill in."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Whose configuration is looked for, and on which kind of system."""

    system: System
    home: Path
    environment: Mapping[str, str]

    @property
    def folders(self) -> Mapping[str, Path]:
        """Folders that stand at the beginning of places, by name."""
        roaming = self._follow("APPDATA", self.home / "AppData" / "Roaming")
        dotted = self._follow("XDG_CONFIG_HOME", self.home / ".config")
        applications = {
            "darwin": self.home / "Library" / "Application Support",
            "linux": dotted,
            "win32": roaming,
        }[self.system]
        on_windows = self.system == "win32"
        zed = roaming / "Zed" if on_windows else dotted / "zed"
        return {
            "home": self.home,
            "applications": applications,
            "dotted": dotted,
            "claude": self._follow("CLAUDE_CONFIG_DIR", self.home),
            "claude_desktop": self._find_packaged("Claude") or applications / "Claude",
            "cline": self._follow("CLINE_DATA_DIR", self._follow("CLINE_DIR", self.home / ".cline") / "data"),
            "codex": self._follow("CODEX_HOME", self.home / ".codex"),
            "copilot": self._follow("COPILOT_HOME", self.home / ".copilot"),
            "devin": (roaming if on_windows else dotted) / "devin",
            "gemini": self._follow("GEMINI_CLI_HOME", self.home) / ".gemini",
            "qwen": self._follow("QWEN_HOME", self.home / ".qwen"),
            "goose": roaming / "Block" / "goose" / "config" if on_windows else dotted / "goose",
            "lm_studio": find_home(self.home),
            # On a Mac some write to the folder of applications.
            "zed": applications / "Zed" if not zed.exists() and (applications / "Zed").exists() else zed,
        }

    def _follow(self, name: str, usual: Path) -> Path:
        """The folder that a variable names, or else the usual one."""
        return Path(self.environment.get(name) or usual)

    def _find_packaged(self, name: str) -> Path | None:
        """Where a program of Windows' store, which sees no other, has its folder of applications; None without one."""
        packages = self._follow("LOCALAPPDATA", self.home / "AppData" / "Local") / "Packages"
        found = packages.glob(f"{name}_*/LocalCache/Roaming/{name}") if self.system == "win32" else ()
        return min(found, default=None)

    def find_program(self, name: str) -> str | None:
        """The path of a program, as the shell would find it."""
        return shutil.which(name, path=self.environment.get("PATH"))

    def resolve(self, place: str) -> Path:
        """The path that a place means here."""
        return Path(place.format_map(self.folders))


def this_machine() -> Machine:
    """The user's own."""
    systems: Mapping[str, System] = {"darwin": "darwin", "win32": "win32"}
    return Machine(systems.get(sys.platform, "linux"), Path.home(), os.environ)


@dataclass(frozen=True, slots=True)
class ChatProgram:
    """One client.

    Attributes
    ----------
    name
        What it is called on the command line.
    files
        Places of its configuration; the first that exists is used, or else the first.
    keys
        Names that lead to its servers.
    marks
        Places of which one exists when the client is there.
    programs
        Names of its programs, of which one is found when the client is there.
    command_key, args_key, env_key
        Members of an entry. Without an ``args_key``, ``command_key`` has the arguments, too.
    extra
        Members besides.
    environment
        Variables that our server needs there.
    add
        Its own command to add an entry: ``NAME``, ``COMMAND``, ``ARGS`` and ``ENV`` stand for what is filled in.
    env_option
        What stands before each variable in that command.
    """

    name: str
    title: str
    files: tuple[str, ...]
    marks: tuple[str, ...]
    programs: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("mcpServers",)
    format: FormatName = "json"
    command_key: str = "command"
    args_key: str = "args"
    env_key: str = "env"
    extra: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    add: tuple[str, ...] = ()
    env_option: str = "--env"

    @property
    def path_to_entry(self) -> tuple[str, ...]:
        """The names that lead to our entry."""
        return (*self.keys, ENTRY)

    def find_file(self, machine: Machine) -> Path:
        """Its configuration, which need not exist."""
        paths = [machine.resolve(place) for place in self.files]
        return next((path for path in paths if path.exists()), paths[0])

    def is_there(self, machine: Machine) -> bool:
        """Whether it seems to be on this machine."""
        return any(machine.resolve(mark).exists() for mark in self.marks) or any(
            map(machine.find_program, self.programs)
        )

    def find_servers(self, configuration: Any) -> Mapping[str, Any]:
        """Its servers by name."""
        for name in self.keys:
            configuration = configuration.get(name) if isinstance(configuration, Mapping) else None
        return configuration if isinstance(configuration, Mapping) else {}

    def read_command(self, entry: Any) -> list[str]:
        """The program that an entry starts, and its arguments; empty when it starts none."""
        if not isinstance(entry, Mapping):
            return []
        command, args = entry.get(self.command_key), entry.get(self.args_key, [])
        parts = command if isinstance(command, list) else [command]
        parts = [*parts, *args] if isinstance(args, list) else parts
        return [*map(str, parts)] if parts[:1] != [None] else []

    def read_environment(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """The variables that an entry sets."""
        variables = entry.get(self.env_key)
        return {name: str(value) for name, value in variables.items()} if isinstance(variables, Mapping) else {}

    def build_entry(self, launch: Launch, environment: Mapping[str, str], existing: Any = None) -> dict[str, Any]:
        """The entry that starts a command; what the user added to the one that is there stays."""
        old = existing if isinstance(existing, Mapping) else {}
        options = launch.options or find_options(self.read_command(old)) or ()
        args = [*launch.args, *options]
        command: dict[str, Any] = {self.command_key: launch.command, self.args_key: args}
        if not self.args_key:
            command = {self.command_key: [launch.command, *args]}
        variables = {**self.environment, **environment, **self.read_environment(old)}
        fixed = {name: old.get(name, value) for name, value in self.extra.items()}
        placed = {self.env_key: variables} if variables or self.env_key in self.extra else {}
        return {**fixed, **command, **placed}

    def build_own_command(self, program: str, entry: Mapping[str, Any]) -> list[str]:
        """Its own command to add an entry."""
        command, *args = self.read_command(entry)
        pairs = [f"{name}={value}" for name, value in self.read_environment(entry).items()]
        fill: Mapping[str, Sequence[str]] = {
            _NAME: [ENTRY],
            _COMMAND: [command],
            _ARGS: args,
            _ENV: [word for pair in pairs for word in (self.env_option, pair)],
        }
        return [program, *(word for part in self.add[1:] for word in fill.get(part, [part]))]


_STDIO = {"type": "stdio"}

CLIENTS: Sequence[ChatProgram] = (
    ChatProgram(
        "lm-studio",
        "LM Studio",
        files=("{lm_studio}/mcp.json",),
        marks=("{lm_studio}",),
        programs=("lms",),
        extra={"timeout": _PATIENCE * 1000},
    ),
    ChatProgram(
        "claude-desktop",
        "Claude Desktop",
        files=("{claude_desktop}/claude_desktop_config.json",),
        marks=("{claude_desktop}",),
    ),
    ChatProgram(
        "claude-code",
        "Claude Code",
        files=("{claude}/.claude.json",),
        marks=("{claude}/.claude.json", "{home}/.claude"),
        programs=("claude",),
        extra=_STDIO,
        # It takes what follows its option for variables up to the strokes.
        add=("claude", "mcp", "add", "-s", "user", _NAME, _ENV, "--", _COMMAND, _ARGS),
    ),
    ChatProgram(
        "cursor",
        "Cursor",
        files=("{home}/.cursor/mcp.json",),
        marks=("{home}/.cursor",),
        programs=("cursor",),
    ),
    ChatProgram(
        "vscode",
        "VS Code",
        files=("{applications}/Code/User/mcp.json",),
        marks=("{applications}/Code/User",),
        programs=("code",),
        keys=("servers",),
        extra=_STDIO,
    ),
    ChatProgram(
        "vscode-insiders",
        "VS Code Insiders",
        files=("{applications}/Code - Insiders/User/mcp.json",),
        marks=("{applications}/Code - Insiders/User",),
        programs=("code-insiders",),
        keys=("servers",),
        extra=_STDIO,
    ),
    ChatProgram(
        "codex",
        "Codex",
        files=("{codex}/config.toml",),
        marks=("{codex}",),
        programs=("codex",),
        keys=("mcp_servers",),
        format="toml",
        extra={"tool_timeout_sec": _PATIENCE},
        add=("codex", "mcp", "add", _NAME, _ENV, "--", _COMMAND, _ARGS),
    ),
    ChatProgram(
        "gemini",
        "Gemini CLI",
        files=("{gemini}/settings.json",),
        marks=("{gemini}/settings.json",),
        programs=("gemini",),
        add=("gemini", "mcp", "add", "-s", "user", _ENV, _NAME, _COMMAND, "--", _ARGS),
        env_option="-e",
    ),
    ChatProgram(
        "qwen",
        "Qwen Code",
        files=("{qwen}/settings.json",),
        marks=("{qwen}",),
        programs=("qwen",),
        add=("qwen", "mcp", "add", "-s", "user", _ENV, _NAME, _COMMAND, "--", _ARGS),
        env_option="-e",
    ),
    ChatProgram(
        "goose",
        "Goose",
        files=("{goose}/config.yaml",),
        marks=("{goose}",),
        keys=("extensions",),
        format="yaml",
        command_key="cmd",
        env_key="envs",
        extra={"name": "Draw Things", "type": "stdio", "enabled": True, "timeout": _PATIENCE, "envs": {}},
    ),
    ChatProgram(
        "zed",
        "Zed",
        files=("{zed}/settings.json",),
        marks=("{zed}",),
        programs=("zed", "zeditor"),
        keys=("context_servers",),
        extra={"source": "custom"},
    ),
    ChatProgram(
        "opencode",
        "opencode",
        files=(
            "{dotted}/opencode/opencode.jsonc",
            "{dotted}/opencode/opencode.json",
            "{dotted}/opencode/config.json",
        ),
        marks=("{dotted}/opencode",),
        programs=("opencode",),
        keys=("mcp",),
        args_key="",
        env_key="environment",
        extra={"type": "local", "enabled": True},
        add=("opencode", "mcp", "add", _NAME, _ENV, "--", _COMMAND, _ARGS),
    ),
    ChatProgram(
        "windsurf",
        "Windsurf",
        files=("{home}/.codeium/windsurf/mcp_config.json",),
        marks=("{home}/.codeium/windsurf",),
        programs=("windsurf",),
    ),
    ChatProgram(
        "devin",
        "Devin Desktop",
        files=("{devin}/mcp_config.json",),
        marks=("{devin}",),
        programs=("devin",),
    ),
    ChatProgram(
        "antigravity",
        "Antigravity",
        files=("{home}/.gemini/config/mcp_config.json",),
        marks=("{home}/.gemini/config",),
    ),
    ChatProgram(
        "cline",
        "Cline",
        files=("{applications}/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",),
        marks=("{applications}/Code/User/globalStorage/saoudrizwan.claude-dev",),
        extra={"disabled": False, "timeout": _PATIENCE},
    ),
    ChatProgram(
        "cline-cli",
        "Cline CLI",
        files=("{cline}/settings/cline_mcp_settings.json",),
        marks=("{cline}", "{home}/.cline"),
        programs=("cline",),
        extra={"disabled": False, "timeout": _PATIENCE},
    ),
    ChatProgram(
        "copilot",
        "Copilot CLI",
        files=("{copilot}/mcp-config.json",),
        marks=("{copilot}",),
        programs=("copilot",),
        extra={"type": "local", "tools": ["*"]},
        add=("copilot", "mcp", "add", _NAME, _ENV, "--", _COMMAND, _ARGS),
    ),
    ChatProgram(
        "anythingllm",
        "AnythingLLM",
        files=("{applications}/anythingllm-desktop/storage/plugins/anythingllm_mcp_servers.json",),
        marks=("{applications}/anythingllm-desktop",),
        # It gives its user's name for it, so that the server cannot know it, and hands pictures on as text.
        environment={variable("preview"): "never"},
    ),
)


def build_links(launch: Launch) -> Mapping[str, str]:
    """By client: a link that has it ask its user whether to add our entry."""
    entries = {client.name: client.build_entry(launch, {}) for client in CLIENTS}

    def pack(name: str) -> str:
        return quote(base64.b64encode(json.dumps(entries[name]).encode()).decode(), safe="")

    named = quote(json.dumps({"name": ENTRY, **entries["vscode"]}), safe="")
    return {
        "LM Studio": f"lmstudio://add_mcp?name={ENTRY}&config={pack('lm-studio')}",
        "Cursor": f"cursor://anysphere.cursor-deeplink/mcp/install?name={ENTRY}&config={pack('cursor')}",
        "VS Code": f"vscode:mcp/install?{named}",
        "VS Code Insiders": f"vscode-insiders:mcp/install?{named}",
    }
