"""The steps from one schema to the next, as Alembic runs them; `store/migrate.py` says when."""
