from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flumegate.processes import listen
from flumegate.processes.listen import AddressUnusableError


def test_port_zero_takes_a_free_port_and_all_workers_share_it() -> None:
    """Each worker has a socket of its own on the one address."""
    ends = listen.bind("127.0.0.1", 0, 3)
    addresses = {end.getsockname() for end in ends}
    assert len(ends) == 3
    assert len(addresses) == 1
    for _ in range(5):
        socket.create_connection(addresses.copy().pop()).close()
    for end in ends:
        end.close()


def test_ipv6_is_listened_on() -> None:
    """The address family follows the address."""
    (end,) = listen.bind("::1", 0, 1)
    with end:
        assert end.family == socket.AF_INET6


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_an_address_in_use_is_refused_however_it_is_used(count: int, shared: bool) -> None:
    """Not even a listener that would share lets a second gateway in."""
    taken = listen.bind("127.0.0.1", 0, 2 if shared else 1)
    port = taken[0].getsockname()[1]
    with pytest.raises(AddressUnusableError, match=f"127.0.0.1:{port} is in use.*--listen"):
        listen.bind("127.0.0.1", port, count)
    for end in taken:
        end.close()


def test_an_address_is_free_again_at_once() -> None:
    """Connections of the gateway before, still in TIME_WAIT, do not keep the next one from starting."""
    (first,) = listen.bind("127.0.0.1", 0, 1)
    port = first.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    first.settimeout(10)
    accepted, _ = first.accept()
    accepted.close()
    first.close()
    client.close()
    (second,) = listen.bind("127.0.0.1", port, 1)
    second.close()


def test_a_foreign_address_is_named() -> None:
    """192.0.2.1 (RFC 5737) belongs to no machine."""
    with pytest.raises(AddressUnusableError, match=r"192\.0\.2\.1:4100: this machine has no such address.*--listen"):
        listen.bind("192.0.2.1", 4100, 1)


def test_failures_leave_no_descriptor_behind() -> None:
    """A start that is refused frees what it took."""
    taken = listen.bind_loopback()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(AddressUnusableError):
            listen.bind("127.0.0.1", taken.getsockname()[1], 2)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    taken.close()
