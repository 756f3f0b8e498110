"""Records and contents for tests, each with an id of its own."""

from __future__ import annotations

import msgspec

from flumegate.records.request import Attempt, Content, Record
from flumegate.spool.segments import frame

_encode = msgspec.msgpack.Encoder().encode


def make_record(number: int, **fields: object) -> Record:
    """Return a finished request, as a worker would write it; fields replace those of the example."""
    record = Record(
        id=f"record-{number:08d}",
        request_id=f"req-{number:08d}",
        started_at=1_750_000_000.0 + number,
        method="POST",
        path="/v1/chat/completions",
        endpoint="chat",
        dialect="openai",
        lane="verbatim",
        key_id="static-0a1b2c3d",
        client="127.0.0.1",
        provider="openai",
        model_requested="smart",
        model="gpt-4o",
        status=200,
        duration_us=1_234_567,
        upstream_us=1_200_000,
        first_byte_us=310_000,
        input_tokens=1203,
        output_tokens=320,
        usage_source="upstream",
        finish_reason="stop",
        request_bytes=1100,
        response_bytes=600,
        attempts=(Attempt("openai/gpt-4o", 1000, 310_000, 1_200_000, 200),),
    )
    return msgspec.structs.replace(record, **fields)


def make_content(number: int, size: int = 100) -> Content:
    """Return the bodies of the request of that number."""
    return Content(f"record-{number:08d}", b"q" * size, b"a" * size)


def framed(*rows: Record | Content) -> list[bytes]:
    """Return the rows as frames."""
    return [frame(_encode(row)) for row in rows]
