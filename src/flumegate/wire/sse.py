"""Server-sent events as bytes: where events end, and what they hold (WHATWG HTML §9.2).

Line ends are LF, CR and CRLF only; U+2028, U+2029 and U+0085 are ordinary characters here, which is why nothing in this
module uses text `splitlines`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_EVENT_BYTES = 16_777_216
"""Pictures in an event have megabytes; nothing that is meant for a client has more."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_BLANKS = (b"\n\n", b"\n\r\n", b"\r\r")
_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its name (empty where none was given) and its data lines joined with LF."""

    name: bytes
    data: bytes


def last_end(block: bytes | bytearray, start: int = 0) -> int:
    """Return the index just behind the last blank line, or 0 if there is none.

    `start`: the bytes before it are known to hold no blank line; a line end in their last two may be half of one.
    A blank line whose CR comes last counts only after a CR: after a LF it is nearly always half of a CRLF.
    """
    begin = max(0, start - 2)
    best = 0
    for blank in _BLANKS:
        at = block.rfind(blank, begin)
        if at >= 0:
            best = max(best, at + len(blank))
    at = block.rfind(b"\n\r", begin, len(block) - 1)
    if at >= 0 and at + 2 > best:  # LF CRLF would have been found above
        return at + 2
    return best + 1 if best and block[best - 1 : best + 1] == b"\r\n" else best


def split(block: bytes) -> list[bytes]:
    """Return the whole events of a block as raw bytes, each with its blank line; a last part without one comes last."""
    parts: list[bytes] = []
    start = 0
    for match in _BLANK_LINE.finditer(block):
        parts.append(block[start : match.end()])
        start = match.end()
    if start < len(block):
        parts.append(block[start:])
    return parts


def read(block: bytes) -> Iterator[Event]:
    """Yield the events of a block of whole events; comments, `id`, `retry` and events without data are passed over.

    A last event without its blank line counts: some servers leave it out.
    """
    name = b""
    data: list[bytes] = []
    for line in _LINE_END.split(block.removeprefix(_BOM)):
        if not line:
            if data:
                yield Event(name, b"\n".join(data))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    if data:
        yield Event(name, b"\n".join(data))


class Reader:
    """Events out of a stream that arrives in any pieces. Bounded: an event beyond `max_bytes` is an error."""

    __slots__ = ("_held", "_max_bytes")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._held = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes; return the events that they complete.

        Raises:
            OverflowError: one event is larger than `max_bytes`.
        """
        held = self._held
        if not held and data.endswith(b"\n\n"):
            return list(read(data))
        searched = len(held)
        held += data
        end = last_end(held, searched)
        if len(held) - end > self._max_bytes:
            held.clear()
            raise OverflowError(f"an event of more than {self._max_bytes} bytes")
        if not end:
            return []
        block = bytes(held[:end])
        del held[:end]
        return list(read(block))

    def finish(self) -> list[Event]:
        """Return a last event that lacks only its blank line."""
        block = bytes(self._held)
        self._held.clear()
        return list(read(block))
