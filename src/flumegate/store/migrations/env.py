"""What Alembic runs to find the database: the connection that `store/migrate.py` opened, locked and will commit."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
