from __future__ import annotations

import pytest

from flumegate.door.upload import MAX_WAITING_BYTES, Upload


class Client:
    """The client's side: what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def hold(self) -> None:
        self.told.append("hold")

    def release(self) -> None:
        self.told.append("release")

    def invite(self) -> None:
        self.told.append("invite")


class Upstream:
    """The side where the pieces go."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = 0

    def write_body(self, piece: bytes) -> None:
        assert not self.ended
        self.pieces.append(piece)

    def end_body(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("attached_after", range(5))
def test_pieces_arrive_in_order_and_once(attached_after: int) -> None:
    """Whenever the upstream is found, it gets every piece, then the end, once."""
    client, upstream = Client(), Upstream()
    upload = Upload(client, 6)
    for number, piece in enumerate((b"ab", b"cd", b"ef", b"", None)):
        if number == attached_after:
            upload.attach(upstream)
        if piece:
            upload.push(piece)
        elif piece is not None:
            upload.end()
    assert (upstream.pieces, upstream.ended, upload.ended) == ([b"ab", b"cd", b"ef"], 1, True)
    assert upload.length == 6
    assert upload.peek() == b""


def test_what_waits_can_be_looked_at() -> None:
    """The model of a form is read from its first bytes before anybody takes them."""
    upload = Upload(Client(), None)
    assert upload.peek() == b""
    upload.push(b"ab")
    upload.push(b"cd")
    assert (upload.peek(), upload.peek(), upload.length) == (b"abcd", b"abcd", None)


def test_memory_is_flat_while_nobody_takes_the_pieces() -> None:
    """Beyond the limit the client is held; the first look of an upstream invites and releases it."""
    client, upstream = Client(), Upstream()
    upload = Upload(client, None)
    upload.push(bytes(MAX_WAITING_BYTES))
    assert client.told == []
    upload.push(b"x")
    assert client.told == ["hold"]
    upload.attach(upstream)
    assert client.told == ["hold", "invite", "release"]
    assert b"".join(upstream.pieces) == bytes(MAX_WAITING_BYTES) + b"x"


def test_a_slow_upstream_holds_the_client() -> None:
    """The source that `attach` returns is the client itself."""
    client = Client()
    source = Upload(client, None).attach(Upstream())
    client.told.clear()
    source.pause()
    source.resume()
    assert client.told == ["hold", "release"]


def test_an_upstream_that_is_full_at_once_holds_the_client() -> None:
    """What it says while it takes the waiting pieces is the last word."""
    client = Client()

    class Full(Upstream):
        def write_body(self, piece: bytes) -> None:
            super().write_body(piece)
            upload.pause()

    upload = Upload(client, None)
    upload.push(b"x")
    upload.attach(Full())
    assert client.told[-1] == "hold"
