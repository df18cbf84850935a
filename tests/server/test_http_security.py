"""What keeps others out of the server over HTTP, and what keeps it up."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import stat
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from drawthings_mcp.cli import main
from drawthings_mcp.simulator.certificate import make_certificate
from tests.http_process import HttpProcess, build_call, serve_http

LAN = ("0.0.0.0:0", "--insecure-lan", "--allow-host", "studio.test")
QUICK = "_FIRST_REQUEST_SECONDS=0.3 _BODY_SECONDS=0.3 _MAX_CONNECTIONS=60"
JSON = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
HELLO = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    b'"clientInfo":{"name":"x","version":"1"}}}'
)
TOO_MUCH = 40_000_000


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("guarded")
    return {
        "HOME": os.environ["HOME"],
        "DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"),
        "DRAWTHINGS_STATE_DIR": str(folder / "state"),
    }


@pytest.fixture(scope="module")
def lan(environment: dict[str, str]) -> Iterator[HttpProcess]:
    with serve_http(environment, *LAN, "--allow-origin", "https://page.test") as process:
        yield process


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpProcess]:
    """On loopback, with limits that need no waiting."""
    folder = tmp_path_factory.mktemp("local")
    environment = {"DRAWTHINGS_OUTPUT_DIR": str(folder / "pictures"), "DRAWTHINGS_STATE_DIR": str(folder / "state")}
    with serve_http(environment, limits=QUICK) as process:
        yield process


@pytest.mark.parametrize("path", ["/mcp", "/images/v1", "/anything"])
@pytest.mark.parametrize("token", [None, "", "x" * 43, "Bearer"])
def test_without_a_token_of_the_file_there_is_a_401_that_leads_nowhere_else(
    lan: HttpProcess, path: str, token: str | None
) -> None:
    response, _ = lan.ask("POST", path, PING, token=token, Host="studio.test", **JSON)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_in_another_place_or_form_is_none(lan: HttpProcess) -> None:
    for headers in ({"Authorization": lan.token}, {"Authorization": f"Basic {lan.token}"}, {"Token": lan.token}):
        assert lan.status("POST", f"/mcp?token={lan.token}", PING, Host="studio.test", **headers, **JSON) == 401


def test_off_loopback_programs_of_this_machine_need_a_token_too(lan: HttpProcess) -> None:
    assert lan.status("POST", "/mcp", PING, **JSON) == 401


@pytest.mark.parametrize("path", ["/mcp", "/health", "/images/v1"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "studio.test.evil.test",
        "127.0.0.1.evil.test",
        "0.0.0.0",
        "[::",
        "a@localhost",
        "localhost:1 or",
        "",
    ],
)
def test_another_name_for_this_machine_is_misdirected(lan: HttpProcess, path: str, host: str) -> None:
    assert lan.ask("GET", path, token=lan.token, Host=host)[0].status == 421


def test_on_loopback_only_its_own_names_are_known(local: HttpProcess) -> None:
    assert local.status("GET", "/health", Host="localhost:9") == 200
    assert local.status("GET", "/health", Host="[::1]") == 200
    assert local.status("GET", "/health", Host="studio.test") == 421
    assert local.status("POST", "/mcp", PING, Host="rebound.test", **JSON) == 421


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://localhost:1", "https://page.test.evil.test"])
def test_a_page_of_another_server_may_not_speak_to_it(lan: HttpProcess, local: HttpProcess, origin: str) -> None:
    for server in (lan, local):
        assert server.ask("POST", "/mcp", PING, token=server.token, Origin=origin, **JSON)[0].status == 403
        assert server.ask("GET", "/health", Origin=origin)[0].status == 403


def test_a_page_that_was_named_may_and_its_browser_hears_so(lan: HttpProcess) -> None:
    asks = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    page = {"Origin": "https://page.test", "Host": "studio.test"}
    allowed, _ = lan.ask("OPTIONS", "/mcp", **page, **asks)
    assert allowed.status == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://page.test"
    assert lan.status("POST", "/mcp", PING, **page, **JSON) == 401
    own = {"Origin": f"http://127.0.0.1:{lan.port}"}
    assert lan.ask("GET", "/images/v9", token=lan.token, **own)[0].status == 404


def test_what_a_browser_asks_first_is_answered_only_for_pages_that_were_named(
    lan: HttpProcess, local: HttpProcess
) -> None:
    for server, host, status in ((lan, "studio.test", 401), (lan, "127.0.0.1", 401), (local, "localhost", 405)):
        asks = {"Host": host, "Origin": f"http://{host.upper()}", "Access_Control_Request_Method": "POST"}
        assert server.status("OPTIONS", "/mcp", PING, **asks) == status
        assert server.status("OPTIONS", "/images/v1", **asks) == 401
        assert not [line for line in server.later if "Traceback" in line]


def test_pictures_need_a_token_on_loopback_too(local: HttpProcess) -> None:
    assert local.status("GET", "/images/v1") == 401
    assert local.ask("GET", "/images/v1", token=local.token)[0].status == 404


def test_a_proxy_on_this_machine_does_not_make_others_local(environment: dict[str, str], tmp_path: Path) -> None:
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}
    with serve_http(own, "127.0.0.1:0", "--allow-host", "studio.test") as server:
        assert server.status("POST", "/mcp", PING, Host="studio.test", X_Forwarded_For="127.0.0.1", **JSON) == 401
        assert server.status("POST", "/mcp", PING, **JSON) != 401


def test_addresses_of_pictures_behind_a_proxy_have_its_scheme(environment: dict[str, str], tmp_path: Path) -> None:
    own = {**environment, "DRAWTHINGS_OUTPUT_DIR": str(tmp_path), "DRAWTHINGS_STATE_DIR": str(tmp_path / "state")}
    with serve_http(own, "127.0.0.1:0", "--allow-host", "studio.test") as server:
        body, named = build_call(1, prompt="a fox", width=128, height=128, steps=1, preview="never")
        outer = {"Host": "studio.test", "X_Forwarded_Proto": "https", "Origin": "https://studio.test"}
        answer, said = server.ask("POST", "/mcp", body, token=server.token, **outer, **named)
        assert answer.status == 200
        assert b"open: https://studio.test/images/v1" in said
        # A redirect would lead to the inner scheme, with the token.
        assert server.ask("POST", "/mcp/", PING, token=server.token, **outer, **JSON)[0].status == 404


def test_a_body_that_is_too_large_is_refused_whether_its_length_is_said_or_not(lan: HttpProcess) -> None:
    before = lan.measure_memory()
    assert lan.ask("POST", "/mcp", b" " * TOO_MUCH, token=lan.token, **JSON)[0].status == 413
    connection = HTTPConnection("127.0.0.1", lan.port, timeout=60)
    with contextlib.closing(connection):
        chunks = (b" " * 1_000_000 for _ in range(TOO_MUCH // 1_000_000))
        connection.request("POST", "/mcp", chunks, {"Authorization": f"Bearer {lan.token}"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    assert lan.measure_memory() - before < 100_000_000


def test_a_picture_as_a_data_uri_is_not_too_large(environment: dict[str, str], tmp_path: Path) -> None:
    with serve_http({**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}) as server:
        body = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"x":"' + b"A" * 32_000_000 + b'"}}}'
        assert server.status("POST", "/mcp", body, MCP_Protocol_Version="2025-11-25", **JSON) == 400  # no session


def read_to_end(connection: socket.socket) -> bytes:
    """What comes until the other end closes; a time-out fails the test."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            received += data
    return received


