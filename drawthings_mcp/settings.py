"""What the user set, and where: command line, environment, ``config.toml``, default.

No other file is read, and no folder or server is looked at.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from drawthings_mcp.address import parse_address
from drawthings_mcp.errors import InvalidInputError
from drawthings_mcp.limits import ATTACHMENT_LIMITS
from drawthings_mcp.quoting import hide_password
from drawthings_mcp.validation import build_refusal, suggest

_logger = logging.getLogger(__name__)

APP_NAME = "drawthings-mcp"
_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
DEMO_SERVER = "demo"
"""The address that stands for the embedded simulator."""
OFF: Literal["none"] = "none"
"""What switches a file off that would otherwise be looked for."""

Origin = Literal["command line", "environment", "config.toml", "default"]


def _expand(value: Any) -> Any:
    if not isinstance(value, str | Path):
        raise ValueError(f"must be a path, got {value!r}")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{str(value)!r} begins with the home folder of somebody who has none here") from error


def _split(value: Any) -> Any:
    """Addresses in one text, each of them checked."""
    addresses = [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    for address in filter(None, addresses):
        if address != DEMO_SERVER:
            _check_address(address)
    if not any(addresses):
        raise ValueError(f"names no server, got {value!r}; write host:port, several separated by commas, or demo")
    return value


def _check_single(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"must be host:port, got {value!r}")
    if value != DEMO_SERVER:
        _check_address(value)
    return value


def _check_address(address: str) -> None:
    try:
        parse_address(address)
    except InvalidInputError as error:
        raise ValueError(str(error.problem)) from error


def _split_folders(value: Any) -> Any:
    """Folders from one text, as the environment has them, or from a list, as a file has them."""
    parts = value.split(os.pathsep) if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError(f"must be folders separated by {os.pathsep!r}, got {value!r}")
    return tuple(_expand(part) for part in parts if not isinstance(part, str) or part.strip())


def _parse_switchable_path(value: Any) -> Any:
    return OFF if isinstance(value, str) and value.strip().lower() == OFF else _expand(value)


def _check_url(value: Any) -> Any:
    if isinstance(value, str) and value.strip() and not value.strip().lower().startswith(("http://", "https://")):
        raise ValueError(f"must begin with http:// or https://, got {hide_password(value)!r}")
    return value.strip().rstrip("/") if isinstance(value, str) else value


def _check_database(value: Any) -> Any:
    if isinstance(value, str) and value.strip() and not value.strip().startswith("postgresql://"):
        raise ValueError(f"must begin with postgresql://, got {hide_password(value)!r}")
    return value.strip() if isinstance(value, str) else value


def _parse_attachments(value: Any) -> Any:
    """Limits from ``max_edge=768, max_outputs=2``, as the environment has them, or from a table, as a file has them."""
    if isinstance(value, str):
        pairs = (part.partition("=") for part in value.replace(",", " ").split())
        value = {name: number for name, _, number in pairs}
    if not isinstance(value, Mapping):
        raise ValueError(f"must be limits like max_edge=768, got {value!r}")
    return {name: _parse_limit(name, number) for name, number in value.items()}


def _parse_limit(name: str, value: object) -> int:
    if name not in ATTACHMENT_LIMITS:
        raise ValueError(f"there is no limit {name!r}.{suggest(name, ATTACHMENT_LIMITS)}")
    least, most = ATTACHMENT_LIMITS[name]
    text = str(value).strip()
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}, got {value!r}")
    return int(text)


ExpandedPath = Annotated[Path, BeforeValidator(_expand)]
SwitchablePath = Annotated[Path | Literal["none"], BeforeValidator(_parse_switchable_path)]
Folders = Annotated[tuple[Path, ...], BeforeValidator(_split_folders)]
AttachmentLimits = Annotated[Mapping[str, int], BeforeValidator(_parse_attachments)]
Url = Annotated[str, BeforeValidator(_check_url)]
Addresses = Annotated[str, BeforeValidator(_split)]


class ServerSettings(BaseModel):
    """How one Draw Things server is reached.

    Attributes
    ----------
    name
        What it is called in results; its address when it was given none.
    address
        ``host:port``, or ``demo``.
    shared_secret
        Its own; it is sent to no other server.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    address: Annotated[str, BeforeValidator(_check_single)]
    tls: Literal["auto", "on", "off"] | None = None
    ca_file: ExpandedPath | None = None
    shared_secret: SecretStr = SecretStr("")


