"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Say what changes, why its locks are short, and why a second run after an interruption is harmless."""
    ${upgrades if upgrades else "raise NotImplementedError"}


def downgrade() -> None:
    """Refuse unless every row survives."""
    ${downgrades if downgrades else "raise NotImplementedError"}
