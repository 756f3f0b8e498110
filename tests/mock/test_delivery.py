"""Every fault of the wire, seen on a bare socket."""

from __future__ import annotations

import json
import select
import socket
import time
import zlib
from typing import Any

import brotli
import pytest
import zstandard

from flumegate.mock.delivery import GARBAGE
from rig.mock import Mock, Raw

PROMPT = "one two three"
STREAM_EVENTS = 7
"""role, four words, reason, `[DONE]`."""


def request(fault: str, *, stream: bool = True, tag: str = "", path: str = "/v1/chat/completions") -> bytes:
    body = json.dumps(
        {"model": f"m+{fault}" if fault else "m", "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}
    ).encode()
    return (
        b"POST %b HTTP/1.1\r\nhost: mock\r\nconnection: close\r\nx-mock-tag: %b\r\ncontent-length: %d\r\n\r\n"
        % (path.encode(), tag.encode(), len(body))
    ) + body


def chunks(raw: Raw) -> tuple[list[bytes], bool]:
    """Return the chunks of a body, and whether the last chunk said that it is whole."""
    found: list[bytes] = []
    rest = raw.body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return found, rest == b"\r\n"
        found.append(rest[:length])
        rest = rest[length + 2 :]
    return found, False


def head_of(raw: Raw) -> dict[str, str]:
    return dict(line.lower().split(": ", 1) for line in raw.head.decode().split("\r\n")[1:])


def first_bytes(mock: Mock, fault: str, tag: str, until: bytes, *, stream: bool = True) -> tuple[socket.socket, bytes]:
    """Return an open connection and what came on it up to and with `until`."""
    end = mock.connect()
    end.sendall(request(fault, tag=tag, stream=stream))
    data = b""
    while until not in data:
        piece = end.recv(65536)
        assert piece, f"the connection ended after {data!r}"
        data += piece
    return end, data


def test_each_event_is_a_chunk(mock: Mock) -> None:
    """Without a fault a stream is whole, one event a chunk."""
    found, whole = chunks(mock.raw(request("")))
    assert whole
    assert len(found) == STREAM_EVENTS
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in found)


@pytest.mark.parametrize("size", [0, 1, 300])
@pytest.mark.parametrize("stream", [True, False])
def test_cut_closes_cleanly_after_n_bytes(mock: Mock, size: int, stream: bool) -> None:
    """So many bytes of the body, then FIN; the framing stays unfinished."""
    tag = f"cut-{size}-{stream}"
    raw = mock.raw(request(f"cut={size}", stream=stream, tag=tag))
    assert not raw.reset
    if stream:
        found, whole = chunks(raw)
        assert not whole
        assert len(b"".join(found)) == size
    else:
        assert len(raw.body) == size < int(head_of(raw)["content-length"])
    [row] = mock.ended(tag)
    assert (row["outcome"], row["bytes_out"]) == ("cut", size)


@pytest.mark.parametrize("size", [0, 300])
@pytest.mark.parametrize("stream", [True, False])
def test_rst_resets_after_n_bytes(mock: Mock, size: int, stream: bool) -> None:
    """So many bytes of the body arrive, then a reset."""
    tag = f"rst-{size}-{stream}"
    raw = mock.raw(request(f"rst={size}", stream=stream, tag=tag))
    assert raw.reset
    assert len(b"".join(chunks(raw)[0]) if stream else raw.body) == size
    [row] = mock.ended(tag)
    assert (row["outcome"], row["bytes_out"]) == ("rst", size)


def test_cut_beyond_the_end_leaves_the_framing_unfinished(mock: Mock) -> None:
    """All events come, even `[DONE]`, but not the last chunk."""
    found, whole = chunks(mock.raw(request("cut=100000")))
    assert found[-1] == b"data: [DONE]\n\n"
    assert not whole


def test_close_before_head(mock: Mock) -> None:
    """Not a byte, then FIN; with `rst` a reset."""
    assert mock.raw(request("close_before_head", tag="close")) == Raw(b"", reset=False)
    assert mock.raw(request("close_before_head,rst")) == Raw(b"", reset=True)
    assert mock.ended("close")[0]["outcome"] == "closed"


