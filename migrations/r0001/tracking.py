"""Take over azure_message_tracking: every row kept, every internet_message_id left on one row at most."""

from __future__ import annotations

from alembic.util import CommandError
from psycopg import errors

from migrations.online import Online
from migrations.r0001 import TRACKING, load
from migrations.r0001.collation import recollate_unique

#: The unique index of internet_message_id, later its constraint.
UNIQUE_ID = f"{TRACKING}_internet_message_id_key"
#: How often duplicates may turn up between cleaning and indexing before we give up.
ROUNDS = 5
#: Most row ids listed in one sentence.
LISTED = 20

SQL = load("tracking.sql")


def take_over_columns(online: Online) -> None:
    """Give the table our columns, if it is the replaced system's, and the trigger for its mailer with them."""
    if not online.has_column(TRACKING, "set_aside_message_id"):
        online.change(f"taking over {TRACKING}", SQL["take_over"], SQL["trigger"])


def welcome_foreign_writers(online: Online) -> None:
    """Let the replaced system's mailer insert as it always did."""
    if not online.has_trigger(TRACKING, "attribution_foreign_tracking"):
        online.change(f"letting others insert into {TRACKING}", SQL["trigger"])


def constrain(online: Online) -> None:
    """Add what must hold of every row."""
    online.constraint(
        TRACKING,
        f"{TRACKING}_identified",
        "CHECK (azure_message_id IS NOT NULL OR internet_message_id IS NOT NULL OR set_aside_message_id IS NOT NULL)",
    )
    online.constraint(
        TRACKING,
        f"{TRACKING}_learned_id_check",
        "CHECK (learned_id IN ('internet_message_id', 'azure_message_id'))",
    )
    online.index(f"{TRACKING}_foreign", TRACKING, "(id) WHERE tracked_via IS NULL")


def make_ids_unique(online: Online) -> None:
    """Normalise the ids, set duplicates aside, and make internet_message_id unique.

    Raises:
        CommandError: duplicates are inserted faster than we can set them aside.
    """
    online.unique(TRACKING, "azure_message_id")
    if online.is_unique(TRACKING, "internet_message_id"):
        return
    for _ in range(ROUNDS):
        online.batches(f"normalising the ids of {TRACKING}", TRACKING, SQL["normalise"])
        _set_duplicates_aside(online)
        try:
            # The mailer goes on meanwhile. An id that it inserts twice fails the build, not the mailer.
            online.index(UNIQUE_ID, TRACKING, '(internet_message_id COLLATE "C")', unique=True)
            break
        except errors.UniqueViolation:
            online.report(f"a duplicate was inserted into {TRACKING} meanwhile; once more")
    else:
        raise CommandError(f"{TRACKING} received duplicates of internet_message_id in each of {ROUNDS} attempts")
    _report_invalid(online)
    recollate_unique(online, TRACKING, constraint=UNIQUE_ID)


def _set_duplicates_aside(online: Online) -> None:
    while groups := online.change(f"looking for duplicates in {TRACKING}", SQL["set_duplicates_aside"]):
        for rows, campaigns, keeper in groups:
            fate = f"row {keeper} keeps it" if keeper else "they disagree, none keeps it"
            online.report(
                f"duplicate internet_message_id on {len(rows)} rows of {TRACKING} ({_listed(rows)};"
                f" campaigns {_listed(campaigns)}): {fate}, see set_aside_message_id"
            )


def _report_invalid(online: Online) -> None:
    if rows := [row for (row,) in online.rows(SQL["invalid"])]:
        online.report(
            f"internet_message_id of {len(rows)} rows of {TRACKING} ({_listed(rows)}) is no Message-ID:"
            " see set_aside_message_id"
        )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:LISTED])) + (", …" if len(numbers) > LISTED else "")
