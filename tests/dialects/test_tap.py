from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.dialects.anthropic.messages.tap import MessagesTap
from flumegate.dialects.gemini.tap import GeminiTap
from flumegate.dialects.ollama.tap import OllamaTap
from flumegate.dialects.openai.chat.tap import ChatTap
from flumegate.dialects.openai.embeddings.tap import EmbeddingsTap
from flumegate.dialects.openai.responses.tap import ResponsesTap
from flumegate.dialects.tap import Tap
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


DIALECTS: dict[str, type[Tap]] = {
    "chat": ChatTap,
    "responses": ResponsesTap,
    "messages": MessagesTap,
    "gemini": GeminiTap,
    "ollama": OllamaTap,
    "embeddings": EmbeddingsTap,
}


def sent(dialect: str, event: dict[str, Any]) -> bytes:
    data = json.dumps(event).encode()
    if dialect == "ollama":
        return data + b"\n"
    name = b"event: %b\n" % event["type"].encode() if dialect in ("responses", "messages") and "type" in event else b""
    return b"%bdata: %b\n\n" % (name, data)


def delta(**members: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": members}]}


def block(**members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": members}


def piece(**members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": members}


def item(ending: str, kind: str) -> dict[str, Any]:
    return {"type": f"response.output_item.{ending}", "output_index": 0, "item": {"type": kind, "content": []}}


def output(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": 0, **members}


def parts(*members: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(members)}}]}


MEANINGFUL = [
    ("chat", delta(content="a")),
    ("chat", delta(reasoning_content="a")),
    ("chat", delta(reasoning="a")),
    ("chat", delta(refusal="a")),
    ("chat", delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}])),
    ("chat", delta(function_call={"name": "f"})),
    ("chat", delta(images=[{"type": "image_url"}])),
    ("chat", {"choices": [{"index": 0, "text": "a"}]}),
    ("chat", {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    ("responses", output("output_text.delta", delta="a")),
    ("responses", output("reasoning_summary_text.delta", delta="a")),
    ("responses", output("reasoning_text.delta", delta="a")),
    ("responses", output("function_call_arguments.delta", delta="{")),
    ("responses", item("added", "function_call")),
    ("responses", item("added", "custom_tool_call")),
    ("responses", item("added", "web_search_call")),
    ("responses", item("done", "reasoning")),
    ("responses", output("completed", response={"status": "completed"})),
    ("responses", output("incomplete", response={"status": "incomplete"})),
    ("messages", piece(type="text_delta", text="a")),
    ("messages", piece(type="thinking_delta", thinking="a")),
    ("messages", piece(type="signature_delta", signature="a")),
    ("messages", piece(type="input_json_delta", partial_json="{")),
    ("messages", piece(type="citations_delta", citation={"type": "page_location"})),
    ("messages", block(type="text", text="a")),
    ("messages", block(type="tool_use", id="t", name="n", input={})),
    ("messages", block(type="server_tool_use", id="t", name="n", input={})),
    ("messages", block(type="redacted_thinking", data="a")),
    ("messages", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
    ("gemini", parts({"text": "a"})),
    ("gemini", parts({"text": "a", "thought": True})),
    ("gemini", parts({"text": ""}, {"functionCall": {"name": "f"}})),
    ("gemini", parts({"inlineData": {"mimeType": "image/png", "data": ""}})),
    ("ollama", {"message": {"role": "assistant", "content": "a"}}),
    ("ollama", {"message": {"role": "assistant", "content": "", "thinking": "a"}}),
    ("ollama", {"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}}),
    ("ollama", {"response": "a"}),
]
SILENT = [
    ("chat", delta(role="assistant")),
    ("chat", delta(role="assistant", content="")),
    ("chat", delta(content=None, tool_calls=[])),
    ("chat", {"choices": [{"index": 0}]}),
    ("chat", {"choices": [{"index": 0, "text": ""}]}),
    ("chat", {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
    ("responses", output("created", response={"status": "queued"})),
    ("responses", output("queued", response={"status": "queued"})),
    ("responses", output("in_progress", response={"status": "in_progress", "error": None})),
    ("responses", item("added", "message")),
    ("responses", item("added", "reasoning")),
    ("responses", {"type": "response.output_item.added"}),
    ("responses", {"type": "response.output_item.added", "item": {"type": 7}}),
    ("responses", output("content_part.added", part={"type": "output_text", "text": ""})),
    ("responses", output("output_text.delta", delta="")),
    ("responses", {"sequence_number": 1}),
    ("messages", {"type": "ping"}),
    ("messages", {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}}),
    ("messages", block(type="text", text="")),
    ("messages", block(type="thinking", thinking="", signature="")),
    ("messages", piece(type="text_delta", text="")),
    ("messages", piece(type="input_json_delta", partial_json="")),
    ("messages", {"type": "content_block_start", "index": 0}),
    ("messages", {"type": "content_block_delta", "index": 0}),
    ("gemini", parts()),
    ("gemini", parts({"text": ""})),
    ("gemini", parts({"text": "", "thought": True, "thoughtSignature": "a"})),
    ("gemini", {"candidates": [{"content": {"role": "model", "parts": [7, None]}}]}),
    ("gemini", {"candidates": [{"content": {"role": "model"}}]}),
    ("gemini", {"usageMetadata": {"promptTokenCount": 1}}),
    ("ollama", {"message": {"role": "assistant", "content": ""}}),
    ("ollama", {"model": "m", "response": ""}),
]


@pytest.mark.parametrize(("dialect", "event"), MEANINGFUL)
def test_what_a_client_waits_for_is_a_start(dialect: str, event: dict[str, Any]) -> None:
    """Text, reasoning, a call, or an end: from here on another target could not take over unseen."""
    tap = DIALECTS[dialect]()
    tap.feed(sent(dialect, event))
    assert (tap.started, tap.failed) == (True, False)


@pytest.mark.parametrize(("dialect", "event"), SILENT)
def test_what_says_nothing_is_no_start(dialect: str, event: dict[str, Any]) -> None:
    """Roles, pings, empty pieces and announcements are held until something follows."""
    tap = DIALECTS[dialect]()
    tap.feed(sent(dialect, event))
    assert (tap.started, tap.failed) == (False, False)


ERRORS = [
    ("chat", {"error": {"message": "full", "code": 503}}),
    ("chat", {"error": "full"}),
    ("chat", {"object": "error", "message": "full", "code": 503}),
    ("responses", {"error": {"message": "full"}}),
    ("messages", {"type": "error", "error": {"type": "overloaded_error", "message": "full"}}),
    ("messages", {"type": "error"}),
    ("messages", {"error": {"message": "full"}}),
    ("gemini", {"error": {"code": 503, "message": "full", "status": "UNAVAILABLE"}}),
    ("ollama", {"error": "full"}),
    ("embeddings", {"error": {"message": "full"}}),
]
WHOLE_ERRORS = [
    *ERRORS,
    ("responses", {"status": "failed", "error": {"code": "server_error"}, "output": []}),
]
STREAMED_ERRORS = [
    *ERRORS,
    ("chat", {"error": {"code": 502}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}),
    ("responses", {"type": "error", "code": "x", "message": "full"}),
    ("responses", output("failed", response={"status": "failed", "error": {"code": "x"}})),
]


@pytest.mark.parametrize(("dialect", "answer"), WHOLE_ERRORS)
def test_an_error_in_place_of_an_answer_is_a_failure(dialect: str, answer: dict[str, Any]) -> None:
    """Some servers send their errors with status 200."""
    tap = DIALECTS[dialect]()
    tap.read_whole(json.dumps(answer).encode())
    assert (tap.failed, tap.complete, tap.usage) == (True, False, None)


@pytest.mark.parametrize(("dialect", "event"), STREAMED_ERRORS)
def test_an_error_that_a_stream_begins_with_is_a_failure_and_no_start(dialect: str, event: dict[str, Any]) -> None:
    """Nothing was said yet, so another target can still answer."""
    tap = DIALECTS[dialect]()
    tap.feed(sent(dialect, event))
    tap.close()
    assert (tap.failed, tap.started) == (True, False)


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        ("chat", {"choices": [{"finish_reason": "stop"}], "error": None}),
        ("chat", {"choices": [{"finish_reason": "stop"}], "error": {"code": 1}}),
        ("responses", {"status": "completed", "error": None}),
        ("responses", {"status": "incomplete", "error": None}),
        ("messages", {"type": "message", "content": []}),
        ("gemini", {"candidates": [{"finishReason": "STOP"}]}),
        ("ollama", {"message": {"content": "a"}, "done": True}),
        ("embeddings", {"data": [{"embedding": [1]}], "error": None}),
    ],
)
def test_an_answer_is_no_failure(dialect: str, answer: dict[str, Any]) -> None:
    """What holds an answer is one, whatever stands beside it."""
    tap = DIALECTS[dialect]()
    tap.read_whole(json.dumps(answer).encode())
    assert (tap.failed, tap.complete) == (False, True)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (b"response.completed", (True, True)),
        (b"response.failed", (False, True)),
        (b"response.output_text.delta", (True, False)),
        (b"response.output_item.added", (False, False)),
    ],
)
def test_of_an_event_too_large_to_be_held_the_name_tells(name: bytes, told: tuple[bool, bool]) -> None:
    """Its data comes in pieces that are no JSON."""
    tap = ResponsesTap()
    tap.feed(b'event: %b\ndata: {"type":"%b","x":"aaaa' % (name, name))
    assert (tap.started, tap.complete) == told


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_half_a_document_is_unreadable(dialect: str) -> None:
    """Whatever was to come, and whatever HTTP says of its end."""
    for body in (b'{"choices":[{"index":0,"mess', b"<html>", b""):
        tap = DIALECTS[dialect]()
        tap.read_whole(body)
        assert (tap.unreadable, tap.complete, tap.failed) == (True, False, False)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize("body", [b'{"a":NaN,"b":[-Infinity]}', b'{"model":7,"usage":"no"}', b"[7]", b'{"a":"\xff"}'])
def test_what_only_surprises_is_not_unreadable(dialect: str, body: bytes) -> None:
    """Most clients read numbers that JSON has not, and what a member should be is not for the gateway to judge."""
    tap = DIALECTS[dialect]()
    tap.read_whole(body)
    assert not tap.unreadable


QUESTION = json.dumps({"model": "m", "messages": [{"role": "user", "content": "w" * 360}]}).encode()
SAYING = {
    "chat": delta(content="word"),
    "responses": output("output_text.delta", delta="word"),
    "messages": piece(type="text_delta", text="word"),
    "gemini": parts({"text": "word"}),
    "ollama": {"message": {"role": "assistant", "content": "word"}},
}


@pytest.mark.parametrize("dialect", sorted(SAYING))
@pytest.mark.parametrize("count", [1, 5, 300])
def test_a_stream_that_ends_early_is_estimated(dialect: str, count: int) -> None:
    """A token for each event that was passed on, and about four bytes of the request a token."""
    tap = DIALECTS[dialect]()
    event = sent(dialect, SAYING[dialect])
    for _ in range(count):
        tap.feed(event)
    tap.close()
    tap.estimate(QUESTION, count * len(event))
    assert tap.estimated
    assert tap.usage == Usage(-(-len(QUESTION) // 4), count)


def chat_usage(output_tokens: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": output_tokens}}


def gemini_usage(output_tokens: int) -> dict[str, Any]:
    return {"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": output_tokens}}


FIRST_COUNTS = {
    "chat": chat_usage(1),
    "responses": output("in_progress", response={"usage": {"input_tokens": 7, "output_tokens": 1}}),
    "messages": {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 7, "output_tokens": 1}}},
    "gemini": gemini_usage(1),
    "ollama": {"model": "m", "prompt_eval_count": 7, "eval_count": 1},
}
LAST_COUNTS: dict[str, list[dict[str, Any]]] = {
    "chat": [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, chat_usage(9)],
    "responses": [output("completed", response={"usage": {"input_tokens": 7, "output_tokens": 9}})],
    "messages": [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}],
    "gemini": [{"candidates": [{"finishReason": "STOP"}], **gemini_usage(9)}],
    "ollama": [{"done": True, "prompt_eval_count": 7, "eval_count": 9}],
}
MISTAKES: dict[str, dict[str, Any]] = {
    "chat": {"error": {"message": "full"}},
    "responses": {"type": "error", "error": {"message": "full"}},
    "messages": {"type": "error", "error": {"type": "overloaded_error", "message": "full"}},
    "gemini": {"error": {"code": 503, "message": "full"}},
    "ollama": {"error": "full"},
}


