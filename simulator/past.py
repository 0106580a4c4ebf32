"""What listmonk's database holds when the demo's story begins: campaigns, readers, and an accident of long ago."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import psycopg

from simulator import listmonk, replaced_system
from simulator.accident import NEW, OLD, SMALL, Accident
from simulator.story import CANCELLED, NAMES, READERS, RUNNING, offer

#: The campaigns of the accident.
ACCIDENT_NAMES: Final = {OLD: "Spring fair (cancelled)", NEW: "Summer letter"}


def install(connection: psycopg.Connection[Any]) -> Accident:
    """Fill an empty database with it. Give it a connection in autocommit mode."""
    accident = replaced_system.install(connection, replace(SMALL, mails=READERS))
    for campaign_id, status in ((CANCELLED, "cancelled"), (RUNNING, "running")):
        listmonk.name_campaign(connection, campaign_id, NAMES[campaign_id], status)
        listmonk.link(connection, offer(campaign_id))
    for campaign_id, name in ACCIDENT_NAMES.items():
        connection.execute("UPDATE campaigns SET name = %s WHERE id = %s", [name, campaign_id])
    return accident
