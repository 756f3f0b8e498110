"""What all connections share: the demanded key, turns and dice of the faults, the mock's own answers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from flumegate.mock import stage as stage_
from flumegate.mock.answer import Request
from flumegate.mock.options import Options
from flumegate.mock.paths import Place
from flumegate.mock.stage import Stage
from rig.mock import Mock, run_mock

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
MESSAGES = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
GENERATE = {"contents": [{"parts": [{"text": "x"}]}]}


@pytest.fixture(scope="module")
def locked() -> Iterator[Mock]:
    with run_mock("--key", "sk-right") as running:
        yield running


@pytest.mark.parametrize(
    ("path", "body", "headers", "right"),
    [
        ("/v1/chat/completions", CHAT, {"authorization": "Bearer sk-right"}, True),
        ("/v1/chat/completions", CHAT, {"authorization": "Bearer sk-wrong"}, False),
        ("/v1/chat/completions", CHAT, {"x-goog-api-key": "sk-right"}, False),
        ("/v1/chat/completions", CHAT, {}, False),
        ("/openai/deployments/d/chat/completions", CHAT, {"api-key": "sk-right"}, True),
        ("/v1/messages", MESSAGES, {"x-api-key": "sk-right", "anthropic-version": "2023-06-01"}, True),
        ("/v1/messages", MESSAGES, {"authorization": "Bearer sk-right", "anthropic-version": "1"}, True),
        ("/v1/messages", MESSAGES, {"x-api-key": "sk-wrong", "anthropic-version": "2023-06-01"}, False),
        ("/v1beta/models/g:generateContent", GENERATE, {"x-goog-api-key": "sk-right"}, True),
        ("/v1beta/models/g:generateContent?key=sk-right", GENERATE, {}, True),
        ("/v1beta/models/g:generateContent", GENERATE, {}, False),
        ("/api/chat", CHAT, {"authorization": "Bearer sk-right"}, True),
        ("/api/chat", CHAT, {}, False),
    ],
)
def test_key_is_demanded_in_the_dialects_header(
    locked: Mock, path: str, body: dict[str, Any], headers: dict[str, str], right: bool
) -> None:
    """401 in the dialect's shape for everyone else."""
    reply = locked.request("POST", path, body, headers)
    assert reply.status == (200 if right else 401)
    if not right:
        assert "error" in reply.json()


def test_own_addresses_need_no_key(locked: Mock) -> None:
    """Health, ledger and state are the tester's."""
    assert locked.get("/health").json() == {"status": "ok"}
    assert locked.state()["pid"] == locked.pid


def test_times_spares_later_calls(mock: Mock) -> None:
    """The first two calls of a tag fail, the third is served; another tag has its own count."""

    def statuses(tag: str) -> list[int]:
        body = CHAT | {"model": "m+status=503,times=2"}
        return [mock.post("/v1/chat/completions", body, x_mock_tag=tag).status for _ in range(3)]

    assert statuses("times-a") == [503, 503, 200]
    assert statuses("times-b") == [503, 503, 200]


def test_turns_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest tag's count is forgotten first."""
    monkeypatch.setattr(stage_, "TURNS_MAX", 1)
    stage = Stage(Options())

    def status(tag: bytes) -> int:
        headers = [(b"x-mock-tag", tag), (b"x-mock-fault", b"status=500,times=1")]
        place = Place("openai", "chat")
        request = Request(method="POST", target="/", place=place, headers=headers, body=json.dumps(CHAT).encode())
        return stage.answer(request, 1)[0].status

    assert [status(tag) for tag in (b"a", b"a", b"b", b"a")] == [500, 200, 500, 500]


def test_share_is_thrown_with_seeded_dice() -> None:
    """The same seed spares the same calls, about as many as it should."""

    def statuses(seed: int) -> list[int]:
        stage = Stage(Options(seed=seed))
        headers = [(b"x-mock-fault", b"status=500,share=0.3")]
        request = Request(
            method="POST",
            target="/",
            place=Place("openai", "chat"),
            headers=headers,
            body=json.dumps(CHAT).encode(),
        )
        return [stage.answer(request, number)[0].status for number in range(1000)]

    assert statuses(1) == statuses(1) != statuses(2)
    assert 230 < statuses(1).count(500) < 370


def test_encoded_requests_are_read(mock: Mock) -> None:
    """Real clients compress their bodies; unknown or broken codings have statuses of their own."""
    body = gzip.compress(json.dumps(CHAT).encode())
    assert mock.post("/v1/chat/completions", body, content_encoding="gzip").status == 200
    assert mock.post("/v1/chat/completions", body, content_encoding="rot13").status == 415
    assert mock.post("/v1/chat/completions", body[:-9], content_encoding="gzip").status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"NaN"])
def test_what_is_no_json_object_is_refused(mock: Mock, body: bytes) -> None:
    """400 in the dialect's shape, for every dialect."""
    for path in ("/v1/chat/completions", "/v1/messages", "/api/chat", "/v1beta/models/g:generateContent"):
        reply = mock.post(path, body)
        assert reply.status == 400
        assert "JSON" in str(reply.json()["error"])


def test_unknown_fault_is_an_error(mock: Mock) -> None:
    """A misspelt fault is told, not ignored."""
    reply = mock.post("/v1/chat/completions", CHAT, x_mock_fault="stalll_ms=3")
    assert reply.status == 400
    assert reply.json()["error"]["code"] == "unknown_fault"


def test_clear_forgets(locked: Mock) -> None:
    """After `clear=1` the ledger and the counters are empty."""
    locked.get("/v1/models")
    assert locked.ledger()
    locked.clear()
    assert locked.ledger() == []
    assert locked.state()["calls"] == 0


def test_an_aws_key_is_demanded_at_bedrock_only() -> None:
    """Others answer as before; whoever sends a signature has it verified wherever it goes."""
    converse = {"messages": [{"role": "user", "content": [{"text": "x"}]}]}
    with run_mock("--aws-key", "id:secret") as mock:
        assert mock.post("/v1/chat/completions", CHAT).status == 200
        assert mock.post("/v1/chat/completions", CHAT, authorization="AWS4-HMAC-SHA256 nonsense").status == 401
        refused = mock.post("/model/m/converse", converse)
        assert (refused.status, refused.headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
        assert "no signature" in refused.json()["message"]
