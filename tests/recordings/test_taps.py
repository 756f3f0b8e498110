"""Taps over recorded traffic: what a tap says of an answer is what the recording says, in whatever pieces it comes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from flumegate.dialects.anthropic.messages.tap import MessagesTap
from flumegate.dialects.openai.chat.tap import ChatTap
from flumegate.dialects.openai.embeddings.tap import EmbeddingsTap
from flumegate.dialects.openai.responses.tap import ResponsesTap
from flumegate.dialects.tap import Tap
from flumegate.engine.events import EventStream
from flumegate.ir.usage import Usage
from rig import cuts
from rig.recordings import Recorded, load

TAPS: dict[str, type[Tap]] = {
    "openai.chat": ChatTap,
    "openai.completions": ChatTap,
    "openai.responses": ResponsesTap,
    "openai.embeddings": EmbeddingsTap,
    "anthropic.messages": MessagesTap,
}
RECORDED = [one for one in load(*TAPS) if one.dialect in TAPS]
STREAMS = [pytest.param(one, id=one.name) for one in RECORDED if one.stream]
METERED = [pytest.param(one, id=one.name) for one in RECORDED if not one.stream and (one.body or {}).get("usage")]
WHOLES = [pytest.param(one, id=one.name) for one in RECORDED if not one.stream and one.status < 400]
CHATS = [pytest.param(one, id=one.name) for one in RECORDED if one.stream and TAPS[one.dialect] is ChatTap]
ERRORS = [pytest.param(one, id=one.name) for one in RECORDED if not one.stream and one.status >= 400]


class Told(NamedTuple):
    usage: Usage | None
    model: str
    finish_reason: str
    complete: bool
    failed: bool


def told_by(tap: Tap) -> Told:
    return Told(tap.usage, tap.model, tap.finish_reason, tap.complete, tap.failed)


def openai_usage(usage: dict[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    into = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    out = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    spent = usage.get("prompt_tokens", usage.get("input_tokens"))
    said = usage.get("completion_tokens", usage.get("output_tokens"))
    thought = out.get("reasoning_tokens")
    beside = usage.get("total_tokens", 0) - (spent or 0) - (said or 0)
    if beside > 0 and thought in (None, 0, beside):  # Google's and xAI's reasoning stands in the total only
        said, thought = (said or 0) + beside, beside
    cached = into.get("cached_tokens")
    for name in ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens"):
        cached = usage.get(name) if cached is None else cached
    return Usage(spent, said, cached, into.get("cache_write_tokens"), thought)


def anthropic_usage(usage: dict[str, Any]) -> Usage | None:
    if "input_tokens" not in usage and "output_tokens" not in usage:
        return None
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    into = usage.get("input_tokens")
    return Usage(
        None if into is None else into + (read or 0) + (written or 0),
        usage.get("output_tokens"),
        read,
        written,
        (usage.get("output_tokens_details") or {}).get("thinking_tokens"),
        (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") if written else None,
    )


def expect_of_whole(one: Recorded) -> Told:
    body = one.body
    if one.dialect == "anthropic.messages":
        usage = body.get("usage") or {key: body[key] for key in ("input_tokens",) if key in body}
        return Told(anthropic_usage(usage), body.get("model") or "", body.get("stop_reason") or "", True, False)
    usage = openai_usage(body.get("usage"))
    finish = ""
    if one.dialect == "openai.responses":
        finish = body.get("status") or ""
    elif one.dialect != "openai.embeddings":
        finish = body["choices"][0]["finish_reason"] or ""
    return Told(usage, body.get("model") or "", finish, True, False)


def data_of(stream: bytes) -> list[Any]:
    """Read the events in the plainest way: one `data:` line each, which is what recordings hold."""
    lines = stream.decode().replace("\r\n", "\n").split("\n")
    texts = [line[5:].strip() for line in lines if line.startswith("data:")]
    return ["[DONE]" if text == "[DONE]" else json.loads(text) for text in texts]


def expect_of_stream(one: Recorded) -> Told:
    events = data_of(one.stream)
    objects = [event for event in events if event != "[DONE]"]
    done = len(objects) < len(events)
    if one.dialect == "anthropic.messages":
        return _expect_of_messages(objects)
    if one.dialect == "openai.responses":
        responses = [event["response"] for event in objects if event.get("response")]
        usages = [response["usage"] for response in responses if response.get("usage")]
        ends = [event["type"] for event in objects]
        return Told(
            openai_usage(usages[-1] if usages else None),
            [response["model"] for response in responses if response.get("model")][-1],
            [response["status"] for response in responses if response.get("status")][-1],
            any(end in ("response.completed", "response.incomplete", "response.failed") for end in ends),
            any(end in ("error", "response.failed") for end in ends),
        )
    usages = [event["usage"] for event in objects if event.get("usage")]
    finishes = [choice.get("finish_reason") for event in objects for choice in event.get("choices") or ()]
    finishes = [finish for finish in finishes if finish]
    models = [event["model"] for event in objects if event.get("model")]
    return Told(
        openai_usage(usages[-1] if usages else None),
        models[-1] if models else "",
        finishes[-1] if finishes else "",
        done or bool(finishes),
        any(event.get("error") for event in objects),
    )


def _expect_of_messages(objects: list[dict[str, Any]]) -> Told:
    usage: dict[str, Any] = {}
    model = finish = ""
    for event in objects:
        if event["type"] == "message_start":
            model = event["message"]["model"]
        if event["type"] in ("message_start", "message_delta"):
            given = event.get("message", event).get("usage") or {}
            usage.update({name: count for name, count in given.items() if count is not None})
        finish = event.get("delta", {}).get("stop_reason") or finish
    kinds = [event["type"] for event in objects]
    return Told(anthropic_usage(usage), model, finish, "message_stop" in kinds, "error" in kinds)


def pass_through(one: Recorded, pieces: Iterable[bytes], *, withhold: bool = False) -> tuple[Tap, bytes, list[str]]:
    """Return the tap behind a stream, the bytes that came out, and how often the start was called."""
    tap = TAPS[one.dialect]()
    starts: list[str] = []
    events = EventStream(tap, lambda: starts.append("start"), withhold_usage=withhold)
    out = b"".join([events.take(piece) for piece in pieces])
    out += events.close()
    assert not events.broken
    return tap, out, starts


def by_event(stream: bytes) -> list[bytes]:
    blank = b"\r\n\r\n" if b"\r\n\r\n" in stream else b"\n\n"
    parts = stream.split(blank)
    return [part + blank for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


@pytest.mark.parametrize("one", STREAMS)
def test_a_stream_tells_the_same_in_any_pieces_and_passes_unchanged(one: Recorded) -> None:
    """Whole, event by event, at random cuts and byte by byte: same verdict, same bytes."""
    expected = expect_of_stream(one)
    ways = [[one.stream], by_event(one.stream), cuts.bytewise(one.stream), *cuts.random_cuts(one.stream, one.name)]
    for pieces in ways:
        tap, out, starts = pass_through(one, pieces)
        assert told_by(tap) == expected
        assert out == one.stream
        assert starts == ["start"] * tap.started


@pytest.mark.parametrize("one", CHATS)
def test_only_usage_events_are_withheld(one: Recorded) -> None:
    """A client that did not ask for usage gets every byte but those of events that hold nothing else."""
    kept = b""
    for event in by_event(one.stream):
        objects = [data for data in data_of(event) if data != "[DONE]"]
        if not (objects and objects[0].get("usage") and objects[0].get("choices") == []):
            kept += event
    for pieces in ([one.stream], cuts.bytewise(one.stream), *cuts.random_cuts(one.stream, one.name)):
        tap, out, _ = pass_through(one, pieces, withhold=True)
        assert out == kept
        assert told_by(tap) == expect_of_stream(one)


@pytest.mark.parametrize("one", WHOLES)
def test_an_answer_in_one_piece_tells_what_it_holds(one: Recorded) -> None:
    """Usage, model and finish reason of the tap are those of the recording."""
    tap = TAPS[one.dialect]()
    tap.read_whole(json.dumps(one.body, ensure_ascii=False, separators=(",", ":")).encode())
    assert told_by(tap) == expect_of_whole(one)


@pytest.mark.parametrize("one", METERED)
def test_the_end_of_a_large_answer_tells_its_usage(one: Recorded) -> None:
    """Of an answer that is not kept whole, the usage is still found where it stands near the end."""
    body = dict(one.body)
    usage = body.pop("usage")
    text = json.dumps({**body, "usage": usage}, ensure_ascii=False).encode()
    tap = TAPS[one.dialect]()
    tap.read_tail(text[-len(json.dumps(usage)) - 20 :])
    assert tap.usage == expect_of_whole(one).usage


@pytest.mark.parametrize("one", ERRORS)
def test_an_error_answer_is_no_answer(one: Recorded) -> None:
    """Nothing is counted for an error, should one ever be shown to a tap."""
    tap = TAPS[one.dialect]()
    tap.read_whole(json.dumps(one.body).encode())
    assert (tap.usage, tap.model, tap.finish_reason) == (None, "", "")
