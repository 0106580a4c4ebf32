"""The schema's history: Alembic's environment and revisions. db/migrate.py runs them."""
