"""Take over a table of events: every row kept, each attributed by the replaced system or parked."""

from __future__ import annotations

from migrations.online import Online
from migrations.r0001 import load
from migrations.r0001.collation import recollate


def take_over_columns(online: Online, table: str) -> None:
    """Give the table our columns, if it is the replaced system's, and the trigger for its handler with them."""
    if not online.has_column(table, "state"):
        sql = load("events.sql", table=table)
        online.change(f"taking over {table}", sql["take_over"], sql[f"{table}_kind"], sql["trigger"])


def welcome_foreign_writers(online: Online, table: str) -> None:
    """Let the replaced system's webhook handler insert as it always did."""
    if not online.has_trigger(table, "attribution_foreign_event"):
        online.change(f"letting others insert into {table}", load("events.sql", table=table)["trigger"])


def settle_rows(online: Online, table: str) -> None:
    """Park the rows that have no campaign, and bring the ids of all into our spelling."""
    sql = load("events.sql", table=table)
    # An old row that is attributed without a campaign is one that this has not reached; the constraint ends that.
    if not online.holds(table, _attributed_has_campaign(table)):
        online.batches(f"settling the rows of {table}", table, sql["quarantine_ids"], sql["settle"], sql["normalise"])


def constrain(online: Online, table: str) -> None:
    """Add what must hold of every row, and the indexes of those that wait."""
    online.constraint(
        table, _attributed_has_campaign(table), "CHECK (state <> 'attributed' OR campaign_id IS NOT NULL)"
    )
    recollate(online, table)
    online.unique(table, "event_key")
    waiting = "({0}) WHERE state <> 'attributed' AND {0} IS NOT NULL"
    online.index(f"{table}_waiting", table, waiting.format("internet_message_id"))
    online.index(f"{table}_waiting_azure", table, waiting.format("azure_message_id"))
    online.index(f"{table}_due", table, "(next_attempt_at) WHERE state = 'parked'")


def _attributed_has_campaign(table: str) -> str:
    return f"{table}_attributed_has_campaign"
