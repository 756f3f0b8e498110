"""A stream between two dialects: what is held back, what ends it, and what never reaches the client."""

from __future__ import annotations

import json

import pytest

from flumegate.dialects.registry import CODECS
from flumegate.engine.pipe import Pipe
from flumegate.engine.seen import Seen
from flumegate.errors import GatewayError
from flumegate.ir import events as e
from flumegate.ir.answer import Asked, Finish
from flumegate.ir.failure import Failure
from flumegate.ir.parts import Text
from flumegate.ir.request import Request
from flumegate.ir.restore import Restorer
from flumegate.ir.usage import Usage
from flumegate.upstream import errors
from rig.exchanges import provider

STARTED = e.Started("id-1", "model-1")
HELLO = (e.Opened(0, Text("")), e.Grew(0, "hello"), e.Closed(0))
FINISHED = e.Finished(Finish("stop", "STOP"))


class Scripted:
    """A reader that says what it was told, whatever it reads."""

    def __init__(self, *reads: list[e.Event]) -> None:
        self.reads = list(reads)

    def feed(self, data: bytes) -> list[e.Event]:
        del data
        return self.reads.pop(0)

    def close(self) -> list[e.Event]:
        return self.reads.pop(0)


def pipe(*reads: list[e.Event]) -> Pipe:
    """Return a pipe to a chat client."""
    writer = CODECS["chat"].stream_writer
    assert writer is not None
    asked = Asked(Request(dialect="chat", model="asked", stream=True), "0123", 1)
    return Pipe(Scripted(*reads), writer(asked), Restorer({}), Seen(), provider())


def test_the_start_is_held_until_something_is_said() -> None:
    """Until then a failure can still have a status of its own."""
    one = pipe([STARTED, e.Counted(Usage(1))], list(HELLO), [FINISHED, e.Ended()])
    assert one.feed(b"x") == b""
    assert not one.meaningful
    first = one.feed(b"x")
    assert b'"role":"assistant"' in first
    assert b"hello" in first
    assert one.close().endswith(b"data: [DONE]\n\n")
    assert one.over
    assert one.error is None


def test_a_failure_before_anything_is_raised() -> None:
    """Nothing was written, so it is answered as an error."""
    one = pipe([STARTED], [e.Failed(Failure("overloaded", "busy"))])
    one.feed(b"x")
    with pytest.raises(GatewayError, match="busy") as refused:
        one.feed(b"x")
    assert refused.value.status == 503


def test_a_failure_in_the_middle_is_written() -> None:
    """In the client's own form, without addresses, and nothing follows it."""
    one = pipe(
        [STARTED, *HELLO], [e.Failed(Failure("internal", "see https://inside.example/x")), FINISHED], [e.Ended()]
    )
    one.feed(b"x")
    out = one.feed(b"x")
    assert b'"error"' in out
    assert b"inside.example" not in out
    assert one.over
    assert one.error is not None
    assert one.feed(b"x") == b""
    assert one.fail(errors.cut("up")) == b""


def test_an_impossible_order_is_a_failure() -> None:
    """Whoever writes for a client never sees it."""
    one = pipe([STARTED, *HELLO], [e.Grew(7, "from nowhere"), e.Ended()])
    one.feed(b"x")
    assert b"out of order" in one.feed(b"x")
    assert one.error is not None
    assert one.error.code == "upstream_garbage"


def test_a_broken_connection_ends_it_with_an_error() -> None:
    """Never as if it were whole."""
    one = pipe([STARTED, *HELLO])
    one.feed(b"x")
    out = one.fail(errors.cut("up"))
    events = [line.removeprefix(b"data: ") for line in out.split(b"\n\n") if line]
    assert "error" in json.loads(events[0])
    assert not any(b'finish_reason":"stop' in event for event in events)


def test_what_the_record_wants_is_seen() -> None:
    """Model, last usage and the provider's own reason."""
    writer = CODECS["messages"].stream_writer
    assert writer is not None
    seen = Seen()
    asked = Asked(Request(dialect="messages", model="asked", stream=True), "0123", 1)
    script = Scripted([STARTED, e.Counted(Usage(1)), *HELLO, e.Counted(Usage(2, 3)), FINISHED, e.Ended()])
    one = Pipe(script, writer(asked), Restorer({}), seen, provider())
    one.feed(b"x")
    assert (seen.model, seen.usage, seen.finish_reason, seen.complete) == ("model-1", Usage(2, 3), "STOP", True)
    assert one.losses == []
