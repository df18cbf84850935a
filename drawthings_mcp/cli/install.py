"""``drawthings-mcp install``: has chat clients start this program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import click

from drawthings_mcp.cli.face import SHELL
from drawthings_mcp.cli.options import with_settings
from drawthings_mcp.cli.output import format_table, print_text, say
from drawthings_mcp.errors import DrawThingsError
from drawthings_mcp.install.change import back_up, describe_change, read_config_file, write_config_file
from drawthings_mcp.install.clients import CLIENTS, ENTRY, ChatProgram, Machine, build_links, this_machine
from drawthings_mcp.install.entries import ServerEntry, Written, add_entry, find_entry
from drawthings_mcp.install.launch import Launch, find_launch
from drawthings_mcp.quoting import quote
from drawthings_mcp.settings import Settings, config_path, load_settings, variable

CLIENT_NAMES = click.Choice([client.name for client in CLIENTS], case_sensitive=False)
_SECRET = "shared_secret"
_CONNECTION = ("server", "tls", "ca_file")
"""Settings that an entry carries, as options, when this program would not know them by itself."""
_PASSING = ("command line", "environment")
"""Origins of settings that are gone with this shell."""
_LM_STUDIO = "lm-studio"


@click.command()
@click.argument("clients", nargs=-1, type=CLIENT_NAMES, metavar="[CLIENT]...")
@click.option("--list", "lists", is_flag=True, help="List the clients, and which have it.")
@click.option("--links", is_flag=True, help="Print links that have a client add it.")
@click.option("--yes", is_flag=True, help="Do not ask; an entry of the same name for something else stays.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@with_settings
def install(settings: Settings, clients: tuple[str, ...], lists: bool, links: bool, yes: bool, dry_run: bool) -> None:
    """Have chat clients start drawthings-mcp: those named, or all that are found on this machine.

    Shows each change and asks, keeps a copy of the file, then starts the entry once and says how that went.
    """
    machine = this_machine()
    if lists:
        print_text(format_table(list(map(_list_client, CLIENTS, [machine] * len(CLIENTS)))))
        return
    if links:
        for title, link in build_links(_find_launch(settings)).items():
            print_text(f"{title}: {link}")
        return
    chosen = choose_clients(clients, machine)
    if not chosen:
        raise click.ClickException(f"No chat client was found. Name one: {', '.join(CLIENT_NAMES.choices)}.")
    if not (yes or dry_run):
        settings = _ask_server(settings)
    installer = _Installer(settings, machine, yes=yes, dry_run=dry_run)
    _store_secret(settings, yes=yes, dry_run=dry_run)
    _name_lost_variables(settings)
    report_each(chosen, installer.install)


class _Installer:
    """Adds the entry to one client after the other; what starts the same is started once."""

    def __init__(self, settings: Settings, machine: Machine, *, yes: bool, dry_run: bool) -> None:
        self._settings = settings
        self._machine = machine
        self._launch = _find_launch(settings)
        self._yes = yes
        self._dry_run = dry_run
        self._tried: dict[object, str] = {}

    def install(self, client: ChatProgram) -> None:
        entry = find_entry(client, self._machine)
        if not client.is_there(self._machine):
            say(f"{client.title} was not found on this machine; its file is made for when it comes.")
        name_twins(entry)
        foreign = entry.value is not None and not entry.is_ours
        if foreign and self._yes:
            raise click.ClickException(
                f"{client.title} has an entry {ENTRY!r} for something else ({entry.purpose}), which stays. "
                f"Rename it in {entry.file.path}, or run this without --yes to replace it."
            )
        value = client.build_entry(self._launch, self._offer_vision(client, entry), None if foreign else entry.value)
        data = entry.plan(value)
        if data == entry.file.data:
            outcome = self._try(entry)
            if outcome.startswith(_FAILED):
                raise click.ClickException(f"{client.title}: the entry is there already, but {outcome}")
            print_text(f"{client.title}: the entry is there already ({outcome}).")
            return
        show_plan(entry, data)
        if self._dry_run:
            return
        question = f"Replace the entry of {client.title}, which starts something else?" if foreign else ""
        if self._yes or ask(question or f"Change {client.title}?"):
            self._write(entry, value)

    def _write(self, entry: ServerEntry, value: Mapping[str, object]) -> None:
        client = entry.client
        written = add_entry(entry, value, self._machine)
        kept = f" (as it was: {written.copy})" if written.copy else ""
        print_text(f"{client.title}: installed in {entry.file.path}{kept}.")
        if written.note:
            say(f"  {written.note}")
        outcome = self._try(find_entry(client, self._machine))
        if not outcome.startswith(_FAILED):
            print_text(f"  {outcome}")
            print_text(f"  Restart {client.title}. To undo this: drawthings-mcp uninstall {client.name}")
            return
        self._take_back(client, written, outcome)

    def _take_back(self, client: ChatProgram, written: Written, outcome: str) -> None:
        say(f"  {outcome}")
        if not self._yes and not ask("Have the file as it was?", default=True, unanswered=True):
            raise click.ClickException(f"{client.title} has an entry that {outcome}")
        written.undo()
        raise click.ClickException(f"{client.title}: {written.before.path} is as it was, for the entry {outcome}")

    def _try(self, entry: ServerEntry) -> str:
        import anyio

        from drawthings_mcp.install.trial import try_entry

        command, variables = entry.command, entry.client.read_environment(entry.value)
        key = (*command, *sorted(variables.items()))
        if key not in self._tried:
            say(f"Starting {' '.join(command)} …")
            self._tried[key] = str(anyio.run(try_entry, command, variables))
        outcome = self._tried[key]
        is_unused = entry.is_off and not outcome.startswith(_FAILED)
        return f"{outcome}; switched off in {entry.client.title}, so switch it on there" if is_unused else outcome

    def _offer_vision(self, client: ChatProgram, entry: ServerEntry) -> Mapping[str, str]:
        """Variables with which LM Studio's own model describes pictures to one that is not given them."""
        url = variable("vision_url")
        known = entry.is_ours and url in client.read_environment(entry.value)
        if client.name != _LM_STUDIO or self._settings.vision_url or known:
            return {}
        import anyio

        from drawthings_mcp.install.lm_studio import ask_endpoint

        endpoint = anyio.run(ask_endpoint, self._machine.folders["lm_studio"])
        if not endpoint.seeing:
            lacks = "has no model that can see" if endpoint.seeing == () else f"does not answer at {endpoint.url}"
            say(
                f"LM Studio does not give its model the pictures of tools. One of its own that can see could describe "
                f"them, but it {lacks}. Load one, switch its server on (Developer → Status), and run this again."
            )
            return {}
        say(
            f"LM Studio does not give its model the pictures of tools. These of its models can see, and one could "
            f"describe them: {', '.join(endpoint.seeing)}."
        )
        model = endpoint.seeing[0]
        if not (self._yes or self._dry_run or ask(f"Have {model} describe pictures?", default=True)):
            return {}
        return {url: endpoint.url, variable("vision_model"): model}