def ended(dialect: str, *events: dict[str, Any]) -> Tap:
    """Return what a tap tells of a stream that was passed on, event by event, and then ended."""
    tap = DIALECTS[dialect]()
    blocks = [sent(dialect, event) for event in events]
    for block in blocks:
        tap.feed(block)
    tap.close()
    tap.estimate(QUESTION, sum(map(len, blocks)))
    return tap


@pytest.mark.parametrize("dialect", sorted(SAYING))
@pytest.mark.parametrize("failed", [False, True])
def test_a_count_at_the_start_is_not_what_came_after_it(dialect: str, failed: bool) -> None:
    """Left, cut or failed: what was passed on counts, and the input as the provider said it."""
    end = [MISTAKES[dialect]] if failed else []
    tap = ended(dialect, FIRST_COUNTS[dialect], *[SAYING[dialect]] * 300, *end)
    assert tap.usage is not None
    assert (tap.usage.input_tokens, tap.estimated, tap.failed) == (7, True, failed)
    assert 300 <= (tap.usage.output_tokens or 0) <= 303


@pytest.mark.parametrize("dialect", sorted(SAYING))
def test_the_last_count_is_the_providers(dialect: str) -> None:
    """However much there seems to be: once it has come nothing is estimated."""
    tap = ended(dialect, FIRST_COUNTS[dialect], *[SAYING[dialect]] * 300, *LAST_COUNTS[dialect])
    assert (tap.usage, tap.estimated) == (Usage(7, 9), False)


