"""What the database holds, in the words of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, text

from db.tables import metadata
from tests.db.rows import azure_id
from tests.model.truth import Owner

#: Everything in one statement. Events have their name as their id; those that the replaced system stored have it where
#: they can.
_EVERYTHING: Final = text("""
    WITH events AS (
        SELECT coalesce(event_id, user_agent) AS name, 'engagement' AS side, id, CAST(state AS text) AS state,
               campaign_id, subscriber_id, CAST(matched_by AS text) AS matched_by, internet_message_id,
               azure_message_id, lower(engagement_type) AS kind, next_attempt_at
          FROM azure_engagement_events
        UNION ALL
        SELECT event_id, 'delivery', id, CAST(state AS text), campaign_id, subscriber_id, CAST(matched_by AS text),
               internet_message_id, azure_message_id, CASE WHEN bounce_type IS NULL THEN 'report' ELSE 'bounce' END,
               next_attempt_at
          FROM azure_delivery_events)
    SELECT (SELECT coalesce(json_agg(events), '[]') FROM events) AS events,
           (SELECT coalesce(json_agg(t), '[]') FROM azure_message_tracking AS t) AS messages,
           (SELECT coalesce(json_agg(json_build_array(kind, event_row)), '[]') FROM attribution_outbox) AS outbox,
           (SELECT count(*) FROM attribution_quarantine WHERE kind = 'event') AS quarantined,
           (SELECT coalesce(json_agg(s), '[]') FROM campaign_stats AS s) AS stats""")
#: Columns of campaign_stats, and what each counts.
_FACTS: Final = {"delivered": "report", "bounced_hard": "bounce", "opens": "view", "clicks": "click"}
_NAMES: Final = {str(azure_id(number)): f"a{number}" for number in range(10)} | {
    f"<i{number}@example.com>": f"i{number}" for number in range(10)
}


class Stored(NamedTuple):
    """An event as it is stored."""

    state: str
    owner: Owner | None
    matched_by: str | None
    ids: frozenset[str]


@dataclass(frozen=True)
class Standing:
    """The database at one moment."""

    events: dict[str, Stored]
    messages: dict[str, Owner | None]
    quarantined: int


def look(engine: Engine) -> Standing:
    """Read everything at one moment, and check what no model is needed for.

    Each event has one row; one in the outbox if it was attributed by us, and else none; and the numbers of each
    campaign add up to the rows.
    """
    with engine.begin() as conn:
        found = conn.execute(_EVERYTHING).one()
    attributed = [row for row in found.events if row["state"] == "attributed"]
    assert len({row["name"] for row in found.events}) == len(found.events), "an event is stored twice"
    assert sorted(map(tuple, found.outbox)) == sorted(
        (row["side"], row["id"]) for row in attributed if row["matched_by"] != "replaced_system"
    ), "the outbox does not hold each attributed event once"
    sent = Counter(row["campaign_id"] for row in found.messages)
    facts = Counter((row["campaign_id"], row["kind"]) for row in attributed)
    assert {row["campaign_id"]: tuple(row[fact] for fact in ("sent", *_FACTS)) for row in found.stats} == {
        campaign: (sent[campaign], *(facts[campaign, kind] for kind in _FACTS.values()))
        for campaign in sent.keys() | {campaign for campaign, _ in facts}
    }, "the numbers of a campaign do not add up"
    for row in found.events:
        assert (row["next_attempt_at"] is not None) == (row["state"] == "parked"), "a parked event has no next attempt"
    return Standing(
        {row["name"]: Stored(row["state"], _owner(row), row["matched_by"], _ids(row)) for row in found.events},
        {id_: _owner(row) for row in found.messages for id_ in _ids(row)},
        found.quarantined,
    )


def empty(engine: Engine) -> None:
    """Have the database as it was before anything was said."""
    with engine.begin() as conn:
        conn.execute(text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE"))


def _ids(row: Mapping[str, Any]) -> frozenset[str]:
    ids = (row["internet_message_id"], row["azure_message_id"])
    return frozenset(_NAMES[id_] for id_ in ids if id_ is not None)


def _owner(row: Mapping[str, Any]) -> Owner | None:
    return None if row["campaign_id"] is None else Owner(row["campaign_id"], row["subscriber_id"])
