"""Privacy: recipients by their hash, what was erased, and campaigns whose numbers outlive their rows.

New tables, a column that no row has yet, and triggers replaced in the catalogue: nothing here keeps anybody waiting,
and the release before this one goes on working with it.
"""

from __future__ import annotations

from alembic.util import CommandError

from migrations.online import Online
from migrations.r0004 import read

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

EVENTS = ("azure_engagement_events", "azure_delivery_events")


def upgrade() -> None:
    """Reach the schema that db/tables.py describes."""
    online = Online.of_migration()
    for table in EVENTS:
        if not online.has_column(table, "recipient"):
            online.change(f"adding recipient to {table}", f"ALTER TABLE {table} ADD COLUMN recipient text")
    online.change("creating tables for what is erased", read("tables.sql"))
    online.change(
        "checking the kinds of runs", "ALTER TABLE attribution_runs VALIDATE CONSTRAINT attribution_runs_kind_check"
    )
    online.change("having numbers outlive the rows of closed campaigns", read("changes.sql"))


def downgrade() -> None:
    """Refuse, as before it: what was erased might come back."""
    raise CommandError(
        "There is no downgrade from 0004: what was erased might come back, and numbers of campaigns whose rows are gone"
        " would be lost. The release before it works with these tables as they are."
    )