@pytest.mark.parametrize("count", [2, 100])
def test_a_count_on_the_way_stands_where_it_is_no_less(count: int) -> None:
    """It knows of what is hidden, too."""
    tap = ended("chat", SAYING["chat"], SAYING["chat"], chat_usage(count))
    assert (tap.usage, tap.estimated) == (Usage(7, count), False)


WORDS = "word " * 500
PACKED: dict[str, list[dict[str, Any]]] = {
    "chat": [
        delta(content=WORDS),
        delta(reasoning=WORDS, reasoning_content=WORDS),
        delta(tool_calls=[{"index": 0, "function": {"arguments": WORDS}}]),
        {"choices": [{"index": 0, "text": WORDS}]},
    ],
    "responses": [output("output_text.delta", delta=WORDS), output("reasoning_summary_text.delta", delta=WORDS)],
    "messages": [
        piece(type="text_delta", text=WORDS),
        piece(type="thinking_delta", thinking=WORDS),
        piece(type="input_json_delta", partial_json=WORDS),
        block(type="text", text=WORDS),
    ],
    "gemini": [parts({"text": WORDS}), parts({"functionCall": {"name": "", "args": {"a": [WORDS]}}})],
    "ollama": [
        {"message": {"content": WORDS}},
        {"message": {"thinking": WORDS}},
        {"response": WORDS},
        {"message": {"tool_calls": [{"function": {"arguments": {"a": WORDS}}}]}},
    ],
}


