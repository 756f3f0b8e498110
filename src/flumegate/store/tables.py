"""The tables, one column for each field of a Record, under the field's name.

Field order is column order. `sequence` counts rows as they are stored, so that a reader can ask for what is new.
Contents have a table of their own and no reference to `requests`: the two travel in separate segments, and either may
arrive first or not at all. A change here raises SCHEMA_VERSION.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _optional(name: str) -> Column[int | None]:
    return Column(name, Integer)


requests = Table(
    "requests",
    metadata,
    Column("sequence", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    _text("request_id"),
    Column("started_at", Float, nullable=False),
    _text("method"),
    _text("path"),
    _text("endpoint"),
    _text("dialect"),
    _text("lane"),
    _text("key_id"),
    _text("project"),
    _text("client"),
    _text("provider"),
    _text("model_requested"),
    _text("model"),
    Column("stream", Boolean, nullable=False),
    _number("status"),
    _text("outcome"),
    _text("error_code"),
    _number("duration_us"),
    _optional("upstream_us"),
    _optional("first_byte_us"),
    _optional("first_token_us"),
    _optional("input_tokens"),
    _optional("output_tokens"),
    _optional("cached_tokens"),
    _optional("cache_write_tokens"),
    _optional("reasoning_tokens"),
    _text("usage_source"),
    _text("finish_reason"),
    _number("request_bytes"),
    _number("response_bytes"),
    Column("client_abort", Boolean, nullable=False),
    _text("tags"),
    _text("trace_id"),
    Column("attempts", Text, nullable=False, comment="JSON: list of objects, one an attempt"),
    Column("losses", Text, nullable=False, comment="JSON: list of strings"),
    _optional("cost_micros"),
    _text("price_version"),
    _text("cache_status"),
    Index("requests_by_time", "started_at", "id"),
    Index("requests_by_request_id", "request_id"),
    Index("requests_by_key", "key_id", "started_at"),
    Index("requests_by_provider", "provider", "started_at"),
    Index("requests_by_model", "model", "started_at"),
    Index("requests_by_status", "status", "started_at"),
    Index("requests_by_outcome", "outcome", "started_at"),
    sqlite_autoincrement=True,  # a number is never given twice, also when all rows have been deleted
)

contents = Table(
    "contents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("stored_at", Float, nullable=False, index=True),
    Column("request_body", LargeBinary, nullable=False),
    Column("response_body", LargeBinary, nullable=False),
)
