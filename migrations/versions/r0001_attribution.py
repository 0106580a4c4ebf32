"""The tables of attribution: new, or taken over from the replaced system at whichever of its versions.

Every table and every column of the replaced system may be there or not, listmonk may be around or not, its mailer and
its webhook handler may be running, and an earlier attempt may have stopped at any line. So this is a list of states to
reach, each from whatever is found, and no row is lost on the way:

- tracking rows that are there are `imported`;
- events that are there are attributed by `replaced_system` if they have a campaign, else parked and due at once;
- an internet_message_id gets our spelling; one that two rows claim is set aside by the rule in tracking.sql.
"""

from __future__ import annotations

from alembic.util import CommandError

from migrations.online import Online
from migrations.r0001 import DELIVERY, ENGAGEMENT, TRACKING, events, listmonk, read, tracking

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Reach the schema that db/tables.py describes."""
    online = Online.of_migration()
    if (encoding := online.value("SHOW server_encoding")) != "UTF8":
        raise CommandError(f"The database's encoding is {encoding}. It must be UTF8: events hold text in any script.")

    online.change("creating tables", read("message_id.sql"), read("tables.sql"))
    tracking.take_over_columns(online)
    tracking.make_ids_unique(online)
    tracking.constrain(online)
    for table in (ENGAGEMENT, DELIVERY):
        events.take_over_columns(online, table)
        events.settle_rows(online, table)
        events.constrain(online, table)

    if listmonk.is_listmonk(online):
        tracking.welcome_foreign_writers(online)
        for table in (ENGAGEMENT, DELIVERY):
            events.welcome_foreign_writers(online, table)
        for table in (TRACKING, ENGAGEMENT, DELIVERY):
            listmonk.reference(online, table)
    for table in (TRACKING, ENGAGEMENT, DELIVERY):
        online.change(f"analysing {table}", f"ANALYZE {table}")


def downgrade() -> None:
    """Refuse: a message tracked by its internet_message_id alone has no place in the replaced system's tables."""
    raise CommandError(
        "There is no downgrade from 0001: the schema before it has no place for messages tracked without an"
        " azure_message_id, and no row is deleted here. The replaced system can write to the tables as they are."
    )
