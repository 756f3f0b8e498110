"""A request body that is passed on while it arrives, with flat memory: a slow upstream pauses the client."""

from __future__ import annotations

from typing import Protocol

from flumegate.exchange import Sink, Source

MAX_WAITING_BYTES = 65_536


class Gate(Protocol):
    """The client's side of an upload."""

    def hold(self) -> None:
        """Stop reading from the client."""

    def release(self) -> None:
        """Read on."""

    def invite(self) -> None:
        """Tell a client that asked with `Expect: 100-continue` to go on."""


class Upload:
    """The pieces of one body, kept until a sink is attached and handed on from then on."""

    __slots__ = ("_gate", "_pieces", "_sink", "_waiting_bytes", "ended", "length")

    def __init__(self, gate: Gate, length: int | None) -> None:
        self._gate = gate
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._sink: Sink | None = None
        self.length = length
        self.ended = False

    @property
    def full(self) -> bool:
        """As much has arrived as is kept before a sink is attached."""
        return self._waiting_bytes > MAX_WAITING_BYTES

    def push(self, piece: bytes) -> None:
        """Take a piece from the client."""
        if self._sink is not None:
            self._sink.write_body(piece)
            return
        self._pieces.append(piece)
        self._waiting_bytes += len(piece)
        if self.full:
            self._gate.hold()

    def end(self) -> None:
        """The client has sent all."""
        self.ended = True
        if self._sink is not None:
            self._sink.end_body()

    def peek(self) -> bytes:
        """Return what has arrived and was not handed over yet."""
        return b"".join(self._pieces)

    def splice(self, start: int, end: int, value: bytes) -> None:
        """Replace bytes of what `peek` returns; the announced length follows."""
        arrived = self.peek()
        self._pieces = [arrived[:start] + value + arrived[end:]]
        if self.length is not None:
            self.length += len(value) - (end - start)

    def attach(self, sink: Sink) -> Source:
        """Hand over what has arrived and go on piece by piece; return who is to be paused when the sink is full."""
        self._sink = sink
        if not self.ended:  # else whoever waits for an invitation is the request behind this one
            self._gate.invite()
        self._gate.release()
        pieces, self._pieces = self._pieces, []
        for piece in pieces:
            sink.write_body(piece)
        if self.ended:
            sink.end_body()
        return self

    def pause(self) -> None:
        """See `Source`."""
        self._gate.hold()

    def resume(self) -> None:
        """See `Source`."""
        self._gate.release()
