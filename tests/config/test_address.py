from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from flumegate.config.address import check_network, read_listen


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:4100", "127.0.0.1", 4100, True),
        ("127.9.9.9:0", "127.9.9.9", 0, True),
        ("localhost:80", "localhost", 80, True),
        ("[::1]:4100", "::1", 4100, True),
        ("[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, True),
        ("0.0.0.0:4100", "0.0.0.0", 4100, False),
        ("[::]:4100", "::", 4100, False),
        (":4100", "0.0.0.0", 4100, False),
        ("gateway.example:4100", "gateway.example", 4100, False),
    ],
)
def test_an_address_is_read_as_operators_write_it(text: str, host: str, port: int, is_loopback: bool) -> None:
    """Only what this machine alone can reach counts as loopback: every safety rule hangs on it."""
    listen = read_listen(text)
    assert (listen.host, listen.port, listen.is_loopback) == (host, port, is_loopback)
    assert read_listen(str(listen)) == listen


@pytest.mark.parametrize(
    "text", ["", "4100", "127.0.0.1", "h:", "h:x", "h:65536", "h:-1", "::1:4100", "[x]:1", "http://h:1", "a b:1", "h:²"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """A port beyond 65535, an IPv6 address without brackets, a URL."""
    with pytest.raises(PydanticCustomError):
        read_listen(text)


def test_networks_are_brought_to_their_usual_form() -> None:
    """A host address within a network means the network."""
    assert check_network("10.1.2.3/8") == "10.0.0.0/8"
    assert check_network(" ::1 ") == "::1/128"
    with pytest.raises(PydanticCustomError):
        check_network("10.0.0.0/33")
