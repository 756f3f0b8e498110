"""Tap on Gemini's answers. Each golden names the recording that it is modelled on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from flumegate.dialects.gemini.tap import GeminiTap
from flumegate.engine.events import EventStream
from flumegate.ir.usage import Usage
from rig import cuts

USED = {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 2, "totalTokenCount": 15}


def chunk(text: str, finish: str = "", **members: Any) -> bytes:
    candidate = {"content": {"parts": [{"text": text}]}} | ({"finishReason": finish} if finish else {})
    return f"data: {json.dumps({'candidates': [candidate], 'modelVersion': 'river-1'} | members)}\r\n\r\n".encode()


STREAMS = {
    "whole": (  # google-stream
        chunk("a", usageMetadata={"promptTokenCount": 9}) + chunk("b") + chunk("", "STOP", usageMetadata=USED),
        (Usage(9, 6, None, None, 2), "river-1", "STOP", True, True, False),
    ),
    "cut": (chunk("a", usageMetadata=USED), (Usage(9, 6, None, None, 2), "river-1", "", True, False, False)),
    "blocked": (  # google-vertex-armor-prompt-template-text-gets-blocked
        b'data: {"promptFeedback":{"blockReason":"OTHER"},"usageMetadata":{"trafficType":"x"}}\r\n\r\n',
        (None, "", "OTHER", False, True, False),
    ),
    "error": (
        chunk("a") + b'data: {"error":{"code":503}}\r\n\r\ndata: {oops\r\n\r\n',
        (None, "river-1", "", True, False, True),
    ),
    "large end": (
        chunk("a" * 9_000, "MAX_TOKENS", usageMetadata=USED),
        (Usage(9, 6, None, None, 2), "river-1", "MAX_TOKENS", True, True, False),
    ),
}


def told_by(tap: GeminiTap) -> tuple[Any, ...]:
    return (tap.usage, tap.model, tap.finish_reason, tap.started, tap.complete, tap.failed)


@pytest.mark.parametrize("name", STREAMS)
@given(positions=cuts.POSITIONS)
@cuts.short_law
def test_a_stream_tells_the_same_in_any_pieces(name: str, positions: list[int]) -> None:
    """The last counts win, a finish reason is the end, and the bytes pass unchanged."""
    stream, expected = STREAMS[name]
    tap = GeminiTap()
    events = EventStream(tap, lambda: None, withhold_usage=False)
    out = b"".join([events.take(piece) for piece in cuts.at(stream, positions)]) + events.close()
    assert told_by(tap) == expected
    assert out == stream


@pytest.mark.parametrize(
    ("body", "usage", "complete"),
    [
        ({"candidates": [{"finishReason": "STOP"}], "usageMetadata": USED}, Usage(9, 6, None, None, 2), True),
        ({"totalTokens": 7}, Usage(7), True),
        ({"embeddings": [{"values": [1]}]}, None, True),
        ({"error": {"code": 400}}, None, False),
        (3, None, False),
    ],
)
def test_an_answer_in_one_piece_tells_what_it_holds(body: Any, usage: Usage | None, complete: bool) -> None:
    """Answers, counts and vectors; errors and what cannot be read tell nothing."""
    tap = GeminiTap()
    tap.read_whole(json.dumps(body).encode())
    assert (tap.usage, tap.complete) == (usage, complete)


def test_the_end_of_a_large_answer_tells_its_usage() -> None:
    """From the last kilobytes alone."""
    tap = GeminiTap()
    details = [{"modality": "TEXT", "tokenCount": 9}]
    tail = json.dumps({"usageMetadata": USED | {"promptTokensDetails": details}, "modelVersion": "river-1"}).encode()
    tap.read_tail(b'xt"}]}]' + tail[1:])
    assert tap.usage == Usage(9, 6, None, None, 2)
    empty = GeminiTap()
    empty.read_tail(b"nothing")
    assert empty.usage is None


def test_a_stream_as_an_array() -> None:
    """Without `alt=sse` the partial answers come as one array; the last usage and the finish reason count."""
    tap = GeminiTap()
    tap.read_whole(
        b'\n[{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":3}},\n'
        b'{"candidates":[{"finishReason":"STOP"}],"modelVersion":"g",'
        b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}]'
    )
    assert (tap.model, tap.finish_reason, tap.complete) == ("g", "STOP", True)
    assert tap.usage is not None
    assert (tap.usage.input_tokens, tap.usage.output_tokens) == (3, 2)
    broken = GeminiTap()
    broken.read_whole(b'[{"error":{"code":500}}]')
    assert not broken.complete
