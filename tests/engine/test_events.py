from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flumegate.dialects.ollama.tap import OllamaTap
from flumegate.dialects.openai.chat.tap import ChatTap, is_usage_only
from flumegate.dialects.openai.responses.tap import ResponsesTap
from flumegate.dialects.tap import Tap
from flumegate.engine.events import MAX_HELD_BYTES, EventStream, LineStream
from flumegate.ir.usage import Usage
from flumegate.wire import sse
from rig import cuts

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'
CHUNKS = [
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}',
    b'data: {"choices":[{"index":0,"delta":{"content":"a\xe2\x80\xa8b"}}]}',
    b'data: {"choices":[{"index":0,"delta":{"content":"\\"usage\\":{ \\"choices\\":[]"}}]}',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
    b'data: {"choices":[],"prompt_filter_results":[]}',
    b"data: [DONE]",
    b": ping",
    b"event: x\nid: 1\ndata: {",
    b"",
    USAGE,
    USAGE.replace(b'"choices":[]', b'"choices" : [ ]'),
]
ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
STREAMS = st.lists(st.tuples(st.sampled_from(CHUNKS), ENDS), max_size=12).map(
    lambda pairs: b"".join(chunk + end for chunk, end in pairs)
)


class Client:
    """What came out of a stream, write by write."""

    def __init__(self, tap: Tap, *, withhold: bool = False) -> None:
        self.tap = tap
        self.starts = 0
        self.events = EventStream(tap, self._note_start, withhold_usage=withhold)
        self.writes: list[bytes] = []

    def _note_start(self) -> None:
        assert self.tap.started
        self.starts += 1

    def is_broken(self) -> bool:
        return self.events.broken

    def take(self, *pieces: bytes) -> None:
        self.writes += [self.events.take(piece) for piece in pieces]

    def close(self) -> bytes:
        self.writes.append(self.events.close())
        return b"".join(self.writes)


def whole_events(block: bytes) -> bool:
    return not block or sse.last_end(block) == len(block)


@cuts.law
@given(STREAMS, cuts.POSITIONS)
@example(USAGE + b"\n\n\n\n", [len(USAGE) + 3])
@example(USAGE + b"\r\n\r\n", [len(USAGE) + 1, len(USAGE) + 2, len(USAGE) + 3])
def test_bytes_in_are_bytes_out_in_whole_events(stream: bytes, positions: list[int]) -> None:
    """However the bytes come, they go on unchanged, and never as half an event."""
    client = Client(ChatTap())
    client.take(*cuts.at(stream, positions))
    assert all(whole_events(write) for write in client.writes)
    out = client.close()
    assert stream.startswith(out)
    if client.tap.complete:
        assert out == stream
    elif sse.last_end(stream) == len(stream):
        # Of a stream without its end, surplus blank lines may be left behind: what follows is our error event.
        assert stream[len(out) :].strip(b"\r\n") == b""
    assert not client.is_broken()
    assert client.starts == client.tap.started


@cuts.law
@given(STREAMS, cuts.POSITIONS)
def test_only_usage_events_are_withheld(stream: bytes, positions: list[int]) -> None:
    """A client that did not ask gets everything but the events that `include_usage` added, and all of those."""
    stream = CHUNKS[1] + b"\n\n" + stream + CHUNKS[3] + b"\n\n"
    expected = b"".join(event for event in sse.split(stream) if not is_usage_only(event))
    client = Client(ChatTap(), withhold=True)
    client.take(*cuts.at(stream, positions))
    out = client.close()
    assert out.replace(b"\r", b"").replace(b"\n", b"") == expected.replace(b"\r", b"").replace(b"\n", b"")
    assert b"prompt_tokens" not in out
    assert client.tap.usage == (Usage(1, 2) if USAGE[-20:] in stream else None)


@cuts.law
@given(cuts.POSITIONS)
def test_withholding_leaves_no_byte_of_the_event(positions: list[int]) -> None:
    """With the line ends that servers use, what is left is exactly the other events."""
    for blank in (b"\n\n", b"\r\n\r\n"):
        before, after = CHUNKS[1] + blank + CHUNKS[3] + blank, b"data: [DONE]" + blank
        client = Client(ChatTap(), withhold=True)
        client.take(*cuts.at(before + USAGE + blank + after, positions))
        assert client.close() == before + after


def test_a_last_event_without_its_blank_line_is_passed_on() -> None:
    """Some servers leave it out: the bytes are the client's all the same."""
    client = Client(ChatTap())
    client.take(CHUNKS[1] + b"\n\n" + CHUNKS[3])
    assert client.writes == [CHUNKS[1] + b"\n\n"]
    assert client.close() == CHUNKS[1] + b"\n\n" + CHUNKS[3]
    assert client.tap.complete


def test_a_last_usage_event_without_its_blank_line_is_withheld() -> None:
    """It is still one, and still counted."""
    client = Client(ChatTap(), withhold=True)
    client.take(CHUNKS[3] + b"\n\n" + USAGE)
    assert client.close() == CHUNKS[3] + b"\n\n"
    assert client.tap.usage == Usage(1, 2)


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data: [DONE]\n", CHUNKS[3] + b"\n"])
def test_an_end_without_its_blank_line_is_an_end(end: bytes) -> None:
    """Marker or reason: it came whole, so the answer did."""
    client = Client(ChatTap())
    client.take(CHUNKS[1] + b"\n\n" + end)
    assert client.close() == CHUNKS[1] + b"\n\n" + end
    assert client.tap.complete


