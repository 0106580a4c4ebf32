"""Growth, waits and alarms: what keeps each query's cost where it is while the tables grow.

New tables, indexes built while others write, and settings of storage: nothing here keeps anybody waiting, and the release
before this one goes on working with it.
"""

from __future__ import annotations

from migrations.online import Online

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Reach the schema that db/tables.py describes."""
    Online.of_migration()


def downgrade() -> None:
    """Do nothing: the release before this one works with what is here, and nothing of it holds what is nowhere else."""
