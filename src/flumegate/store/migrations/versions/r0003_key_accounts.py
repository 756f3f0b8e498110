"""On whose account a key counts that took the place of another, so that its budgets go on; late revocations by index.

Nothing that was there changes. A release that knows only 0002 counts such keys on accounts of their own.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table; keys that were replaced before keep the accounts that they have."""
    op.create_table("key_accounts", Column("key", Text, primary_key=True), Column("account", Text, nullable=False))
    op.create_index("keys_by_revocation", "keys", ["revoked_at"])


def downgrade() -> None:
    """Drop it: each key counts for itself from now on."""
    op.drop_index("keys_by_revocation", "keys")
    op.drop_table("key_accounts")