@pytest.mark.parametrize("end", [b"data: [DONE", CHUNKS[3][:-2], b'data: {"error":{"message":"no"'])
def test_half_an_end_is_none(end: bytes) -> None:
    """What did not come whole says nothing."""
    client = Client(ChatTap())
    client.take(CHUNKS[1] + b"\n\n" + end)
    assert client.close() == CHUNKS[1] + b"\n\n"
    assert (client.tap.complete, client.tap.failed) == (False, False)


def test_half_an_event_of_a_cut_stream_is_not_passed_on() -> None:
    """An error event follows instead, and may not land inside it."""
    client = Client(ChatTap())
    client.take(CHUNKS[1] + b"\n\n" + CHUNKS[2][:30])
    assert client.close() == CHUNKS[1] + b"\n\n"
    assert not client.is_broken()


def test_an_error_at_the_very_end_is_passed_on() -> None:
    """The upstream's own words, with or without a blank line."""
    client = Client(ChatTap())
    client.take(b'data: {"error":{"message":"no"}}')
    assert client.close() == b'data: {"error":{"message":"no"}}'
    assert client.tap.failed


def test_the_start_is_told_once_and_not_by_comments() -> None:
    """Time to the first token: at the first event that says something."""
    client = Client(ChatTap())
    client.take(b": ping\n\n", CHUNKS[0] + b"\n\n")
    assert client.starts == 0
    client.take(CHUNKS[1] + b"\n\n", CHUNKS[1] + b"\n\n")
    assert client.starts == 1


HUGE = b"x" * (MAX_HELD_BYTES + 10)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_an_event_too_large_to_be_held_passes_in_pieces(end: bytes, size: int) -> None:
    """Memory is bounded; from its first piece to its end the stream is broken, then no more."""
    head = b'event: response.image\ndata: "'
    tail = b'"' + end
    client = Client(ResponsesTap())
    client.take(head, HUGE)
    assert client.is_broken()
    assert b"".join(client.writes) == head + HUGE
    for piece in cuts.at(tail, range(0, len(tail), size)):
        client.take(piece)
    assert not client.is_broken()
    client.take(b"data: {}\n\n")
    assert client.writes[-1] == b"data: {}\n\n"


def test_line_ends_between_the_pieces_of_a_large_event_are_seen() -> None:
    """The limit may fall right between the two line ends of a blank line."""
    client = Client(ResponsesTap())
    client.take(b"data: " + HUGE + b"\n")
    assert client.is_broken()
    client.take(b"\n")
    assert not client.is_broken()
    assert b"".join(client.writes) == b"data: " + HUGE + b"\n\n"


def test_a_large_event_that_never_ends_stays_broken() -> None:
    """Nothing can be written behind half an event: the connection must be cut, whatever else was seen."""
    end = {"type": "response.completed", "response": {"status": "completed", "output": [HUGE.decode()]}}
    whole = b"event: response.completed\ndata: %b" % json.dumps(end).encode()
    client = Client(ResponsesTap())
    client.take(whole)
    client.close()
    assert client.is_broken()


def test_a_large_event_is_whole_once_it_ended() -> None:
    """An end of megabytes, images in it, completes like any other."""
    end = {"type": "response.completed", "response": {"status": "completed", "output": ["x" * 2_000_000]}}
    whole = b"data: %b\n\n" % json.dumps(end).encode()
    client = Client(ResponsesTap())
    client.take(*cuts.at(whole, range(0, len(whole), 65_536)))
    assert client.close() == whole
    assert [write for write in client.writes if write] == [whole]
    assert (client.tap.complete, client.tap.finish_reason) == (True, "completed")


LINES = [
    b'{"model":"m","message":{"role":"assistant","content":"a"},"done":false}',
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","eval_count":1}',
]


@cuts.law
@given(
    st.lists(st.sampled_from(LINES), max_size=6).map(lambda lines: b"".join(line + b"\n" for line in lines)),
    cuts.POSITIONS,
)
def test_lines_go_on_as_whole_lines(stream: bytes, positions: list[int]) -> None:
    """However the bytes come, they go on unchanged, and never as half a line."""
    tap = OllamaTap()
    events = LineStream(tap, lambda: None, withhold_usage=False)
    writes = [events.take(piece) for piece in cuts.at(stream, positions)]
    assert all(not write or write.endswith(b"\n") for write in writes)
    writes.append(events.close())
    assert b"".join(writes) == stream
    assert not events.broken


def test_half_a_line_is_never_passed_on() -> None:
    """A last line counts without its line end, but not without its end."""
    for tail, passed in ((LINES[1], LINES[1]), (LINES[1][:-5], b"")):
        tap = OllamaTap()
        events = LineStream(tap, lambda: None, withhold_usage=False)
        assert events.take(LINES[0] + b"\n" + tail) == LINES[0] + b"\n"
        assert events.close() == passed
        assert tap.complete == bool(passed)


def test_a_line_too_large_to_be_held_is_passed_on_in_pieces() -> None:
    """And then a cut can only be shown by cutting the connection."""
    events = LineStream(OllamaTap(), lambda: None, withhold_usage=False)
    huge = b'{"model":"' + b"x" * MAX_HELD_BYTES
    assert events.take(huge) == huge
    assert events.broken
    assert events.take(b'"}\n') == b'"}\n'
    assert not events.broken
