"""Tap on chat and completions. The goldens are our own; each names the recording that it is modelled on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from flumegate.dialects.openai.chat.tap import INCLUDE_USAGE_MEMBER, INCLUDE_USAGE_VALUE, ChatTap, is_usage_only
from flumegate.ir.usage import Usage
from flumegate.wire import sse
from rig import cuts

TEXT = (  # modelled on openai-dbos-model-stream-direct
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"river-1","choices":[{"index":0,'
    b'"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"x"}\n\n'
    b'data: {"id":"c1","model":"river-1","choices":[{"index":0,"delta":{"content":"Water"},"finish_reason":null}],'
    b'"usage":null}\n\n'
    b'data: {"id":"c1","model":"river-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
    b'data: {"id":"c1","model":"river-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,'
    b'"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":1},'
    b'"completion_tokens_details":{"reasoning_tokens":1}}}\n\n'
    b"data: [DONE]\n\n"
)
TOOLS = (  # modelled on groq-tool-call-stream: usage beside a choice and once more in `x_groq`
    b'data: {"model":"lock-2","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
    b'data: {"model":"lock-2","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t1","type":"function",'
    b'"function":{"name":"raise_gate","arguments":"{}"}}]},"finish_reason":null}]}\n\n'
    b'data: {"model":"lock-2","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],'
    b'"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":6}},"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
    b"data: [DONE]\n\n"
)
FAILING = (  # modelled on openrouter-stream-error: comments, then an error beside an empty choice
    b": PROCESSING\n\n"
    b'data: {"model":"weir-3","choices":[{"index":0,"delta":{"content":"","reasoning":"Let"},'
    b'"finish_reason":null}]}\n\n'
    b'data: {"model":"weir-3","error":{"code":400,"message":"full"},"choices":[{"index":0,"delta":{"content":""},'
    b'"finish_reason":null}]}\n\n'
)
COMPLETIONS = (  # modelled on openai-completion-text-stream
    b'data: {"object":"text_completion","model":"pond-0","choices":[{"text":"Old","index":0,"finish_reason":null}]}\n\n'
    b'data: {"object":"text_completion","model":"pond-0","choices":[{"text":"","index":0,"finish_reason":"length"}]}'
    b'\n\ndata: {"object":"text_completion","model":"pond-0","choices":[],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\ndata: [DONE]\n\n'
)


def tapped(stream: bytes, positions: list[int] | None = None) -> ChatTap:
    """Feed whole events, some at a time."""
    tap = ChatTap()
    parts = sse.split(stream)
    for block in cuts.at("x" * len(parts), positions or range(len(parts))):
        tap.feed(b"".join(parts[: len(block)]))
        del parts[: len(block)]
    tap.close()
    return tap


def told(tap: ChatTap) -> tuple[Usage | None, str, str, bool, bool, bool]:
    return tap.usage, tap.model, tap.finish_reason, tap.started, tap.complete, tap.failed


GOLDENS = {
    "text": (TEXT, (Usage(9, 2, 4, 1, 1), "river-1", "stop", True, True, False)),
    "tools": (TOOLS, (Usage(5, 6), "lock-2", "tool_calls", True, True, False)),
    "failing": (FAILING, (None, "weir-3", "", True, False, True)),
    "completions": (COMPLETIONS, (Usage(1, 1), "pond-0", "length", True, True, False)),
}


@pytest.mark.parametrize("name", GOLDENS)
@cuts.short_law
@given(positions=cuts.POSITIONS)
def test_goldens_tell_the_same_however_events_are_grouped(name: str, positions: list[int]) -> None:
    """How many events come in one read changes nothing."""
    stream, expected = GOLDENS[name]
    assert told(tapped(stream, positions)) == expected


def delta(index: int | None, finish: str | None = None, **members: Any) -> bytes:
    choice = {"index": index, "delta": members, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({"choices": [choice]}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("members", "meaningful"),
    [
        ({}, False),
        ({"role": "assistant", "content": ""}, False),
        ({"content": None, "tool_calls": [], "refusal": None}, False),
        ({"content": "a"}, True),
        ({"content": [{"type": "thinking", "thinking": []}]}, True),
        ({"reasoning": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"refusal": "no"}, True),
        ({"tool_calls": [{"index": 0}]}, True),
        ({"function_call": {"name": "f"}}, True),
        ({"audio": {"id": "a"}}, True),
    ],
)
def test_what_counts_as_a_start(members: dict[str, Any], meaningful: bool) -> None:
    """Text, reasoning, refusals, calls and sound are what a client waits for; roles and empty texts are not."""
    tap = ChatTap()
    tap.feed(delta(0, **members))
    assert tap.started is meaningful


def test_an_end_without_any_text_is_a_start_and_an_end() -> None:
    """A filtered answer may hold nothing but its reason."""
    tap = tapped(delta(0, "content_filter"))
    assert (tap.started, tap.complete, tap.finish_reason) == (True, True, "content_filter")


def test_the_end_marker_alone_completes() -> None:
    """Some servers send no finish reason."""
    assert tapped(delta(0, content="a") + b"data: [DONE]\n\n").complete


@pytest.mark.parametrize("positions", [[], [1, 2, 3, 4, 5]])
def test_several_choices_end_with_the_last_one(positions: list[int]) -> None:
    """A stream that is cut behind the first choice's end, while another still speaks, is not complete."""
    first = delta(0, content="a") + delta(1, content="b") + delta(0, "stop") + delta(1, content="c")
    assert not tapped(first, positions or [99]).complete
    whole = tapped(first + delta(1, "length"), positions or [99])
    assert (whole.complete, whole.finish_reason) == (True, "stop")