@pytest.mark.parametrize(("dialect", "event"), [(name, event) for name, events in PACKED.items() for event in events])
@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("at_once", [1, 5])
def test_many_words_in_an_event_are_many_tokens(dialect: str, event: dict[str, Any], count: int, at_once: int) -> None:
    """A token for about four bytes, however many events a read brings, and whatever stands around the text."""
    tap = DIALECTS[dialect]()
    read = sent(dialect, event) * at_once
    for _ in range(count):
        tap.feed(read)
    assert tap.said_tokens(count * len(read)) == count * at_once * len(WORDS) // 4


@pytest.mark.parametrize("dialect", sorted(SAYING))
def test_what_a_stream_has_said_is_known_while_it_goes_on(dialect: str) -> None:
    """Whenever somebody asks, and though it begins to say more in each event."""
    tap = DIALECTS[dialect]()
    few, many = (json.loads(json.dumps(SAYING[dialect]).replace("word", "word" * count)) for count in (1, 100))
    assert tap.said_so_far(0, weigh=tap.has_grown(0)) == 0
    size = said = 0
    for event, tokens in [(few, 1)] * 100 + [(many, 100)] * 100:
        block = sent(dialect, event)
        tap.feed(block)
        size += len(block)
        said += tokens
        if tokens == 1:
            assert said - 1 <= tap.said_so_far(size, weigh=tap.has_grown(size)) <= said
    assert tap.said_so_far(size, weigh=tap.has_grown(size)) > 0.9 * said


