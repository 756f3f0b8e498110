"""Tap on Messages. The goldens are our own; each names the recording that it is modelled on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from flumegate.dialects.anthropic.messages.tap import MessagesTap
from flumegate.ir.usage import Usage
from flumegate.wire import sse
from rig import cuts


def event(kind: str, **members: Any) -> bytes:
    body = json.dumps({"type": kind, **members}, separators=(",", ":"))
    return f"event: {kind}\ndata: {body}\n\n".encode()


def start(**usage: Any) -> bytes:
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "river-1", "content": [], "usage": usage}
    return event("message_start", message=message)


def text(piece: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})


PING = event("ping")
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
STOP = event("message_stop")
GOLDENS = {
    "text": (  # modelled on anthropic-text-stream: the start's counts and the end's are put together
        start(input_tokens=10, cache_read_input_tokens=5, cache_creation_input_tokens=3, output_tokens=1)
        + BLOCK
        + PING
        + text("Water")
        + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 12})
        + STOP,
        (Usage(18, 12, 5, 3), "river-1", "end_turn", True, True, False),
    ),
    "thinking": (  # modelled on anthropic-sdk-message-delta-fields: the end repeats and corrects every count
        start(input_tokens=10, output_tokens=1)
        + event(
            "message_delta",
            delta={"stop_reason": "tool_use", "stop_sequence": None},
            usage={
                "input_tokens": 11,
                "cache_read_input_tokens": None,
                "output_tokens": 40,
                "output_tokens_details": {"thinking_tokens": 30},
                "server_tool_use": {"web_search_requests": 1},
            },
        )
        + STOP,
        (Usage(11, 40, None, None, 30), "river-1", "tool_use", True, True, False),
    ),
    "several deltas": (  # the last reason and the last counts win, they are never summed
        start(input_tokens=1, output_tokens=1)
        + event("message_delta", delta={"stop_reason": "pause_turn"}, usage={"output_tokens": 4})
        + event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 6})
        + event("message_delta", delta={"stop_reason": "refusal"})
        + STOP,
        (Usage(1, 6), "river-1", "refusal", True, True, False),
    ),
    "cache of an hour": (  # which only the start tells; an odd word of it hides nothing else
        start(input_tokens=1, cache_creation_input_tokens=9, cache_creation={"ephemeral_1h_input_tokens": 7})
        + event("message_delta", delta={}, usage={"output_tokens": 4, "cache_creation_input_tokens": 9})
        + STOP,
        (Usage(10, 4, None, 9, None, 7), "river-1", "", True, True, False),
    ),
    "cache of an odd time": (
        start(input_tokens=1, cache_creation_input_tokens=9, cache_creation={"ephemeral_1h_input_tokens": "7"}) + STOP,
        (Usage(10, None, None, 9), "river-1", "", False, True, False),
    ),
    "error": (
        start(input_tokens=1) + text("Wa") + event("error", error={"type": "overloaded_error", "message": "full"}),
        (Usage(1), "river-1", "", True, False, True),
    ),
    "nameless error": (
        start(input_tokens=1) + b'data: {"error":{"message":"full"}}\n\n',
        (Usage(1), "river-1", "", False, False, True),
    ),
    "cut": (
        start(output_tokens=1) + BLOCK + text("Wa"),
        (Usage(None, 1), "river-1", "", True, False, False),
    ),
    "unknown events": (  # modelled on anthropic-sdk-unknown-events: nothing in them counts
        b": comment\n\n"
        + event("message_start", message={"model": None})
        + event("future_event", usage={"input_tokens": 99}, delta={"stop_reason": "x"})
        + event("message_start")
        + text("Water")
        + STOP,
        (None, "", "", True, True, False),
    ),
}


def told(tap: MessagesTap) -> tuple[Usage | None, str, str, bool, bool, bool]:
    return tap.usage, tap.model, tap.finish_reason, tap.started, tap.complete, tap.failed


@pytest.mark.parametrize("name", GOLDENS)
@cuts.short_law
@given(positions=cuts.POSITIONS)
def test_goldens_tell_the_same_however_events_are_grouped(name: str, positions: list[int]) -> None:
    """How many events come in one read changes nothing; only `message_stop` completes."""
    stream, expected = GOLDENS[name]
    tap = MessagesTap()
    parts = sse.split(stream)
    for block in cuts.at("x" * len(parts), positions):
        tap.feed(b"".join(parts[: len(block)]))
        del parts[: len(block)]
    tap.close()
    assert told(tap) == expected


def test_a_start_that_is_shown_again_undoes_nothing() -> None:
    """The end is judged from blocks that were seen before, of which the beginning of a large one may be missing."""
    tap = MessagesTap()
    tap.feed(start(input_tokens=1, output_tokens=1))
    tap.feed(text("a") + event("message_delta", delta={}, usage={"output_tokens": 12}) + b": %b\n\n" % (b"x" * 9000))
    tap.feed(STOP)
    tap.close()
    assert (tap.usage, tap.complete) == (Usage(1, 12), True)


def test_start_block_and_ping_are_no_start() -> None:
    """Only a delta is what a client waits for."""
    tap = MessagesTap()
    tap.feed(start(input_tokens=1) + BLOCK + PING)
    assert not tap.started
    tap.feed(text("Wa"))
    assert tap.started


@pytest.mark.parametrize("noise", [b"data: {\n\n", b'data: {"type":1}\n\n', b"data: %b\n\n" % (b"[" * 100_000)])
def test_events_that_cannot_be_read_tell_nothing(noise: bytes) -> None:
    """A tap never breaks."""
    tap = MessagesTap()
    tap.feed(noise)
    tap.close()
    assert told(tap) == (None, "", "", False, False, False)


def test_a_whole_answer_tells_usage_model_and_reason() -> None:
    """Anthropic counts its caches beside the input; we count them inside (dialects: §15.2)."""
    tap = MessagesTap()
    tap.read_whole(
        b'{"type":"message","model":"river-1","content":[],"stop_reason":"max_tokens","usage":{"input_tokens":4,'
        b'"cache_creation_input_tokens":2,"cache_read_input_tokens":1,"output_tokens":9}}'
    )
    assert told(tap) == (Usage(7, 9, 1, 2), "river-1", "max_tokens", False, True, False)


def test_a_token_count_is_usage() -> None:
    """The answer of `count_tokens` is nothing but the count."""
    tap = MessagesTap()
    tap.read_whole(b'{"input_tokens":17}')
    assert told(tap) == (Usage(17), "", "", False, True, False)


def test_a_whole_answer_may_lack_its_parts() -> None:
    """Nothing is made up."""
    tap = MessagesTap()
    tap.read_whole(b'{"id":"m1"}')
    assert told(tap) == (None, "", "", False, True, False)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"usage":[]}', b"<html>"])
def test_a_body_that_is_no_answer_tells_nothing(body: bytes) -> None:
    """What cannot be read is neither complete nor counted."""
    tap = MessagesTap()
    tap.read_whole(body)
    assert told(tap) == (None, "", "", False, False, False)


def test_taps_do_not_share_their_counts() -> None:
    """What one answer reported is not another's."""
    first, second = MessagesTap(), MessagesTap()
    first.feed(start(input_tokens=5))
    second.feed(start(output_tokens=1))
    assert (first.usage, second.usage) == (Usage(5), Usage(None, 1))
