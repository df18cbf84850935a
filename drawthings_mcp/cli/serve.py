"""``drawthings-mcp serve``, which is also what ``drawthings-mcp`` alone does."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.cli.output import say
from drawthings_mcp.settings import Settings

if TYPE_CHECKING:
    from drawthings_mcp.server.http import HttpOptions

_PORT = 7868
_ADDRESS = f"127.0.0.1:{_PORT}"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--http",
    metavar="[HOST:PORT]",
    is_flag=False,
    flag_value=_ADDRESS,
    help=f"Serve many clients over HTTP, at /mcp; alone: {_ADDRESS}.",
)
@click.option("--token-file", type=_FILE, help="Tokens, a name and a token a line; made when missing.")
@click.option("--allow-host", metavar="HOST", multiple=True, help="A name under which other machines reach the server.")
@click.option("--allow-origin", metavar="ORIGIN", multiple=True, help="A web page's server that may speak to it.")
@click.option("--tls-cert", type=_FILE, help="PEM file with the certificate, for https.")
@click.option("--tls-key", type=_FILE, help="PEM file with its key.")
@click.option("--insecure-lan", is_flag=True, help="Let other machines in without TLS.")
@click.option("--discover", is_flag=True, help="List Draw Things servers on the network; none is used by that.")
@with_settings
def serve(
    settings: Settings,
    http: str | None = None,
    token_file: Path | None = None,
    allow_host: Sequence[str] = (),
    allow_origin: Sequence[str] = (),
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure_lan: bool = False,
    discover: bool = False,
) -> None:
    """Serve MCP over stdin and stdout until stdin closes, or with --http over the network until it is stopped."""
    if http is None:
        if token_file or allow_host or allow_origin or tls_cert or tls_key or insecure_lan or discover:
            raise click.UsageError("Tokens, names, certificates and discovery are for --http; give that, too.")
        import anyio

        from drawthings_mcp.server.stdio import serve_stdio

        anyio.run(serve_stdio, settings)
    else:
        from drawthings_mcp.address import parse_address
        from drawthings_mcp.server.http import HttpOptions

        address = parse_address(f"127.0.0.1:{http}" if http.isdigit() else http, _PORT, least_port=0)
        files = (path.expanduser().absolute() if path else None for path in (token_file, tls_cert, tls_key))
        tokens, certificate, key = files
        options = HttpOptions(
            address, tokens, tuple(allow_host), tuple(allow_origin), certificate, key, insecure_lan, discovers=discover
        )
        run_http(settings, options)
    _leave()


def run_http(settings: Settings, options: HttpOptions) -> None:
    """Serves over HTTP until a signal arrives, and ends the process."""
    import anyio

    from drawthings_mcp.server.http import serve_http

    anyio.run(serve_http, settings, options, say)
    _leave()


def _leave() -> NoReturn:
    # All is saved and closed. Some clients kill a process that takes longer than the interpreter needs to end itself.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)
