from __future__ import annotations

import json

import pytest

from flumegate.dialects.openai.chat.tap import ChatTap
from flumegate.dialects.openai.responses.tap import ResponsesTap
from flumegate.ir.usage import Usage


def chunk(**members: object) -> bytes:
    return b"data: %b\n\n" % json.dumps({"model": "m", **members}, separators=(",", ":")).encode()


def text(content: str, finish: str | None = None) -> bytes:
    return chunk(choices=[{"index": 0, "delta": {"content": content}, "finish_reason": finish}])


def test_the_end_is_found_in_the_last_blocks() -> None:
    """Between start and end events are not decoded, and the end is judged all the same."""
    tap = ChatTap()
    for block in [text("a"), *[text("b")] * 1000, text("", "stop")]:
        tap.feed(block)
    assert (tap.started, tap.complete) == (True, False)
    tap.close()
    assert (tap.complete, tap.finish_reason) == (True, "stop")


def test_comments_and_markers_behind_the_end_do_not_hide_it() -> None:
    """A few events may follow the one that counts."""
    tap = ChatTap()
    for block in [text("a"), text("", "stop"), *[b": ping\n\n"] * 6, b"data: [DONE]\n\n"]:
        tap.feed(block)
    tap.close()
    assert (tap.complete, tap.finish_reason) == (True, "stop")


def test_the_end_of_a_large_block_is_found() -> None:
    """Many events may come in one read; their end is at the block's end."""
    tap = ChatTap()
    tap.feed(text("a"))
    tap.feed(text("b" * 20_000) + text("", "length"))
    tap.close()
    assert (tap.complete, tap.finish_reason) == (True, "length")


def test_an_end_that_is_itself_too_large_to_be_kept_is_found() -> None:
    """A server may say all it has to say in the event that ends the stream."""
    tap = ChatTap()
    tap.feed(text("a"))
    tap.feed(text("b" * 20_000, "stop"))
    tap.feed(b"data: [DONE]\n\n")
    tap.close()
    assert (tap.complete, tap.finish_reason) == (True, "stop")


def test_a_stream_that_stops_is_not_complete() -> None:
    """However much came: without the dialect's own end it was cut."""
    tap = ResponsesTap()
    tap.feed(b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta"}\n\n')
    tap.feed(b"x" * 20_000)
    tap.close()
    assert (tap.started, tap.complete, tap.failed) == (True, False, False)


def test_nothing_at_all_tells_nothing() -> None:
    """An empty stream is no answer."""
    tap = ChatTap()
    tap.close()
    assert (tap.started, tap.complete, tap.failed, tap.usage) == (False, False, False, None)


@pytest.mark.parametrize(
    ("tail", "usage"),
    [
        (b'..."},"usage":{"prompt_tokens":3,"completion_tokens":4}}', Usage(3, 4)),
        (b'"usage" : {"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":1}},"x":1}', Usage(1, None, 1)),
        (b'"usage":{"prompt_tokens":1},"more":"usage","usage":{"prompt_tokens":2}}', Usage(2)),
        (b'"text":"\\"usage\\":{\\"prompt_tokens\\":9}"}', None),
        (b'"usage":{"prompt_tokens":2,"iterations":[{"a":{"b":1}}]}}', Usage(2)),
        (b'"usage":null}', None),
        (b'"usage":{"prompt_tokens":1', None),
    ],
)
def test_usage_is_found_at_the_end_of_a_large_answer(tail: bytes, usage: Usage | None) -> None:
    """Of an answer too large to be kept, the last usage object counts; text that quotes one does not."""
    tap = ChatTap()
    tap.read_tail(tail)
    assert tap.usage == usage
