"""The command line."""

from __future__ import annotations

import pytest

from flumegate.mock.options import OptionError, Options, address, read


def test_options_are_read() -> None:
    """Each has its place and its default."""
    assert read([]) == Options()
    assert read(
        ["--listen", "[::1]:0", "--key", "k", "--quiet", "--allow-remote", "--fd", "3", "--seed", "7"]
    ) == Options(listen="[::1]:0", fd=3, key="k", quiet=True, allow_remote=True, seed=7)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:4180", ("127.0.0.1", 4180)),
        ("127.0.0.2:0", ("127.0.0.2", 0)),
        ("localhost:1", ("localhost", 1)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_loopback_is_allowed(listen: str, expected: tuple[str, int]) -> None:
    """Host and port of an address on this machine."""
    assert address(Options(listen=listen)) == expected


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.org:1"])
def test_everything_else_needs_a_word(listen: str) -> None:
    """Refused with the way out, allowed with it."""
    with pytest.raises(OptionError, match="--allow-remote"):
        address(Options(listen=listen))
    assert address(Options(listen=listen, allow_remote=True))[1] == 1


@pytest.mark.parametrize("listen", ["", "4180", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80"])
def test_what_is_no_address_is_refused(listen: str) -> None:
    """The right form is told."""
    with pytest.raises(OptionError, match="host:port"):
        address(Options(listen=listen))