_FAILED = "does not start"


def choose_clients(names: Sequence[str], machine: Machine) -> list[ChatProgram]:
    """The clients that are named, or else those that are on this machine."""
    return [client for client in CLIENTS if (client.name in names if names else client.is_there(machine))]


def report_each(clients: Iterable[ChatProgram], change: Callable[[ChatProgram], None]) -> None:
    """Changes one client after the other; what fails is reported, and the others go on. Exit code 1 then."""
    failed = False
    for client in clients:
        try:
            change(client)
        except DrawThingsError as error:
            failed = True
            say(f"{client.title}: {error.word(SHELL)}")
        except click.ClickException as error:
            failed = True
            say(error.format_message())
    if failed:
        click.get_current_context().exit(1)


def name_twins(entry: ServerEntry) -> None:
    """Says which entries of other names start this program, which stay as they are."""
    for name in entry.twins:
        also = f"{entry.client.title} has {quote(name)} as well, which starts drawthings-mcp, too."
        say(f"{also} It stays; keep one of both.")


def show_plan(entry: ServerEntry, data: bytes) -> None:
    """The change to a file, as a diff."""
    for line in describe_change(entry.file, data, ENTRY):
        colour = {"+": "green", "-": "red"}.get(line[:1])
        print_text(click.style(line, fg=colour) if colour and sys.stdout.isatty() else line)


