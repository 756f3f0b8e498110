"""From a request to an answer, without a wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flumegate.mock.answer import Answer, Request, write
from flumegate.mock.asked import Stamp
from flumegate.mock.faults import Faults
from flumegate.mock.paths import Dialect, Place

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "a nonce-1"}]}


def answered(
    place: Place, body: dict[str, Any] | None = None, faults: Faults | None = None, target: str = "/"
) -> Answer:
    headers = [(b"anthropic-version", b"2023-06-01")]
    request = Request(method="POST", target=target, place=place, headers=headers, body=json.dumps(body).encode())
    return write(request, body or {}, faults or Faults(), Stamp(7, 1_700_000_000))


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        ("openai", ("error", "code")),
        ("anthropic", ("error", "type")),
        ("gemini", ("error", "status")),
        ("ollama", ("error",)),
    ],
)
def test_status_is_an_error_of_the_dialect(dialect: Dialect, path: tuple[str, ...]) -> None:
    """Whatever was asked for; the code is the caller's where there is one."""
    answer = answered(Place(dialect, "anything"), CHAT, Faults(status=409, code="mine", retry_after=3))
    assert answer.status == 409
    assert (b"retry-after", b"3") in answer.headers
    found: Any = json.loads(answer.body or b"")
    for name in path:
        found = found[name]
    assert found == ("mine" if dialect != "ollama" else "The mock was asked for status 409")


def test_same_request_same_bytes() -> None:
    """An answer depends on the request, its number and the clock alone."""
    for body in (CHAT, CHAT | {"stream": True}):
        first, second = (answered(Place("openai", "chat"), body) for _ in range(2))
        assert first.body == second.body
        assert list(first.pieces or ()) == list(second.pieces or ())


def test_every_answer_says_which_call_it_was() -> None:
    """The ledger's number is in a header, and each SDK's request id header is there."""
    for dialect, header in (("openai", b"x-request-id"), ("anthropic", b"request-id")):
        place: Place = Place("openai", "chat") if dialect == "openai" else Place("anthropic", "messages")
        headers = dict(answered(place, CHAT | {"max_tokens": 5}).headers)
        assert headers[b"x-mock-call"] == b"7"
        assert headers[header] == b"req_mock00000007"


@pytest.mark.parametrize(
    ("place", "missing"),
    [
        (Place("openai", "chat"), "messages"),
        (Place("openai", "embeddings"), "input"),
        (Place("anthropic", "messages"), "max_tokens"),
        (Place("gemini", "generate_content", "g"), "contents"),
        (Place("ollama", "ollama"), "model"),
    ],
)
def test_what_the_service_demands_is_demanded(place: Place, missing: str) -> None:
    """A request that a real service would refuse is refused, with the field's name."""
    body = {"model": "m", "messages": [1], "max_tokens": 1, "contents": [1], "input": "x"}
    del body[missing]
    answer = answered(place, body)
    assert answer.status == 400
    assert missing.encode() in (answer.body or b"")


def test_no_usage_is_nowhere() -> None:
    """The fault takes usage away from bodies and streams alike."""
    for operation, dialect, body in (
        ("chat", "openai", CHAT),
        ("responses", "openai", {"model": "m", "input": "x"}),
        ("messages", "anthropic", CHAT | {"max_tokens": 5}),
    ):
        place = Place("openai", operation) if dialect == "openai" else Place("anthropic", operation)
        whole = json.loads(answered(place, body, Faults(no_usage=True)).body or b"")
        assert whole.get("usage") is None
        streamed = answered(
            place, body | {"stream": True, "stream_options": {"include_usage": True}}, Faults(no_usage=True)
        )
        assert b'"usage":{' not in b"".join(streamed.pieces or ())


def test_status_below_300_changes_the_status_alone() -> None:
    """201 with the usual body."""
    answer = answered(Place("openai", "chat"), CHAT, Faults(status=201))
    assert answer.status == 201
    assert json.loads(answer.body or b"")["object"] == "chat.completion"


def test_facts_for_the_ledger() -> None:
    """Model, nonce and tokens."""
    answer = answered(Place("openai", "chat"), CHAT)
    assert (answer.model, answer.nonce, answer.input_tokens, answer.output_tokens) == ("m", "nonce-1", 2, 3)


@pytest.mark.parametrize("at", [0, 1, 3])
def test_error_in_stream_comes_after_so_many_events(at: int) -> None:
    """The events before it are the usual ones."""
    body = CHAT | {"stream": True}
    usual = list(answered(Place("openai", "chat"), body).pieces or ())
    found = list(answered(Place("openai", "chat"), body, Faults(error_in_stream=at)).pieces or ())
    assert found[:at] == usual[:at]
    assert len(found) == at + 1
    assert b'"error"' in found[-1]
