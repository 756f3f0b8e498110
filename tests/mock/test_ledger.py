"""The ledger: what was served, within bounded memory."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from flumegate.mock import ledger as ledger_
from flumegate.mock.ledger import Ledger, Row
from rig.mock import Mock


def row(**fields: Any) -> Row:
    usual: dict[str, Any] = {
        "seq": 0,
        "method": "POST",
        "target": "/v1/x?a=1",
        "dialect": "openai",
        "operation": "chat",
    }
    return Row(**(usual | {"started_at": 1.0, "headers": [(b"x-a", b"1")]} | fields))


def test_a_call_leaves_its_row(mock: Mock) -> None:
    """Everything that a test may want to compare: tokens, nonce, tag, bytes, hash, headers, body, times, outcome."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi nonce-led1 x"}]}).encode()
    reply = mock.post("/v1/chat/completions?q=1", body, x_mock_tag="led-tag", x_custom="Seen")
    [found] = mock.ledger(tag="led-tag")
    assert found == mock.ledger(tag="nonce-led1")[0]
    assert found["seq"] == int(reply.headers["x-mock-call"])
    assert (found["method"], found["path"], found["query"]) == ("POST", "/v1/chat/completions", "q=1")
    assert (found["model"], found["dialect"], found["operation"]) == ("gpt-4o", "openai", "chat")
    assert (found["stream"], found["status"], found["outcome"]) == (False, 200, "complete")
    assert (found["input_tokens"], found["output_tokens"]) == (3, 4)
    assert (found["nonce"], found["tag"]) == ("nonce-led1", "led-tag")
    assert (found["bytes_in"], found["bytes_out"]) == (len(body), len(reply.body))
    assert found["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert base64.b64decode(found["body"]) == body
    assert ["x-custom", "Seen"] in found["headers"]
    assert found["ended_at"] >= found["started_at"] > 0


def test_since_and_own_calls(mock: Mock) -> None:
    """Only later rows are listed; the mock's own addresses leave none."""
    mock.get("/v1/models", x_mock_tag="since-1")
    [first] = mock.ledger(tag="since-1")
    mock.get("/v1/models", x_mock_tag="since-2")
    later = mock.ledger(since=first["seq"])
    assert "since-2" in [found["tag"] for found in later]
    assert all(found["seq"] > first["seq"] for found in later)
    assert not [found for found in later if found["path"].startswith("/mock")]


def test_caller_that_leaves_is_noted(mock: Mock) -> None:
    """A stream that is left halfway: its outcome, when the end was seen, and how long after the caller's mark."""
    body = json.dumps({"model": "m+interval=20,tokens=10000", "stream": True, "messages": [{"role": "user"}]}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: m\r\nx-mock-tag: left\r\ncontent-length: %d\r\n\r\n" % len(
        body
    )
    with mock.connect() as end:
        end.sendall(head + body)
        assert end.recv(1024)
        assert mock.state()["open_sockets"] >= 1
        mock.mark("left")
    [found] = mock.ended("left")
    assert found["outcome"] == "client_closed"
    assert found["eof_at"] >= found["started_at"]
    assert found["abort_to_eof_ms"] >= 0
    assert 0 < found["bytes_out"] < 1_000_000


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest rows go first and are counted."""
    monkeypatch.setattr(ledger_, "ROWS_MAX", 3)
    kept = Ledger()
    for _ in range(5):
        kept.end(kept.begin(row()), "complete", 2.0)
    listed: Any = kept.listing()
    assert [one["seq"] for one in listed["calls"]] == [3, 4, 5]
    assert (listed["older"], kept.counts()["calls"]) == (2, 5)


def test_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body is cut, its hash is not; all bodies together have a limit, the oldest goes first."""
    monkeypatch.setattr(ledger_, "BODY_BYTES_MAX", 10)
    monkeypatch.setattr(ledger_, "ALL_BODIES_BYTES_MAX", 25)
    kept = Ledger()
    for _ in range(3):
        kept.keep_body(kept.begin(row()), b"x" * 100)
    listed: Any = kept.listing()
    assert [one["body"] and len(base64.b64decode(one["body"])) for one in listed["calls"]] == [None, 10, 10]
    assert {one["bytes_in"] for one in listed["calls"]} == {100}
    assert {one["body_sha256"] for one in listed["calls"]} == {hashlib.sha256(b"x" * 100).hexdigest()}


def test_a_forgotten_row_gives_its_body_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that fall out do not count towards the bodies any more, in whatever order their bodies came."""
    monkeypatch.setattr(ledger_, "ROWS_MAX", 2)
    monkeypatch.setattr(ledger_, "ALL_BODIES_BYTES_MAX", 25)
    kept = Ledger()
    first, second = kept.begin(row()), kept.begin(row())
    kept.keep_body(second, b"s" * 10)
    kept.keep_body(first, b"f" * 10)
    third = kept.begin(row())
    kept.keep_body(third, b"t" * 10)
    assert (first.body, second.body, third.body) == (None, b"s" * 10, b"t" * 10)


def test_a_call_ends_once() -> None:
    """The second end of a call changes nothing, so counters stay true."""
    kept = Ledger()
    one = kept.begin(row())
    kept.end(one, "cut", 2.0)
    kept.end(one, "client_closed", 3.0)
    assert (one.outcome, kept.in_flight, kept.counts()["outcomes"]) == ("cut", 0, {"cut": 1})


def test_clear_keeps_what_still_runs() -> None:
    """Rows that have ended are forgotten; open ones stay, and numbers go on."""
    kept = Ledger()
    kept.end(kept.begin(row()), "complete", 2.0)
    running = kept.begin(row())
    kept.clear()
    assert [one.seq for one in kept.rows] == [running.seq] == [2]
    assert kept.begin(row()).seq == 3
    assert kept.in_flight == 2


def test_marks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest mark goes first."""
    monkeypatch.setattr(ledger_, "MARKS_MAX", 1)
    kept = Ledger()
    kept.mark("a", 1.0)
    kept.mark("b", 2.0)
    old, new = kept.begin(row(tag="a")), kept.begin(row(nonce="b"))
    kept.eof(old, 3.0)
    kept.eof(new, 3.5)
    assert (old.abort_to_eof_ms, new.abort_to_eof_ms) == (None, 1500.0)
