"""Frames around an answer's pieces."""

from __future__ import annotations

from flumegate.mock import frames


def test_frames_hold_json_on_one_line() -> None:
    """Line ends in texts are escaped, so a frame's own are the only ones."""
    value = {"b": "x\ny\u2028", "a": 1}
    assert frames.event(value) == 'data: {"b":"x\\ny\u2028","a":1}\n\n'.encode()
    assert frames.named_event("ping", {}) == b"event: ping\ndata: {}\n\n"
    assert frames.line(value).count(b"\n") == 1