def test_garbage_is_not_http(mock: Mock) -> None:
    """Bytes that no parser takes for an answer."""
    assert mock.raw(request("garbage", tag="garbage")) == Raw(GARBAGE, reset=False)
    assert mock.ended("garbage")[0]["outcome"] == "garbage"


def test_empty_and_html(mock: Mock) -> None:
    """A head without a body; a page instead of JSON, with a status if one is given."""
    empty = mock.raw(request("empty"))
    assert (empty.body, head_of(empty)["content-length"]) == (b"", "0")
    page = mock.raw(request("html,status=502"))
    assert page.head.startswith(b"HTTP/1.1 502 ")
    assert head_of(page)["content-type"].startswith("text/html")
    assert page.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("stream", [True, False])
def test_hang_never_ends(mock: Mock, stream: bool) -> None:
    """After so many events nothing comes; the ledger calls it a hang once the caller has left."""
    tag = f"hang-{stream}"
    end, _ = first_bytes(mock, "hang=1", tag, b"assistant" if stream else b"\r\n\r\n", stream=stream)
    with end:
        assert [row["outcome"] for row in mock.ledger(tag=tag)] == ["open"]
        assert mock.state()["in_flight"] >= 1
    [row] = mock.ended(tag)
    assert row["outcome"] == "hang"
    assert row["eof_at"] is not None


def test_hang_at_zero_sends_the_head_alone(mock: Mock) -> None:
    """The head is there, no byte of the body is on its way."""
    end, data = first_bytes(mock, "hang=0", "hang-0", b"\r\n\r\n")
    with end:
        assert data.endswith(b"\r\n\r\n")
        assert select.select([end], [], [], 0.05)[0] == []


@pytest.mark.parametrize(
    ("fault", "until"), [("first_byte_ms=150", b"\r\n\r\n"), ("stall_ms=150,stall_at=1", b'"refusal":null')]
)
def test_delays_hold_only_what_follows(mock: Mock, fault: str, until: bytes) -> None:
    """Head or first event at once, the rest later, and then the stream is whole."""
    end, data = first_bytes(mock, fault, "", until)
    with end:
        begun = time.monotonic()
        assert b"echo" not in data
        while b"[DONE]" not in data:
            data += end.recv(65536)
        # A lower bound only: a slow machine cannot fail it.
        assert time.monotonic() - begun > 0.1
    assert b"three" in data


def test_latency_holds_the_head(mock: Mock) -> None:
    """Nothing comes before the time is over."""
    begun = time.monotonic()
    found, whole = chunks(mock.raw(request("latency=120")))
    assert time.monotonic() - begun >= 0.12
    assert whole
    assert len(found) == STREAM_EVENTS


def test_interval_spreads_the_events(mock: Mock) -> None:
    """So long between any two events, and nothing is lost."""
    begun = time.monotonic()
    found, whole = chunks(mock.raw(request("interval=20")))
    assert time.monotonic() - begun >= 0.02 * (STREAM_EVENTS - 1)
    assert whole
    assert len(found) == STREAM_EVENTS


def test_rate_slows_the_bytes(mock: Mock) -> None:
    """So many bytes a second, the body whole."""
    begun = time.monotonic()
    raw = mock.raw(request("rate=5000", stream=False))
    assert time.monotonic() - begun >= 0.9 * (len(raw.body) - 100) / 5000
    assert json.loads(raw.body)["choices"][0]["message"]["content"] == f"echo: {PROMPT}"


@pytest.mark.parametrize("stream", [True, False])
def test_one_byte_sends_each_byte_alone(mock: Mock, stream: bool) -> None:
    """Every chunk of a stream holds one byte; a plain body comes whole all the same."""
    raw = mock.raw(request("one_byte", stream=stream))
    if stream:
        found, whole = chunks(raw)
        assert whole
        assert {len(one) for one in found} == {1}
        assert b"".join(found).endswith(b"data: [DONE]\n\n")
    else:
        assert json.loads(raw.body)["object"] == "chat.completion"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("stream", [True, False])
