"""The schema of the releases before there were migrations: what is kept of requests.

There is no way down from here: below it is no schema at all.
"""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, Text, insert

revision = "0001"
down_revision = None

_WHOLE = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    """Make the tables of records."""
    meta = op.create_table("meta", Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
    op.execute(insert(meta).values(name="schema_version", value="1"))
    op.create_table("requests", *_request_columns(), sqlite_autoincrement=True)
    op.create_index("requests_by_time", "requests", ["started_at", "id"])
    op.create_index("requests_by_request_id", "requests", ["request_id"])
    for name, column in (
        ("key", "key_id"),
        ("provider", "provider"),
        ("model", "model"),
        ("status", "status"),
        ("outcome", "outcome"),
    ):
        op.create_index(f"requests_by_{name}", "requests", [column, "started_at"])
    op.create_table(
        "contents",
        Column("id", Text, primary_key=True),
        Column("stored_at", Float, nullable=False),
        Column("request_body", LargeBinary, nullable=False),
        Column("response_body", LargeBinary, nullable=False),
    )
    op.create_index("ix_contents_stored_at", "contents", ["stored_at"])


def _texts(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str, nullable: bool = False) -> list[Column[Any]]:
    return [Column(name, _WHOLE, nullable=nullable) for name in names]


def _request_columns() -> list[Column[Any]]:
    return [
        Column("sequence", _WHOLE, primary_key=True),
        Column("id", Text, nullable=False, unique=True),
        *_texts("request_id"),
        Column("started_at", Float, nullable=False),
        *_texts("method", "path", "endpoint", "dialect", "lane", "key_id", "project", "client", "provider"),
        *_texts("model_requested", "model"),
        Column("stream", Boolean, nullable=False),
        *_numbers("status"),
        *_texts("outcome", "error_code"),
        *_numbers("duration_us"),
        *_numbers("upstream_us", "first_byte_us", "first_token_us", "input_tokens", "output_tokens", nullable=True),
        *_numbers("cached_tokens", "cache_write_tokens", "reasoning_tokens", nullable=True),
        *_texts("usage_source", "finish_reason"),
        *_numbers("request_bytes", "response_bytes"),
        Column("client_abort", Boolean, nullable=False),
        *_texts("tags", "trace_id", "attempts", "losses"),
        *_numbers("cost_micros", nullable=True),
        *_texts("price_version", "cache_status"),
    ]
