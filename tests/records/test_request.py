from __future__ import annotations

import msgspec

from flumegate.records.request import Attempt, Content, Record

ENCODE = msgspec.msgpack.encode


def test_records_travel() -> None:
    """What a worker writes is what the store reads, attempts included."""
    record = Record(
        "1",
        "req-1",
        1.5,
        "POST",
        "/v1/chat/completions",
        attempts=(Attempt("up/m", 10, 20, 30, 200), Attempt("up/m", 40, outcome="upstream_connect")),
        losses=("dropped:seed",),
        input_tokens=0,
    )
    assert msgspec.msgpack.decode(ENCODE(record), type=Record) == record


def test_a_record_of_an_older_worker_is_read() -> None:
    """Fields are only ever appended, so a shorter array is an older record with defaults for the rest."""
    old = ENCODE(["1", "req-1", 1.5, "POST", "/v1/models", "models"])
    record = msgspec.msgpack.decode(old, type=Record)
    assert (record.endpoint, record.outcome, record.input_tokens, record.attempts) == ("models", "ok", None, ())


def test_a_record_of_a_newer_worker_is_read() -> None:
    """Control may be restarted later than a worker: what it does not know, it leaves."""
    row = [*msgspec.msgpack.decode(ENCODE(Record("1", "r", 0.0, "GET", "/"))), "new", 7]
    assert msgspec.msgpack.decode(ENCODE(row), type=Record).id == "1"


def test_the_order_of_the_fields_is_the_format() -> None:
    """Whoever moves or removes a field breaks the reading of spools that exist: append only."""
    assert Record.__struct_fields__[:44] == (
        *("id", "request_id", "started_at", "method", "path", "endpoint", "dialect", "lane", "key_id", "project"),
        *("client", "provider", "model_requested", "model", "stream", "status", "outcome", "error_code"),
        *("duration_us", "upstream_us", "first_byte_us", "first_token_us"),
        *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source"),
        *("finish_reason", "request_bytes", "response_bytes", "client_abort", "tags", "trace_id"),
        *("attempts", "losses", "cost_micros", "price_version", "cache_status"),
    )
    assert Attempt.__struct_fields__ == ("target", "started_us", "first_byte_us", "ended_us", "status", "outcome")
    assert Content.__struct_fields__ == ("id", "request_body", "response_body")


def test_content_keeps_bytes() -> None:
    """Bodies are bytes, whatever they hold."""
    content = Content("1", b"\x00\xff", b"")
    assert msgspec.msgpack.decode(ENCODE(content), type=Content) == content