def test_codings(mock: Mock, coding: str, stream: bool) -> None:
    """The body is encoded and says so; each event of a stream can be decoded when it arrives."""
    raw = mock.raw(request(coding, stream=stream))
    assert head_of(raw)["content-encoding"] == coding
    pieces = chunks(raw)[0] if stream else [raw.body]
    decoders: dict[str, Any] = {
        "gzip": zlib.decompressobj(31).decompress,
        "deflate": zlib.decompressobj(15).decompress,
        "br": brotli.Decompressor().process,
        "zstd": zstandard.ZstdDecompressor().decompressobj().decompress,
    }
    decoded = [piece for piece in map(decoders[coding], pieces) if piece]
    assert b"echo: " in b"".join(decoded)
    if stream:
        assert len(decoded) == STREAM_EVENTS
        assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in decoded)


@pytest.mark.parametrize(("fault", "end"), [("lf", b"\n"), ("crlf", b"\r\n"), ("cr", b"\r")])
def test_line_ends(mock: Mock, fault: str, end: bytes) -> None:
    """Events end with the blank line that was asked for."""
    found, _ = chunks(mock.raw(request(fault)))
    assert all(event.endswith(end * 2) for event in found)
    assert found[-1] == b"data: [DONE]" + end * 2


def test_chunk_puts_events_together(mock: Mock) -> None:
    """So many events in a write, the last one with the rest."""
    found, whole = chunks(mock.raw(request("chunk=3")))
    assert whole
    assert [piece.count(b"data: ") for piece in found] == [3, 3, 1]


def test_event_bytes_and_tokens_size_a_stream(mock: Mock) -> None:
    """So many words of so many bytes each."""
    found, _ = chunks(mock.raw(request("tokens=20,event_bytes=500")))
    said = [json.loads(event[6:])["choices"][0]["delta"].get("content", "") for event in found[:-1]]
    words = [word for word in said if word]
    assert len(words) == 20
    assert {len(word) for word in words} == {500}


def test_no_done_leaves_the_end_out(mock: Mock) -> None:
    """The framing is whole, the terminal event is missing."""
    found, whole = chunks(mock.raw(request("no_done")))
    assert whole
    assert b'"finish_reason":"stop"' in found[-1]


def test_malformed_breaks_json(mock: Mock) -> None:
    """One event, or the one body, is no JSON; its framing is whole."""
    found, whole = chunks(mock.raw(request("malformed=2")))
    assert whole
    broken = [place for place, event in enumerate(found[:-1]) if not parses(event[6:])]
    assert broken == [2]
    raw = mock.raw(request("malformed", stream=False))
    assert len(raw.body) == int(head_of(raw)["content-length"])
    assert not parses(raw.body)


def parses(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def test_big_header_and_retry_after(mock: Mock) -> None:
    """Headers of any size; how long to wait."""
    head = head_of(mock.raw(request("big_header=40000,status=503,retry_after=7")))
    assert len(head["x-mock-big"]) == 40000
    assert head["retry-after"] == "7"


def test_no_length_sends_a_body_chunked(mock: Mock) -> None:
    """A body that is known in full comes without its length."""
    raw = mock.raw(request("no_length", stream=False))
    assert "content-length" not in head_of(raw)
    found, whole = chunks(raw)
    assert whole
    assert json.loads(b"".join(found))["object"] == "chat.completion"


def test_http10_gets_no_chunks(mock: Mock) -> None:
    """The end of the connection is the end of the body."""
    raw = mock.raw(request("").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert "transfer-encoding" not in head_of(raw)
    assert raw.body.endswith(b"data: [DONE]\n\n")


def test_slow_reader_costs_no_memory(mock: Mock) -> None:
    """A stream of 400 MB that nobody reads stops at full buffers, and its caller's leaving is seen."""
    before = mock.state()["peak_memory_bytes"]
    end, _ = first_bytes(mock, "tokens=100000,event_bytes=4096", "slow", b"assistant")
    with end:
        limit = time.monotonic() + 20
        sent = -1
        while (now := mock.state()["peak_memory_bytes"]) and sent != now and time.monotonic() < limit:
            sent = now
        assert mock.ledger(tag="slow")[0]["outcome"] == "open"
    [row] = mock.ended("slow")
    assert row["outcome"] == "client_closed"
    assert row["bytes_out"] < 50_000_000
    assert mock.state()["peak_memory_bytes"] - before < 20_000_000
