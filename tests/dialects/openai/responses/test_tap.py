"""Tap on Responses. The goldens are our own; each names the recording that it is modelled on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from flumegate.dialects.openai.responses.tap import ResponsesTap
from flumegate.ir.usage import Usage
from flumegate.wire import sse
from rig import cuts


def event(kind: str, **members: object) -> bytes:
    body = json.dumps({"type": kind, **members}, separators=(",", ":"))
    return f"event: {kind}\ndata: {body}\n\n".encode()


def response(status: str, **members: object) -> dict[str, object]:
    return {"id": "r1", "object": "response", "status": status, "model": "river-1", "error": None, **members}


USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 27,
}
START = event("response.created", response=response("in_progress", usage=None), sequence_number=0) + event(
    "response.in_progress", response=response("in_progress", usage=None), sequence_number=1
)
TEXT = event("response.output_text.delta", delta="Water", output_index=0, content_index=0)
DONE = event("response.output_item.done", item={"type": "function_call", "arguments": "{}"})
GOLDENS = {  # modelled on the streams of openai.responses; incomplete and failed ends are written from the schema
    "completed": (
        START + TEXT + event("response.completed", response=response("completed", usage=USAGE)),
        (Usage(20, 7, 8, 2, 5), "river-1", "completed", True, True, False),
    ),
    "calls only": (
        START + DONE + event("response.completed", response=response("completed", usage=USAGE)),
        (Usage(20, 7, 8, 2, 5), "river-1", "completed", True, True, False),
    ),
    "incomplete": (
        START + TEXT + event("response.incomplete", response=response("incomplete", usage=USAGE)),
        (Usage(20, 7, 8, 2, 5), "river-1", "incomplete", True, True, False),
    ),
    "failed": (
        START + event("response.failed", response=response("failed", usage=None, error={"code": "x", "message": "y"})),
        (None, "river-1", "failed", False, True, True),
    ),
    "error": (
        START + event("error", error={"type": "too_many", "message": "later"}),
        (None, "river-1", "in_progress", False, False, True),
    ),
    "flat error": (
        START + event("error", code="x", message="y", param=None),
        (None, "river-1", "in_progress", False, False, True),
    ),
    "nameless error": (
        START + b'data: {"error":{"message":"y"}}\n\n',
        (None, "river-1", "in_progress", False, False, True),
    ),
    "cut": (START + TEXT, (None, "river-1", "in_progress", True, False, False)),
}


def told(tap: ResponsesTap) -> tuple[Usage | None, str, str, bool, bool, bool]:
    return tap.usage, tap.model, tap.finish_reason, tap.started, tap.complete, tap.failed


@pytest.mark.parametrize("name", GOLDENS)
@cuts.short_law
@given(positions=cuts.POSITIONS)
def test_goldens_tell_the_same_however_events_are_grouped(name: str, positions: list[int]) -> None:
    """How many events come in one read changes nothing; the terminal event decides, there is no `[DONE]`."""
    stream, expected = GOLDENS[name]
    tap = ResponsesTap()
    parts = sse.split(stream)
    for block in cuts.at("x" * len(parts), positions):
        tap.feed(b"".join(parts[: len(block)]))
        del parts[: len(block)]
    tap.close()
    assert told(tap) == expected


def test_created_and_in_progress_are_no_start() -> None:
    """Only text, arguments or a finished item is what a client waits for."""
    tap = ResponsesTap()
    tap.feed(START)
    assert not tap.started
    tap.feed(TEXT)
    assert tap.started


def test_an_end_of_many_kilobytes_without_usage_is_an_end() -> None:
    """The terminal event repeats the whole answer, and some servers report no usage and no `error` key in it."""
    tap = ResponsesTap()
    tap.feed(TEXT)
    tap.feed(event("response.completed", response={"status": "completed", "output": ["x" * 50_000]}))
    tap.close()
    assert (tap.complete, tap.finish_reason) == (True, "completed")


def test_the_start_of_an_end_too_large_to_be_held_is_an_end() -> None:
    """It comes in pieces that are no JSON; its name says what it is, and whether it came whole the framing knows."""
    tap = ResponsesTap()
    whole = event("response.completed", response=response("completed", output=["x" * 50_000], usage=USAGE))
    tap.feed(TEXT)
    for piece in (whole[:20_000], whole[20_000:]):
        tap.feed(piece)
    tap.close()
    assert (tap.complete, tap.failed) == (True, False)


@pytest.mark.parametrize(
    "noise", [b"event: response.x\ndata: {\n\n", b'data: {"type":1}\n\n', b"data: %b\n\n" % (b"[" * 100_000)]
)
def test_events_that_cannot_be_read_tell_nothing(noise: bytes) -> None:
    """A tap never breaks, and broken events are no end."""
    tap = ResponsesTap()
    tap.feed(noise)
    tap.close()
    assert told(tap) == (None, "", "", False, False, False)


def test_a_whole_answer_tells_usage_model_and_status() -> None:
    """The status stands in for a finish reason."""
    tap = ResponsesTap()
    tap.read_whole(json.dumps(response("incomplete", usage=USAGE)).encode())
    assert told(tap) == (Usage(20, 7, 8, 2, 5), "river-1", "incomplete", False, True, False)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"usage":[]}', b"<html>"])
def test_a_body_that_is_no_answer_tells_nothing(body: bytes) -> None:
    """What cannot be read is neither complete nor counted."""
    tap = ResponsesTap()
    tap.read_whole(body)
    assert told(tap) == (None, "", "", False, False, False)


def test_a_whole_answer_may_lack_its_parts() -> None:
    """Nothing is made up."""
    tap = ResponsesTap()
    tap.read_whole(b'{"id":"r1"}')
    assert told(tap) == (None, "", "", False, True, False)