def _name_servers(value: Any) -> Any:
    """Tables by name, as a file has them; what is wrong is said with the name of the table."""
    if not isinstance(value, Mapping) or not all(isinstance(table, Mapping) for table in value.values()):
        raise ValueError("must be tables such as [servers.studio] with an address each")
    servers = {}
    for name, table in value.items():
        if not _SERVER_NAME.fullmatch(name) or name == DEMO_SERVER:
            raise ValueError(f"{name!r} is no name for a server: take letters, digits, _ and -, and not {DEMO_SERVER}")
        try:
            servers[name] = ServerSettings(**{**table, "name": name})
        except ValidationError as error:
            raise ValueError(f"[servers.{name}] {build_refusal(error, ServerSettings.model_fields)}") from None
    return servers


NamedServers = Annotated[Mapping[str, ServerSettings], BeforeValidator(_name_servers)]


def _default_output_dir() -> Path:
    return Path.home() / "Pictures" / "Draw Things MCP"


def default_state_dir() -> Path:
    """Where catalog, index, pins and logs are kept unless the user says otherwise."""
    return platformdirs.user_data_path(APP_NAME)


class Settings(BaseModel):
    """The values of one process.

    Attributes
    ----------
    server
        ``host:port`` or a name of ``servers``, several separated by commas, or ``demo``.
    servers
        Servers by name, each with an address and what it needs; they stand in ``config.toml`` alone.
    failover
        What becomes of a picture whose server goes away after the first step: ``restart`` begins it again elsewhere,
        ``stop`` ends the call.
    lora_dir
        Folder of LoRAs that are uploaded to a server that lacks them; None for none.
    tls
        ``auto`` tries TLS, and plaintext only on a loopback address.
    ca_file
        PEM to verify the server with; None accepts Draw Things' shared certificate and pins others.
    custom_configs
        The app's file of presets; ``none`` switches it off, None looks where the app keeps it.
    input_dirs
        Folders from which pictures may be read by path.
    search_dirs
        Folders to index for search; empty for the output folder.
    export_dirs
        Folders that copies for others may be written to; empty for ``Exports`` in the output folder.
    preview
        Whether pictures are returned as vision content.
    attachments
        Limits of a result that are to be others than those for the client, by the names of ``attachments.Policy``.
    tools
        ``simple`` offers the few arguments that a small model needs, ``full`` all of them.
    max_wait
        Seconds that a tool call waits for a render before it hands back a job; None for what suits the client.
    vision_url, vision_model, vision_key
        OpenAI-compatible endpoint that describes pictures for clients that cannot show them to their model.
    mcp_url, mcp_token_file
        A server over HTTP to which one over stdio passes everything on, and the file with the token for it.
    database_url
        ``postgresql://…``: where ``serve --http`` keeps its jobs; empty for SQLite in the state folder.
    embedding_url, embedding_model, embedding_key
        OpenAI-compatible endpoint whose embeddings make search find what is meant.
    brave_api_key, searxng_url
        Ways to search the web for pictures.
    origins
        Where each value came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: Addresses = "localhost:7859"
    servers: NamedServers = Field(default_factory=dict, repr=False)
    failover: Literal["restart", "stop"] = "restart"
    lora_dir: ExpandedPath | None = None
    tls: Literal["auto", "on", "off"] = "auto"
    ca_file: ExpandedPath | None = None
    shared_secret: SecretStr = SecretStr("")
    output_dir: ExpandedPath = Field(default_factory=_default_output_dir)
    state_dir: ExpandedPath = Field(default_factory=default_state_dir)
    custom_configs: SwitchablePath | None = None
    input_dirs: Folders = Field(default_factory=lambda: (Path.home(),))
    search_dirs: Folders = ()
    export_dirs: Folders = ()
    preview: Literal["auto", "always", "never"] = "auto"
    attachments: AttachmentLimits = Field(default_factory=dict)
    tools: Literal["simple", "full"] = "full"
    max_wait: float | None = Field(default=None, ge=0, le=86_400, allow_inf_nan=False)
    vision_url: Url = ""
    vision_model: str = ""
    vision_key: SecretStr = SecretStr("")
    mcp_url: Url = ""
    mcp_token_file: ExpandedPath | None = None
    database_url: Annotated[SecretStr, BeforeValidator(_check_database)] = SecretStr("")
    embedding_url: Url = ""
    embedding_model: str = ""
    embedding_key: SecretStr = SecretStr("")
    brave_api_key: SecretStr = SecretStr("")
    searxng_url: Url = ""
    origins: Mapping[str, Origin] = Field(default_factory=dict, repr=False)

    def list_servers(self) -> tuple[ServerSettings, ...]:
        """The servers to use, each once: those of ``server``; all that have names when that was not set."""
        if self.servers and self.origins.get("server", "default") == "default":
            chosen = list(self.servers.values())
        else:
            named = dict.fromkeys(part.strip() for part in self.server.split(",") if part.strip())
            chosen = [self.servers.get(name) or ServerSettings(name=name, address=name) for name in named]
        said = {name for name in ("tls", "ca_file", "shared_secret") if self.origins.get(name) == "command line"}
        return tuple(self._complete(server, said if len(chosen) == 1 else set()) for server in chosen)

    def _complete(self, server: ServerSettings, said: Collection[str]) -> ServerSettings:
        """A server with what was said of servers in general: a secret only where that is certainly meant for it.

        Parameters
        ----------
        said
            Settings that were given with this very server, which win over its own.
        """
        if server.name in self.servers:
            own: dict[str, object] = {"tls": server.tls or self.tls, "ca_file": server.ca_file or self.ca_file}
        else:
            own = {"tls": self.tls, "ca_file": self.ca_file, "shared_secret": self.shared_secret}
        if server.tls == "off" and server.ca_file is None:
            own["ca_file"] = None
        return server.model_copy(update={**own, **{name: getattr(self, name) for name in said}})

    def focus(self, server: ServerSettings) -> Settings:
        """The settings where there is one server alone."""
        return self.model_copy(update=server.model_dump(include={"tls", "ca_file", "shared_secret"}))

    @property
    def export_folders(self) -> tuple[Path, ...]:
        """Where copies for others may be written, the usual place first."""
        return self.export_dirs or (self.output_dir / "Exports",)


_TABLES = ("servers",)
"""Settings that only a file can have."""
NAMES = tuple(name for name in Settings.model_fields if name not in ("origins", *_TABLES))


_FOREIGN_VARIABLES = {"brave_api_key": "BRAVE_API_KEY"}
"""Settings whose variable other programs share."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return _FOREIGN_VARIABLES.get(name, f"DRAWTHINGS_{name.upper()}")