def test_a_connection_on_which_no_request_comes_is_closed(local: HttpProcess) -> None:
    for sent in (b"", b"GET /health HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "):
        with local.connect_raw() as connection:
            connection.sendall(sent)
            assert read_to_end(connection) == b""


def test_a_body_that_does_not_come_is_given_up(local: HttpProcess) -> None:
    with local.connect_raw() as connection:
        head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        connection.sendall(head.encode())
        assert read_to_end(connection).startswith(b"HTTP/1.1 408 ")


def test_heads_without_end_are_refused(local: HttpProcess) -> None:
    with local.connect_raw() as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000)
        assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")


def test_many_idle_connections_keep_nobody_out_and_take_little_memory(
    environment: dict[str, str], tmp_path: Path
) -> None:
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}
    with serve_http(own, limits="_FIRST_REQUEST_SECONDS=1000.0 _MAX_CONNECTIONS=60") as server:
        assert server.status("GET", "/health") == 200
        before = server.measure_memory()
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(server.connect_raw()) for _ in range(300)]
            assert server.status("GET", "/health") == 200
            assert [read_to_end(connection) for connection in idle[:240]] == [b""] * 240
            assert server.measure_memory() - before < 30_000_000


def test_strangers_cannot_send_much_nor_keep_others_out_while_they_send(
    environment: dict[str, str], tmp_path: Path
) -> None:
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}
    head = (
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with serve_http(own, limits="_MAX_CONNECTIONS=5") as server, contextlib.ExitStack() as stack:
        assert server.status("POST", "/sign-in", b" " * 20_000, Content_Type="application/json") == 413
        slow = [stack.enter_context(server.connect_raw()) for _ in range(8)]
        for connection in slow:
            with contextlib.suppress(ConnectionError):
                connection.sendall(head)
        assert server.status("GET", "/health") == 200


def test_a_connection_that_takes_no_answers_is_closed(environment: dict[str, str], tmp_path: Path) -> None:
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}
    stalled = serve_http(own, limits="_STALLED_SECONDS=0.1")
    with stalled as server, ask_greedily(server) as greedy, pytest.raises(ConnectionError):  # once both ends are full
        ask_without_end(greedy)