def ask(question: str, *, default: bool = False, unanswered: bool | None = None) -> bool:
    """Whether the person at the terminal says yes; ``unanswered`` is the answer of nobody, without which this ends."""
    try:
        return click.confirm(question, default=default, err=True)
    except click.Abort:
        if unanswered is not None:
            return unanswered
        raise click.ClickException("Nobody answered, so nothing was changed. --yes answers for you.") from None


def _list_client(client: ChatProgram, machine: Machine) -> tuple[str, ...]:
    there = "found" if client.is_there(machine) else "–"
    path = client.find_file(machine)
    try:
        entry = find_entry(client, machine)
        state = "–" if entry.value is None else "installed" if entry.is_ours else "another entry"
    except DrawThingsError:
        state = "cannot be read"
    return client.name, client.title, there, state, str(path)


def _find_launch(settings: Settings) -> Launch:
    """The command to write; its options are those that it would not know by itself."""
    from dataclasses import replace

    options: list[str] = []
    for name in _CONNECTION:
        value = getattr(settings, name)
        if settings.origins.get(name) in _PASSING and value is not None:
            shown = value.absolute() if isinstance(value, Path) else value
            options += [f"--{name.replace('_', '-')}", str(shown)]
    return replace(find_launch(), options=tuple(options))


def _ask_server(settings: Settings) -> Settings:
    """Which server it is to be, with what the doctor says of it; one that was named is not asked for."""
    if settings.origins.get("server") in _PASSING:
        return settings
    announced: Mapping[str, str] | None = None
    while True:
        problem = _examine(settings)
        say(problem or f"Draw Things answers at {settings.server}.")
        if problem and announced is None:
            announced = _list_announced()
        try:
            answer = click.prompt("Draw Things server", default=settings.server, err=True)
        except click.Abort:
            raise click.ClickException("Nobody answered, so nothing was changed. --yes answers for you.") from None
        if answer == settings.server:
            return settings
        given = {name: getattr(settings, name) for name in settings.origins if settings.origins[name] == _PASSING[0]}
        if announced and answer in announced:
            given.setdefault("tls", announced[answer])
        try:
            settings = load_settings({**given, "server": answer})
        except DrawThingsError as error:
            say(error.word(SHELL))


def _list_announced() -> Mapping[str, str]:
    """What ``--tls`` is by address, of servers that announce themselves; used only when the person types one."""
    import anyio

    from drawthings_mcp.doctor.diagnosis import find_announced

    try:
        found = anyio.run(find_announced)
    except DrawThingsError:
        return {}
    if found:
        shown = ", ".join(f"{server.address} ({quote(server.name)})" for server in found)
        say(f"Announced on the network, where anybody can announce anything: {shown}. Type one of these to use it.")
    return {str(server.address): "on" if server.tls else "off" for server in found}


def _examine(settings: Settings) -> str:
    """What keeps the servers from being used, and what to do about it; empty when nothing does."""
    import anyio

    from drawthings_mcp.doctor.diagnosis import SERVER, diagnose

    async def run() -> str:
        diagnosis = await diagnose(settings, timeout=5, face=SHELL)
        found = next((finding for finding in diagnosis.problems if finding.group.startswith(SERVER)), None)
        return f"{found.detail}. {found.remedy}" if found else ""

    return anyio.run(run)


def _store_secret(settings: Settings, *, yes: bool, dry_run: bool) -> None:
    """The shared secret into our own file, for its owner alone: clients' files are no place for it."""
    if settings.origins.get(_SECRET) not in _PASSING or not settings.shared_secret.get_secret_value():
        return
    file = read_config_file(config_path(), "toml")
    data = file.set((_SECRET,), settings.shared_secret.get_secret_value())
    if data == file.data:
        return
    print_text(f"{file.path}: the shared secret, readable by you alone; no chat client's file gets it.")
    if dry_run or not (yes or ask("Keep it there?", default=True)):
        return
    back_up(file)
    write_config_file(file, data, mode=0o600)


def _name_lost_variables(settings: Settings) -> None:
    """Settings of this shell that chat clients will not have."""
    lost = [
        variable(name)
        for name, origin in settings.origins.items()
        if origin == "environment" and name not in (*_CONNECTION, _SECRET)
    ]
    if lost:
        say(
            f"Set in this shell only, so chat clients will not have it: {', '.join(lost)}. Put it into {config_path()}."
        )
