"""Frames around an answer's pieces."""

from __future__ import annotations

import pytest

from flumegate.mock import frames
from flumegate.wire import eventstream


def test_frames_hold_json_on_one_line() -> None:
    """Line ends in texts are escaped, so a frame's own are the only ones."""
    value = {"b": "x\ny\u2028", "a": 1}
    assert frames.event(value) == 'data: {"b":"x\\ny\u2028","a":1}\n\n'.encode()
    assert frames.named_event("ping", {}) == b"event: ping\ndata: {}\n\n"
    assert frames.line(value).count(b"\n") == 1


def test_binary_events_are_event_streams() -> None:
    """The gateway's own reader, which shares no code with them, takes them."""
    data = frames.binary_event({":event-type": "x", ":message-type": "event"}, b'{"a":"caf\xc3\xa9"}')
    reader = eventstream.Reader()
    assert reader.feed(data) == [({":event-type": "x", ":message-type": "event"}, b'{"a":"caf\xc3\xa9"}')]


@pytest.mark.parametrize("is_binary", [False, True])
def test_broken_events_keep_their_framing(is_binary: bool) -> None:
    """Only the JSON lacks its end."""
    if is_binary:
        reader = eventstream.Reader()
        [frame] = reader.feed(frames.broken(frames.binary_event({":event-type": "x"}, b'{"a":"bcd"}')))
        assert (frame.headers, frame.payload) == ({":event-type": "x"}, b'{"a":"bc')
    else:
        assert frames.broken(frames.event({"a": "bcd"})) == b'data: {"a":"bc\n\n'
