from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from flumegate.processes import boot
from flumegate.processes.boot import Channel, ChannelClosedError, Facts, read_facts, read_options

FACTS = Facts(
    "127.0.0.1", 4100, 2, 60.0, False, "data", "data/run/link.sock", "sqlite:///x", 30, "info", "auto", ["a"], "::1:0"
)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), Channel(other)


def test_messages_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    """Also several at once, and one in pieces."""
    ends[0].send("beat", 1)
    ends[0].send("boot", FACTS._asdict())
    first, second = ends[1].receive()
    assert first == {"beat": 1}
    assert read_facts(second["boot"]) == FACTS
    ends[0].socket.send(b'{"rel')
    assert ends[1].receive() == []
    ends[0].socket.send(b'oad": 1}\n')
    assert ends[1].receive() == [{"reload": 1}]
    assert ends[1].receive() == []


def test_a_descriptor_comes_along(ends: tuple[Channel, Channel]) -> None:
    """The receiver owns a copy of the same open file."""
    reader, writer = os.pipe()
    ends[0].send("boot", {}, descriptors=[writer])
    os.close(writer)
    ends[1].receive()
    (copy,) = ends[1].descriptors
    os.write(copy, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(copy)
    os.close(reader)


def test_the_death_of_the_other_side_is_noticed(ends: tuple[Channel, Channel]) -> None:
    """By whoever reads and by whoever writes."""
    ends[0].socket.close()
    with pytest.raises(ChannelClosedError):
        ends[1].receive()
    with pytest.raises(ChannelClosedError):
        ends[1].send("beat", 1)


def test_a_side_that_does_not_read_costs_a_bounded_amount(ends: tuple[Channel, Channel]) -> None:
    """Messages to a suspended process are dropped whole, so that what arrives later is still sense."""
    for number in range(20_000):
        ends[0].send("beat", number)
    assert len(ends[0]._unsent) <= boot.MESSAGE_BYTES
    received: list[dict[str, object]] = []
    while part := ends[1].receive():
        received += part
    ends[0].send("last", 1)
    while part := ends[1].receive():
        received += part
    numbers = [message["beat"] for message in received if "beat" in message]
    assert numbers == list(range(len(numbers)))
    assert received[-1] in ({"last": 1}, {"beat": len(numbers) - 1})


def read_on(channel: Channel) -> None:
    while channel.socket.fileno() >= 0:
        channel.wait(5)


@pytest.mark.parametrize("nonsense", [b"not json\n", b"x" * (boot.MESSAGE_BYTES + 10)])
def test_nonsense_is_the_end(ends: tuple[Channel, Channel], nonsense: bytes) -> None:
    """The two sides are one program; anything else is a fault that must not be guessed at."""
    ends[0].socket.settimeout(5)
    ends[0].socket.sendall(nonsense)
    with pytest.raises(ChannelClosedError, match="a message"):
        read_on(ends[1])


def test_waiting_has_an_end(ends: tuple[Channel, Channel]) -> None:
    """Nothing came is an empty list."""
    assert ends[0].wait(0) == []


@pytest.mark.parametrize("value", [None, [], {}, FACTS._asdict() | {"more": 1}])
def test_facts_of_another_release_are_refused(value: object) -> None:
    """Control and supervisor must agree."""
    with pytest.raises(ChannelClosedError):
        read_facts(value)


def test_options_are_pairs_of_known_names() -> None:
    """Anything else names what is known."""
    assert read_options(["--fd", "3", "--name", "-x"], ("fd", "name")) == {"fd": "3", "name": "-x"}
    for wrong in (["--fd"], ["--other", "1"], ["fd2", "1"]):
        with pytest.raises(ValueError, match="--fd, --name"):
            read_options(wrong, ("fd", "name"))


def test_addresses_stand_as_in_a_url() -> None:
    """IPv6 in brackets."""
    assert boot.authority("127.0.0.1", 80) == "127.0.0.1:80"
    assert boot.authority("::1", 80) == "[::1]:80"