GREED = (
    b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 170\r\n"
    b"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n\r\n"
    b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":'
    b'"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
) * 300
"""Requests with long answers, more of them than both ends keep of what nobody reads."""


def ask_greedily(server: HttpProcess) -> socket.socket:
    """A connection that asks much and takes little."""
    greedy = socket.socket()
    greedy.settimeout(60)
    greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    greedy.connect(("127.0.0.1", server.port))
    greedy.sendall(GREED)
    return greedy


def ask_without_end(greedy: socket.socket) -> None:
    while True:
        greedy.sendall(GREED)


def test_what_strangers_send_does_not_fill_the_log(lan: HttpProcess) -> None:
    upgrade = b"GET /mcp HTTP/1.1\r\nHost: studio.test\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n"
    before = list(lan.later)
    for sent in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", upgrade):
        with lan.connect_raw() as connection:
            connection.sendall(sent)
            assert read_to_end(connection).startswith(b"HTTP/1.1 40")
    assert lan.status("GET", "/health") == 200
    assert lan.later == before


def test_a_new_session_takes_the_place_of_one_that_is_idle(environment: dict[str, str], tmp_path: Path) -> None:
    with serve_http({**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}, limits="_MAX_SESSIONS=3") as server:
        calm = begin_session(server, token=server.token)
        others = [begin_session(server) for _ in range(4)]
        asked = [server.status("POST", "/mcp", PING, Mcp_Session_Id=session, **JSON) for session in others]
        assert asked == [404, 404, 200, 200]
        # Of another token, however long it was idle.
        assert server.ask("POST", "/mcp", PING, token=server.token, Mcp_Session_Id=calm, **JSON)[0].status == 200


def test_sessions_are_not_more_than_allowed(environment: dict[str, str], tmp_path: Path) -> None:
    with serve_http({**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}, limits="_MAX_SESSIONS=1") as server:
        listening = {"Accept": "text/event-stream", "Mcp-Session-Id": begin_session(server)}
        connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/mcp", headers=listening)
            assert connection.getresponse().status == 200
            assert server.status("POST", "/mcp", HELLO, **JSON) == 503


def begin_session(server: HttpProcess, token: str | None = None) -> str:
    """The id of a new session of the older revisions."""
    answer, _ = server.ask("POST", "/mcp", HELLO, token=token, **JSON)
    assert answer.status == 200
    return answer.headers["mcp-session-id"]