@pytest.mark.parametrize("dialect", sorted(SAYING))
def test_an_event_too_large_to_be_kept_is_weighed_as_it_comes(dialect: str) -> None:
    """Tens of kilobytes of a call's arguments, say; what follows is one token an event as ever."""
    large = json.loads(json.dumps(SAYING[dialect]).replace("word", "word " * 4_000))
    tap = ended(dialect, *[SAYING[dialect]] * 100, large, *[SAYING[dialect]] * 100)
    assert tap.usage is not None
    assert tap.usage.output_tokens == 200 + 4_000 * 5 // 4


def test_what_is_said_again_at_the_end_is_not_counted_twice() -> None:
    """Responses repeats a text whole when it is done, more than once."""
    again = output("output_text.done", text="word " * 4_000)
    tap = ended("responses", *[SAYING["responses"]] * 300, again, again)
    assert (tap.usage, tap.complete) == (Usage(-(-len(QUESTION) // 4), 300), False)


@pytest.mark.parametrize("dialect", sorted(SAYING))
def test_what_cannot_be_read_holds_a_token_in_200_bytes(dialect: str) -> None:
    """Where nothing of what was kept tells more."""
    tap = DIALECTS[dialect]()
    tap.feed(sent(dialect, SAYING[dialect]))
    for _ in range(8):
        tap.feed(b"data: {]\n\n")
    assert tap.said_tokens(20_000) in range(90, 101)


def test_embeddings_say_nothing() -> None:
    """Whoever streams them all the same: their numbers are no text."""
    tap = EmbeddingsTap()
    event = sent("embeddings", {"data": [{"embedding": [1] * 300}]})
    tap.feed(event)
    assert tap.said_so_far(len(event), weigh=True) == 0


@pytest.mark.parametrize("passed_on", [0, 1000])
def test_a_stream_that_has_not_begun_cost_nothing_that_is_known(passed_on: int) -> None:
    """Roles and pings tell nothing; neither does what the client has not seen."""
    tap = ChatTap()
    tap.feed(text("a") if not passed_on else text(""))
    tap.estimate(QUESTION, passed_on)
    assert (tap.estimated, tap.usage) == (False, None)


def test_of_an_event_too_large_to_be_held_one_token_is_known() -> None:
    """Its pieces are no events; a question that was not kept is not estimated."""
    tap = ResponsesTap()
    tap.feed(b"event: response.output_text.delta\ndata: " + b"x" * 20_000)
    tap.estimate(b"", 20_000)
    assert (tap.estimated, tap.usage) == (True, Usage(None, 1))
