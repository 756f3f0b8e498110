"""The tables: those of records, one column for each field of a Record, and those of what is managed.

The same statements make them on SQLite and on PostgreSQL. `sequence` counts rows as they are stored, so that a reader
can ask for what is new. Contents have a table of their own and no reference to `requests`: the two travel in separate
segments, and either may arrive first or not at all. Times are Unix seconds, money is micro-dollars, lists are JSON.
What is secret stands here as a digest or sealed. A change here is a migration, and raises HEAD; SCHEMA_VERSION rises
only with one that the release before could not live with.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

SCHEMA_VERSION = 1
HEAD = "0003"
"""The newest migration, so that nobody loads the migrations to learn that there is none to run."""

metadata = MetaData()
_WHOLE = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts rows in columns of that very name only

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, _WHOLE, nullable=False)


def _optional(name: str) -> Column[int | None]:
    return Column(name, _WHOLE)


def _time(name: str) -> Column[float]:
    return Column(name, Float, nullable=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _bytes(name: str) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=False)


def _counts(*names: str) -> list[Column[int]]:
    return [_number(name) for name in names]


requests = Table(
    "requests",
    metadata,
    Column("sequence", _WHOLE, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    _text("request_id"),
    _time("started_at"),
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
    _flag("stream"),
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
    _flag("client_abort"),
    _text("tags"),
    _text("trace_id"),
    _text("attempts"),
    _text("losses"),
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
    _bytes("request_body"),
    _bytes("response_body"),
)

_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency", "max_requests")

projects = Table(
    "projects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _flag("active"),
    _time("deactivated_at"),
    _text("models"),
    _text("endpoints"),
    *_counts(*_LIMITS),
    _text("default_provider"),
    _time("created_at"),
    _time("updated_at"),
    _number("version"),
    Index("projects_by_time", "created_at", "id"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    _text("project"),
    _text("name"),
    Column("digest", LargeBinary, nullable=False, unique=True),
    _text("state"),
    _time("expires_at"),
    _text("models"),
    _text("endpoints"),
    _text("networks"),
    _text("tags"),
    *_counts(*_LIMITS),
    _time("created_at"),
    _text("created_by"),
    _time("revoked_at"),
    _text("replaced_by"),
    _time("grace_until"),
    _time("last_used_at"),
    _number("request_count"),
    _number("version"),
    Index("keys_by_time", "created_at", "id"),
    Index("keys_by_project", "project", "created_at", "id"),
    Index("keys_by_revocation", "revoked_at"),
)

key_accounts = Table(
    "key_accounts",
    metadata,
    Column("key", Text, primary_key=True),
    _text("account"),
)

project_credentials = Table(
    "project_credentials",
    metadata,
    Column("project", Text, ForeignKey("projects.id"), primary_key=True),
    Column("provider", Text, primary_key=True),
    _bytes("sealed"),
    _time("created_at"),
    _time("updated_at"),
)

provider_credentials = Table(
    "provider_credentials",
    metadata,
    Column("provider", Text, primary_key=True),
    _bytes("sealed"),
    _time("created_at"),
    _time("updated_at"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    *_counts("limit_micros", "soft_percent", "raised_micros"),
    _time("raised_until"),
    _time("created_at"),
    _time("updated_at"),
    _number("version"),
)

spend = Table(
    "spend",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("period_name", Text, primary_key=True),
    *_counts("micros", "requests", "input_tokens", "output_tokens"),
)

usage_days = Table(
    "usage_days",
    metadata,
    *(Column(name, Text, primary_key=True) for name in ("day", "project", "key", "provider", "model")),
    *_counts("requests", "errors", "input_tokens", "output_tokens", "micros"),
)

admin_tokens = Table(
    "admin_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    Column("digest", LargeBinary, nullable=False, unique=True),
    _text("role"),
    _time("created_at"),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", _WHOLE, primary_key=True, autoincrement=False),
    _time("at"),
    _text("actor"),
    _text("action"),
    _text("target"),
    _text("project"),
    _text("outcome"),
    _text("request_id"),
    _text("client"),
    _text("details"),
    _bytes("previous"),
    _bytes("hash"),
    _bytes("mac"),
    Index("audit_by_time", "at", "sequence"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("actor", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    _bytes("request_digest"),
    _number("status"),
    _bytes("body"),
    Column("at", Float, nullable=False, index=True),
)

state = Table(
    "state",
    metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    _number("changes"),
)