def test_the_token_is_shown_once_in_a_file_of_its_owner(environment: dict[str, str], tmp_path: Path) -> None:
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}
    with serve_http(own) as server:
        assert [line for line in server.lines if server.token in line]
        assert server.token_file == tmp_path / "tokens.txt"
        assert stat.S_IMODE(server.token_file.stat().st_mode) == 0o600
        assert len(server.token) >= 40
        first = server.token
        assert server.end() == 0
        assert not [line for line in server.later if server.token in line]
    (tmp_path / "tokens.txt").chmod(0o644)
    with serve_http(own) as server:
        assert server.token == first
        assert not [line for line in server.lines if server.token in line]
        assert stat.S_IMODE(server.token_file.stat().st_mode) == 0o600


def test_tokens_are_added_and_taken_back_while_it_runs(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "ours.txt"
    file.write_text(f"# guests\nanna {'a' * 32}\n{'b' * 32}\n", encoding="utf-8")
    with serve_http(
        {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}, "127.0.0.1:0", "--token-file", str(file)
    ) as s:
        assert s.status("POST", "/mcp", PING, **JSON) == 401
        assert s.ask("GET", "/images/v1", token="a" * 32)[0].status == 404
        assert s.ask("GET", "/images/v1", token="b" * 32)[0].status == 404
        file.write_text(f"berta {'c' * 33}\n", encoding="utf-8")
        assert s.ask("GET", "/images/v1", token="a" * 32)[0].status == 401
        assert s.ask("GET", "/images/v1", token="c" * 33)[0].status == 404
        file.write_text("damaged\n", encoding="utf-8")
        assert s.ask("GET", "/images/v1", token="c" * 33)[0].status == 401
        file.unlink()
        assert s.ask("GET", "/images/v1", token="c" * 33)[0].status == 401


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--http", "0.0.0.0:0"], "--insecure-lan"),
        (["--http", "0.0.0.0:0", "--insecure-lan"], "--allow-host"),
        (["--http", "nowhere.invalid"], "no address of this machine"),
        (["--http", "--allow-host", "http://studio.test"], "is no name or address"),
        (["--http", "--allow-origin", "*"], "is no origin of a page"),
        (["--http", "127.0.0.1:99999"], "must be a number from 0 to 65535"),
        (["--http", "--tls-cert", "none.pem"], "give --tls-cert and --tls-key"),
        (["--http", "--tls-cert", "none.pem", "--tls-key", "none.pem"], "no certificate with its key"),
        (["--http", "127.0.0.1:0", "--token-file", "weak.txt"], "at least 20 letters"),
        (["--token-file", "weak.txt"], "are for --http"),
    ],
)
def test_a_start_that_would_not_be_safe_is_refused_in_a_sentence(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    (tmp_path / "weak.txt").write_text("me secret\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, ["serve", *arguments], env={**environment, "COLUMNS": "200"})
    assert ended.exit_code in {1, 2}
    assert said in ended.output
    assert "secret" not in ended.output


def test_a_port_that_is_taken_is_said(local: HttpProcess, environment: dict[str, str]) -> None:
    ended = CliRunner().invoke(main, ["serve", "--http", str(local.port)], env=environment)
    assert ended.exit_code == 1
    assert "Is the server running already?" in ended.output


@pytest.fixture
def certificate(tmp_path: Path) -> list[str]:
    """Options with a certificate and its key."""
    certificate, key = make_certificate()
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    return ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]


def test_it_speaks_tls_with_a_certificate(environment: dict[str, str], tmp_path: Path, certificate: list[str]) -> None:
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}
    with serve_http(own, "0.0.0.0:0", "--allow-host", "studio.test", *certificate) as server:
        assert server.url.startswith("https://")
        assert not [line for line in server.lines if "WARNING" in line]
        response, _ = server.ask("GET", "/images/v1", token=server.token, Host="studio.test")
        assert response.status == 404
        assert server.status("GET", "/health", Host="studio.test", Origin="https://studio.test") == 200
        assert server.status("GET", "/health", Host="studio.test", Origin="http://studio.test") == 403
        with server.connect_raw() as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" not in read_to_end(plain)


