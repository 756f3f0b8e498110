"""Newline-delimited JSON as bytes: one document a line, as Ollama streams it."""

from __future__ import annotations

MAX_LINE_BYTES = 16_777_216
"""As of an event (see `sse`)."""


class Reader:
    """Lines out of a stream that arrives in any pieces; empty ones are passed over. Bounded by `max_bytes` a line."""

    __slots__ = ("_held", "_max_bytes")

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._held = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the lines that they complete.

        Raises:
            OverflowError: one line is longer than `max_bytes`.
        """
        held = self._held
        searched = len(held)
        held += data
        end = held.rfind(b"\n", searched) + 1
        if len(held) - end > self._max_bytes:
            raise OverflowError(f"a line of more than {self._max_bytes} bytes")
        if not end:
            return []
        block = bytes(held[:end])
        del held[:end]
        return _lines(block)

    def finish(self) -> list[bytes]:
        """Return a last line that lacks only its end."""
        block = bytes(self._held)
        self._held.clear()
        return _lines(block)


def _lines(block: bytes) -> list[bytes]:
    return [stripped for line in block.split(b"\n") if (stripped := line.strip(b" \t\r"))]
