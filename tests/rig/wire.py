"""Answers of the wire, taken apart independently of the product's own readers."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """One server-sent event."""

    name: bytes
    data: bytes


def events_of(body: bytes) -> list[Event]:
    """Return the events of a whole stream with LF or CRLF line ends; every event must end with its blank line.

    Raises:
        AssertionError: the last event has no end.
    """
    plain = body.replace(b"\r\n", b"\n")
    assert plain.endswith(b"\n\n"), plain[-200:]
    found = []
    for block in plain.split(b"\n\n")[:-1]:
        name, data = b"", []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                name = value
            elif field == b"data":
                data.append(value)
        if data:
            found.append(Event(name, b"\n".join(data)))
    return found
