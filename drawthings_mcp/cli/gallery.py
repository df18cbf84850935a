"""``drawthings-mcp gallery``: the gallery's page in the browser, from the server that runs or one of its own."""

from __future__ import annotations

import json
from contextlib import closing

import click

from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.cli.output import print_text, say
from drawthings_mcp.cli.serve import run_http
from drawthings_mcp.settings import Settings

_SECONDS = 3.0


@click.command()
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@with_settings
def gallery(settings: Settings, no_browser: bool = False) -> None:
    """See the pictures in the browser, by the server that runs already or by one that runs until Ctrl+C."""
    from drawthings_mcp.address import parse_address
    from drawthings_mcp.server.http import HttpOptions

    link = _ask_for_link(settings)

    def show(url: str) -> None:
        print_text(url)
        if not no_browser:
            import webbrowser

            webbrowser.open(url)

    if link:
        show(link)
        return
    say("Ctrl+C ends the gallery's server.")
    run_http(settings, HttpOptions(parse_address("127.0.0.1:0", least_port=0), opened=show))


def _ask_for_link(settings: Settings) -> str:
    """A link into the server that runs with this state folder on this machine; empty when none does."""
    from http.client import HTTPConnection, HTTPException

    from drawthings_mcp.address import parse_address
    from drawthings_mcp.errors import DrawThingsError
    from drawthings_mcp.server.http import find_place
    from drawthings_mcp.server.tokens import TokenFile

    place = find_place(settings.state_dir)
    if place is None:
        return ""
    try:
        address, token = parse_address(place.address), TokenFile(place.tokens).get_first()
        connection = HTTPConnection(address.host, address.port, timeout=_SECONDS)
        with closing(connection):
            connection.request("POST", "/gallery/link", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            code = json.loads(response.read())["code"] if response.status == 200 else ""
    except (OSError, ValueError, KeyError, HTTPException, DrawThingsError):
        return ""
    return f"http://{place.address}/#code={code}" if code else ""
