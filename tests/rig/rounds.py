"""Many requests after each other, on as few connections as the other side allows, each answer read without forgiveness.

What a connection remembers of one caller must mean nothing for the next, so callers take turns on one and the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from rig import raw
from rig.raw import Answer, Wire


def ask_all(port: int, requests: Iterable[bytes]) -> list[Answer]:
    """Return the answers, in the order of the requests."""
    waiting = iter(requests)
    request = next(waiting, None)
    answers: list[Answer] = []
    while request is not None:
        with raw.wire(port) as wire:
            is_open = True
            while request is not None and is_open:
                answer = _ask(wire, request)
                answers.append(answer)
                is_open = answer.headers.get("connection", "") != "close" and wire.end == "open"
                request = next(waiting, None)
    return answers


def _ask(wire: Wire, request: bytes) -> Answer:
    wire.data.clear()
    wire.send(request)
    if request.startswith(b"HEAD "):
        status, headers = raw._read_head(wire.until(b"\r\n\r\n")[:-4])
        return Answer(status, headers, b"", complete=True)
    answers = wire.answers(1)
    assert answers, f"no answer to {request[:200]!r}: {bytes(wire.data)!r}"
    assert answers[0].complete, f"half an answer to {request[:200]!r}"
    return answers[0]
