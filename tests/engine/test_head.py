from __future__ import annotations

import asyncio

import pytest

from flumegate.dialects.registry import ENDPOINTS
from flumegate.engine.head import AnswerHead, status_line
from flumegate.routing.plan import Plan
from flumegate.snapshot import Timeouts
from flumegate.upstream.call import Call
from rig.exchanges import KeptReply, exchange, provider, snapshot
from rig.plans import plan_of, planner_of

CHAT = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "chat")
EVENTS = (b"content-type", b"text/event-stream")
Fields = list[tuple[bytes, bytes]]


def plan() -> Plan:
    return plan_of(planner_of(snapshot(provider(), default_provider="up")).course(CHAT, "m"))


def answer(headers: Fields, *, status: int = 200, headless: bool = False) -> AnswerHead:
    """Judge a head as it would come from a connection."""

    async def judge() -> AnswerHead:
        call = Call(asyncio.get_running_loop().create_future(), "up", Timeouts(), headless=headless)
        call.status, call.headers = status, headers
        return AnswerHead(call)

    return asyncio.run(judge())


def written(
    head: AnswerHead,
    length: int | None = None,
    *,
    http11: bool = True,
    keep_alive: bool = True,
    extra: bytes = b"",
) -> tuple[list[bytes], bool, KeptReply]:
    """Return the lines of the head, whether the body is to be chunked, and the client's side."""
    asked = exchange()
    reply = KeptReply(http11=http11, keep_alive=keep_alive)
    asked.reply = reply
    asked.sent, asked.first_byte = 1.0, 1.25
    data, chunked = head.write(asked, plan(), extra, length)
    assert data.endswith(b"\r\n\r\n")
    assert asked.head_sent
    lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert all(lines)
    return lines, chunked, reply


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (429, b"HTTP/1.1 429 Too Many Requests\r\n"),
        (529, b"HTTP/1.1 529 Status\r\n"),
        (999, b"HTTP/1.1 999 Status\r\n"),
    ],
)
def test_any_status_has_a_line(status: int, line: bytes) -> None:
    """Vendors use numbers of their own."""
    assert status_line(status) == line


def test_what_a_client_sees_of_a_head() -> None:
    """The upstream's fields that travel, framing, who served, ids and time; nothing of the upstream's account."""
    head = answer(
        [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"12"),
            (b"X-Request-Id", b"up-1"),
            (b"openai-organization", b"org"),
            (b"Set-Cookie", b"a=b"),
            (b"Transfer-Encoding", b"chunked"),
            (b"openai-processing-ms", b"7"),
        ]
    )
    lines, chunked, _ = written(head, extra=b"x-extra: 1\r\n")
    assert lines == [
        b"HTTP/1.1 200 OK",
        b"content-type: application/json",
        b"x-upstream-request-id: up-1",
        b"openai-processing-ms: 7",
        b"content-length: 12",
        b"x-flumegate-provider: up",
        b"x-flumegate-model: m",
        b"x-flumegate-lane: verbatim",
        b"x-flumegate-attempts: 1",
        b"x-cache-status: bypass",
        b"x-request-id: req-1",
        b"request-id: req-1",
        b"x-upstream-response-time: 250",
        b"x-extra: 1",
    ]
    assert not chunked


@pytest.mark.parametrize(
    ("headers", "length", "http11", "framing"),
    [
        ([], 5, True, b"content-length: 5"),
        ([], 0, True, b"content-length: 0"),
        ([(b"content-length", b"9")], 5, True, b"content-length: 5"),
        ([(b"content-length", b"9")], None, True, b"content-length: 9"),
        ([(b"content-length", b"9")], None, False, b"content-length: 9"),
        ([], None, True, b"transfer-encoding: chunked"),
        ([], None, False, b"connection: close"),
        ([(b"content-length", b"9"), (b"content-encoding", b"gzip")], None, True, b"transfer-encoding: chunked"),
        ([(b"content-length", b"9"), (b"content-encoding", b"Identity")], None, True, b"content-length: 9"),
        (
            [(b"content-length", b"9"), (b"content-type", b"text/event-stream")],
            None,
            True,
            b"transfer-encoding: chunked",
        ),
    ],
)
def test_every_body_is_framed_in_one_way(headers: Fields, length: int | None, http11: bool, framing: bytes) -> None:
    """By its length where it is known, else in chunks, else by the connection's end (RFC 9112 §6.3)."""
    lines, chunked, reply = written(answer(headers), length, http11=http11)
    kinds = (b"content-length:", b"transfer-encoding:", b"connection:")
    assert [line for line in lines if line.startswith(kinds)] == [framing]
    assert chunked == framing.startswith(b"transfer")
    assert reply.keep_alive != framing.startswith(b"connection")
    assert not any(line.startswith(b"content-encoding") for line in lines)


@pytest.mark.parametrize("status", [204, 304])
def test_some_statuses_have_no_body(status: int) -> None:
    """Whatever their head says, nothing follows and nothing is framed (RFC 9112 §6.3)."""
    head = answer([(b"content-length", b"9")], status=status)
    assert head.bodiless
    lines, chunked, _ = written(head, 0)
    assert not chunked
    assert not any(line.startswith((b"content-length", b"transfer-encoding")) for line in lines)


@pytest.mark.parametrize(("headers", "framing"), [([(b"content-length", b"9")], [b"content-length: 9"]), ([], [])])
def test_an_answer_to_head_keeps_its_announced_length(headers: Fields, framing: list[bytes]) -> None:
    """A client asks HEAD to learn it; no body follows."""
    head = answer(headers, headless=True)
    assert head.bodiless
    lines, chunked, reply = written(head)
    assert [line for line in lines if line.startswith((b"content-length", b"transfer-encoding"))] == framing
    assert (chunked, reply.keep_alive) == (False, True)


@pytest.mark.parametrize(
    ("media_type", "sse"),
    [
        (b"text/event-stream", True),
        (b"Text/Event-Stream; charset=utf-8", True),
        (b"application/json", False),
        (b"text/plain", False),
    ],
)
def test_a_stream_of_events_is_not_to_be_buffered(media_type: bytes, sse: bool) -> None:
    """Proxies in front of us are told so."""
    head = answer([(b"content-type", media_type)])
    assert head.sse is sse
    lines, _, _ = written(head)
    assert (b"x-accel-buffering: no" in lines) is sse
    assert b"content-type: " + media_type in lines


@pytest.mark.parametrize(
    ("value", "encoding"), [(b"gzip", b"gzip"), (b"br", b"br"), (b" identity ", b""), (b"IDENTITY", b"")]
)
def test_a_coding_is_to_be_undone(value: bytes, encoding: bytes) -> None:
    """Identity is none."""
    assert answer([(b"content-encoding", value)]).encoding == encoding


def test_fields_named_by_connection_go_no_further() -> None:
    """Hop-by-hop by the upstream's own word."""
    head = answer([(b"x-hop", b"1"), (b"Connection", b"close, X-Hop"), (b"x-end", b"2")])
    lines, _, _ = written(head, 0)
    assert b"x-end: 2" in lines
    assert not any(line.startswith((b"x-hop", b"connection")) for line in lines)


def test_a_connection_that_ends_says_so() -> None:
    """The client need not find out by itself."""
    lines, _, _ = written(answer([]), 0, keep_alive=False)
    assert b"connection: close" in lines