def test_silent_connections_take_little_memory_with_tls_too(
    environment: dict[str, str], tmp_path: Path, certificate: list[str]
) -> None:
    own = {**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}
    limits = "_FIRST_REQUEST_SECONDS=1000.0 _MAX_ENCRYPTED=60"
    with serve_http(own, "127.0.0.1:0", *certificate, limits=limits) as server:
        assert server.status("GET", "/health") == 200
        before = server.measure_memory()
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(server.connect_raw()) for _ in range(300)]
            assert server.status("GET", "/health") == 200
            assert [read_to_end(connection) for connection in idle[:240]] == [b""] * 240
            assert server.measure_memory() - before < 30_000_000
        assert server.status("GET", "/health") == 200
        assert server.end() == 0
        assert not [line for line in server.later if "Traceback" in line]


def test_without_tls_in_a_network_it_says_who_can_read_along(environment: dict[str, str], tmp_path: Path) -> None:
    with serve_http({**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}, *LAN) as server:
        server.end()
    assert [line for line in server.later if line.startswith("WARNING: without TLS")]


def test_a_picture_is_served_whole_in_part_small_and_not_again(lan: HttpProcess, environment: dict[str, str]) -> None:
    body, named = build_call(1, prompt="a fox", width=256, height=128, steps=1, preview="never")
    made, _ = lan.ask("POST", "/mcp", body, token=lan.token, **named)
    assert made.status == 200
    (file,) = Path(environment["DRAWTHINGS_OUTPUT_DIR"]).glob("*.png")
    data = file.read_bytes()

    whole, got = lan.ask("GET", "/images/v1", token=lan.token)
    assert (whole.status, got) == (200, data)
    assert whole.headers["Content-Type"] == "image/png"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in whole.headers["Cache-Control"]
    assert "private" in whole.headers["Cache-Control"]
    tag = whole.headers["ETag"]
    head, nothing = lan.ask("HEAD", "/images/V1", token=lan.token)
    assert (head.status, nothing, head.headers["Content-Length"]) == (200, b"", str(len(data)))

    for asked, part in {"bytes=0-9": data[:10], "bytes=10-": data[10:], "bytes=-5": data[-5:]}.items():
        partly, got = lan.ask("GET", "/images/v1", token=lan.token, Range=asked)
        assert (partly.status, got) == (206, part)
    assert partly.headers["Content-Range"] == f"bytes {len(data) - 5}-{len(data) - 1}/{len(data)}"
    assert lan.ask("GET", "/images/v1", token=lan.token, Range="bytes=0-9", If_Range='"other"')[1] == data
    assert lan.ask("GET", "/images/v1", token=lan.token, Range=f"bytes={len(data)}-")[0].status == 416
    for endless in (f"bytes={'9' * 5000}-", f"bytes=-{'9' * 5000}"):
        assert lan.ask("GET", "/images/v1", token=lan.token, Range=endless)[1] == data
    assert lan.ask("GET", "/images/v1", token=lan.token, If_None_Match=tag)[0].status == 304

    small, got = lan.ask("GET", "/images/v1?edge=64", token=lan.token)
    assert Image.open(io.BytesIO(got)).size == (64, 32)
    assert small.headers["ETag"] != tag
    for wrong in ("0", "99999", "x", "-64", "6_4", "٦٤٠"):
        path = f"/images/v1?edge={wrong}".encode().decode("latin-1")
        with contextlib.suppress(UnicodeEncodeError):
            assert lan.ask("GET", path, token=lan.token)[0].status == 400
    assert lan.ask("POST", "/images/v1", token=lan.token)[0].status == 405
    for absent in ("v99", "..", "%2e%2e%2fpictures", "latest", "a" * 5000):
        assert lan.ask("GET", f"/images/{absent}", token=lan.token)[0].status == 404

    file.write_bytes(b"something else")
    changed, said = lan.ask("GET", "/images/v1", token=lan.token)
    assert changed.status == 404
    assert b"something else" not in said


def test_a_signal_ends_it_with_streams_open(environment: dict[str, str], tmp_path: Path) -> None:
    with serve_http({**environment, "DRAWTHINGS_STATE_DIR": str(tmp_path)}) as server:
        session = begin_session(server)
        connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/mcp", headers={"Accept": "text/event-stream", "Mcp-Session-Id": session})
            assert connection.getresponse().status == 200
            assert server.end() == 0
        assert not [line for line in server.later if "Traceback" in line]