def test_the_first_choice_gives_the_reason_whatever_the_order() -> None:
    """As in an answer in one piece."""
    assert tapped(delta(1, "length") + delta(0, "stop")).finish_reason == "stop"
    assert tapped(delta(None, "length") + delta(None, "stop")).finish_reason == "stop"


def test_choices_in_blocks_that_report_usage_are_not_taken_for_the_end() -> None:
    """Servers that repeat the usage in every chunk have every chunk looked at."""
    usage = b"data: {%b,%b\n\n"
    parts = [delta(0, "stop"), delta(1, content="x")]
    stream = b"".join(usage % (b'"usage":{"prompt_tokens":1}', part[7:-2]) for part in parts)
    assert not tapped(stream).complete


@pytest.mark.parametrize(
    "event",
    [
        b"data: not json\n\n",
        b'data: {"choices":"x"}\n\n',
        b'data: {"model":"\xff"}\n\n',
        b"data: %b\n\n" % (b"[" * 100_000),
        b'data: {"choices":[{"index":0,"delta":%b' % (b'{"content":' * 100_000),
        b"event: unknown\ndata: {}\n\n",
        b"data:\n\n",
    ],
)
def test_events_that_cannot_be_read_tell_nothing(event: bytes) -> None:
    """A tap never breaks; what comes later is still seen."""
    tap = tapped(event + TEXT)
    assert told(tap) == GOLDENS["text"][1]


@pytest.mark.parametrize(
    ("event", "only"),
    [
        (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', True),
        (b'data: {"choices":[],"usage":{"prompt_tokens":1}}', True),
        (b'data: {"choices":[],"usage":null}\n\n', False),
        (b'data: {"choices":[]}\n\n', False),
        (b'data: {"usage":{"prompt_tokens":1}}\n\n', False),
        (b'data: {"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}\n\n', False),
        (b'data: {"choices":[],"usage":{"prompt_tokens"\n\n', False),
        (b"data: [DONE]\n\n", False),
        (b": comment\n\n", False),
        (b"", False),
    ],
)
def test_which_events_hold_usage_and_nothing_else(event: bytes, only: bool) -> None:
    """Only the chunk that `include_usage` adds may be withheld."""
    assert is_usage_only(event) is only


WHOLE = {
    "object": "chat.completion",
    "model": "river-1",
    "choices": [{"index": 0, "message": {"content": "Water"}, "finish_reason": "stop"}, {"finish_reason": "length"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


def test_a_whole_answer_tells_usage_model_and_reason() -> None:
    """The first choice's reason stands for the answer."""
    tap = ChatTap()
    tap.read_whole(json.dumps(WHOLE).encode())
    assert told(tap) == (Usage(3, 1), "river-1", "stop", False, True, False)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"model":1}', b"[" * 100_000])
def test_a_body_that_is_no_answer_tells_nothing(body: bytes) -> None:
    """Pages with status 200 are neither complete nor counted."""
    tap = ChatTap()
    tap.read_whole(body)
    assert told(tap) == (None, "", "", False, False, False)


def test_a_whole_answer_may_lack_its_parts() -> None:
    """Null reasons and missing usage are not made up."""
    tap = ChatTap()
    tap.read_whole(b'{"choices":[{"finish_reason":null}],"usage":null,"model":null}')
    assert told(tap) == (None, "", "", False, True, False)


def test_what_is_spliced_in_asks_for_usage() -> None:
    """Member and value are the same JSON."""
    assert json.loads(b"{%b}" % INCLUDE_USAGE_MEMBER) == {"stream_options": json.loads(INCLUDE_USAGE_VALUE)}
    assert json.loads(INCLUDE_USAGE_VALUE) == {"include_usage": True}
