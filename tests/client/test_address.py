from __future__ import annotations

import pytest

from drawthings_mcp.address import Address, parse_address
from drawthings_mcp.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 7859),
        ("localhost:7860", "localhost", 7860),
        (" Studio.local:7859 ", "studio.local", 7859),
        ("Mac-Studio.local.", "mac-studio.local", 7859),
        ("192.168.1.20:1", "192.168.1.20", 1),
        ("[::1]:65535", "::1", 65535),
        ("[::1]", "::1", 7859),
        ("fe80::1%en0", "fe80::1%en0", 7859),
        ("2001:DB8::5", "2001:db8::5", 7859),
    ],
)
def test_every_written_form_of_an_address_is_read(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


def test_a_written_address_reads_back_as_the_same() -> None:
    for text in ("localhost:7859", "[fe80::1%en0]:7860"):
        assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":7859", "localhost:", "localhost:0", "localhost:65536", "localhost:-1", "localhost:78x9", "localhost:٧"),
        *("[::1", "[::1]7859", "[studio]:1", "1:2:3", "a..b", "-a", "a b", "7859", "user@host", "host/path", "a" * 64),
    ],
)
def test_what_is_not_an_address_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"Write host, host:port or \[IPv6\]:port"):
        parse_address(text)


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs"])
def test_a_url_is_refused_with_the_address_to_write_in_its_place(scheme: str) -> None:
    with pytest.raises(InvalidInputError, match=f"without '{scheme}://': 'studio.local:7859'"):
        parse_address(f"{scheme}://studio.local:7859/path")