def config_path() -> Path:
    """Where ``config.toml`` is looked for."""
    return platformdirs.user_config_path(APP_NAME) / "config.toml"


def load_settings(
    options: Mapping[str, object | None] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> Settings:
    """The settings of this process.

    Parameters
    ----------
    options
        What the command line gave; None counts as not given.
    environment
        Variables; an empty one counts as not set. Default: those of the process.
    config_file
        Default: ``config_path()``. It need not exist.

    Raises
    ------
    InvalidInputError
        A value is not allowed, or the file cannot be read; the text names the value's origin.
    """
    environment = os.environ if environment is None else environment
    layers: list[tuple[Origin, Mapping[str, object]]] = [
        ("config.toml", _read_config(config_path() if config_file is None else config_file)),
        ("environment", {name: environment[variable(name)] for name in NAMES if environment.get(variable(name))}),
        ("command line", {name: value for name, value in (options or {}).items() if value is not None}),
    ]
    values: dict[str, object] = {}
    origins: dict[str, Origin] = dict.fromkeys(NAMES, "default")
    for origin, layer in layers:
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))
    try:
        return Settings(**values, origins=origins)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][0])
        where = {"environment": variable(wrong), "command line": f"--{wrong.replace('_', '-')}"}
        origin = origins.get(wrong, "default")
        raise InvalidInputError(f"{where.get(origin, origin)}: {build_refusal(error, Settings.model_fields)}") from None


def _read_config(path: Path) -> dict[str, object]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise InvalidInputError(f"{path} cannot be read: {exc}. Repair it or move it away.") from exc
    for name in data.keys() - {*NAMES, *_TABLES}:
        _logger.warning("%s: there is no setting %r.%s", path, name, suggest(name, (*NAMES, *_TABLES)))
    return {name: value for name, value in data.items() if name in NAMES or name in _TABLES}
