"""What is managed: projects, keys, credentials, budgets, tokens of the console; what was spent; the audit trail.

Nothing that was there changes, so that a release that knows only 0001 goes on working on this schema.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Integer, LargeBinary, Text, insert

revision = "0002"
down_revision = "0001"

_WHOLE = BigInteger().with_variant(Integer, "sqlite")
_LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency", "max_requests")
_TABLES = (
    "state",
    "idempotency",
    "audit",
    "admin_tokens",
    "usage_days",
    "spend",
    "budgets",
    "provider_credentials",
    "project_credentials",
    "keys",
    "projects",
)
_REFUSAL = "the audit trail is never changed"


def upgrade() -> None:
    """Make the tables of the control plane."""
    _create_projects_and_keys()
    _create_credentials_and_tokens()
    _create_money()
    _create_audit()
    op.create_table(
        "idempotency",
        *_primary("actor", "key"),
        *_bytes("request_digest"),
        *_numbers("status"),
        *_bytes("body"),
        *_times("at"),
    )
    op.create_index("ix_idempotency_at", "idempotency", ["at"])
    state = op.create_table(
        "state", Column("only", Integer, primary_key=True, autoincrement=False), *_numbers("changes")
    )
    op.execute(insert(state).values(only=1, changes=0))


def downgrade() -> None:
    """Drop them, with everything that is in them."""
    for name in _TABLES:
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_refuse()")


def _create_projects_and_keys() -> None:
    op.create_table(
        "projects",
        *_primary("id"),
        Column("name", Text, nullable=False, unique=True),
        Column("active", Boolean, nullable=False),
        *_times("deactivated_at"),
        *_texts("models", "endpoints"),
        *_numbers(*_LIMITS),
        *_texts("default_provider"),
        *_times("created_at", "updated_at"),
        *_numbers("version"),
    )
    op.create_index("projects_by_time", "projects", ["created_at", "id"])
    op.create_table(
        "keys",
        *_primary("id"),
        *_texts("project", "name"),
        Column("digest", LargeBinary, nullable=False, unique=True),
        *_texts("state"),
        *_times("expires_at"),
        *_texts("models", "endpoints", "networks", "tags"),
        *_numbers(*_LIMITS),
        *_times("created_at"),
        *_texts("created_by"),
        *_times("revoked_at"),
        *_texts("replaced_by"),
        *_times("grace_until", "last_used_at"),
        *_numbers("request_count", "version"),
    )
    op.create_index("keys_by_time", "keys", ["created_at", "id"])
    op.create_index("keys_by_project", "keys", ["project", "created_at", "id"])


def _create_credentials_and_tokens() -> None:
    op.create_table(
        "project_credentials",
        Column("project", Text, ForeignKey("projects.id"), primary_key=True),
        *_primary("provider"),
        *_bytes("sealed"),
        *_times("created_at", "updated_at"),
    )
    op.create_table(
        "provider_credentials", *_primary("provider"), *_bytes("sealed"), *_times("created_at", "updated_at")
    )
    op.create_table(
        "admin_tokens",
        *_primary("id"),
        *_texts("name"),
        Column("digest", LargeBinary, nullable=False, unique=True),
        *_texts("role"),
        *_times("created_at", "expires_at", "revoked_at", "last_used_at"),
    )


def _create_money() -> None:
    op.create_table(
        "budgets",
        *_primary("scope", "period"),
        *_numbers("limit_micros", "soft_percent", "raised_micros"),
        *_times("raised_until", "created_at", "updated_at"),
        *_numbers("version"),
    )
    op.create_table(
        "spend",
        *_primary("scope", "period_name"),
        *_numbers("micros", "requests", "input_tokens", "output_tokens"),
    )
    op.create_table(
        "usage_days",
        *_primary("day", "project", "key", "provider", "model"),
        *_numbers("requests", "errors", "input_tokens", "output_tokens", "micros"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        Column("sequence", _WHOLE, primary_key=True, autoincrement=False),
        *_times("at"),
        *_texts("actor", "action", "target", "project", "outcome", "request_id", "client", "details"),
        *_bytes("previous", "hash", "mac"),
    )
    op.create_index("audit_by_time", "audit", ["at", "sequence"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
        )
        return
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
            f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        )
    # REPLACE deletes a row without asking the trigger for deletions.
    taken = "SELECT 1 FROM audit WHERE sequence = NEW.sequence"
    op.execute(
        f"CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS ({taken}) "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    )


def _primary(*names: str) -> list[Column[str]]:
    return [Column(name, Text, primary_key=True) for name in names]


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, _WHOLE, nullable=False) for name in names]


def _times(*names: str) -> list[Column[float]]:
    return [Column(name, Float, nullable=False) for name in names]


def _bytes(*names: str) -> list[Column[bytes]]:
    return [Column(name, LargeBinary, nullable=False) for name in names]
