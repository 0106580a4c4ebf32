"""What must have come of a play, and whether it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tests.interleavings.mails import Mail
from tests.interleavings.stage import Stage

#: State, campaign and subscriber of an event.
Fate = tuple[str, int | None, int | None]
PARKED: Fate = ("parked", None, None)
EXPIRED: Fate = ("expired", None, None)


def fate(mail: Mail) -> Fate:
    """Return what is to become of the events of a mail that is tracked."""
    return ("attributed", mail.campaign, mail.subscriber)


@dataclass(frozen=True)
class Truth:
    """The truth of a case: the fate of each event, and what is known of each message.

    ``nameless`` is what becomes of rows that the replaced system stored, and that are not told which events they are.
    ``tracked`` are the ids of the tracking rows, as (Message-ID, Azure's id). ``views`` and ``clicks`` count the acts
    of each reader in listmonk's tables, whoever has written their rows; ``untold`` are attributed events that are not
    for the webhook, and ``quarantined`` bodies that are set aside.
    """

    events: Mapping[str, Fate]
    tracked: Collection[tuple[str | None, str | None]]
    nameless: Collection[Fate] = ()
    views: Mapping[int | None, int] = field(default_factory=dict)
    clicks: Mapping[int, int] = field(default_factory=dict)
    untold: Collection[str] = ()
    quarantined: int = 0


_SEEN = """
SELECT (SELECT json_agg(json_build_array(event_id, state, campaign_id, subscriber_id))
          FROM (SELECT event_id, state, campaign_id, subscriber_id FROM azure_delivery_events
                UNION ALL SELECT event_id, state, campaign_id, subscriber_id FROM azure_engagement_events) AS events),
       (SELECT json_agg(json_build_array(internet_message_id, azure_message_id)) FROM azure_message_tracking),
       (SELECT json_agg(event_id)
          FROM (SELECT kind, event_row FROM attribution_outbox
                UNION ALL SELECT 'engagement', unnest(engagements) FROM attribution_webhooks
                UNION ALL SELECT 'delivery', unnest(deliveries) FROM attribution_webhooks) AS told
          JOIN (SELECT 'delivery' AS kind, id AS event_row, event_id FROM azure_delivery_events
                UNION ALL SELECT 'engagement', id, event_id FROM azure_engagement_events) AS e USING (kind, event_row)),
       (SELECT count(*) FROM attribution_quarantine)
"""
_MISCOUNTED = """
(TABLE campaign_stats EXCEPT ALL TABLE stats_by_rows) UNION ALL (TABLE stats_by_rows EXCEPT ALL TABLE campaign_stats)
"""
_ACTS = "SELECT (SELECT json_agg(subscriber_id) FROM campaign_views), (SELECT json_agg(subscriber_id) FROM link_clicks)"
#: Attributed views and clicks that have neither a row of ours, nor one of listmonk's, nor a reason; and rows of ours,
#: or marks of native rows, that have no such event; listmonk keeps an act whose reader it deletes, without a name.
_UNEXPLAINED = """
SELECT 'event ' || coalesce(e.event_id, 'row ' || e.id)
  FROM azure_engagement_events AS e
  LEFT JOIN campaign_views AS v ON e.engagement_type = 'view' AND v.id = coalesce(e.native_id, -e.id)
  LEFT JOIN link_clicks AS c ON e.engagement_type = 'click' AND c.id = coalesce(e.native_id, -e.id)
 WHERE e.state = 'attributed' AND e.matched_by <> 'replaced_system' AND coalesce(e.uncounted, 'native') = 'native'
   AND (e.uncounted IS NULL) = (e.native_id IS NULL) AND coalesce(v.id, c.id) IS NULL
UNION ALL
SELECT results.what || ' ' || results.id
  FROM (SELECT 'view' AS what, id, subscriber_id FROM campaign_views
        UNION ALL SELECT 'click', id, subscriber_id FROM link_clicks) AS results
  LEFT JOIN azure_engagement_events AS e ON e.id = -results.id
 WHERE results.id < 0
   AND (e.state <> 'attributed' OR e.uncounted IS NOT NULL OR (e.id IS NULL AND results.subscriber_id IS NOT NULL))
"""


def check(stage: Stage, truths: Sequence[Truth]) -> None:
    """Assert that the database says one of the truths: each event once, with its results written once."""
    failures: list[AssertionError] = []
    for truth in truths:
        try:
            _check(stage, truth)
        except AssertionError as failure:
            failures.append(failure)
        else:
            return
    raise failures[-1]


def _check(stage: Stage, truth: Truth) -> None:
    seen = stage.observer.execute(_SEEN).fetchone()
    assert seen is not None
    events, tracked, told, quarantined = seen
    assert Counter(map(tuple, events or ())) == Counter(
        [*((name, *fate) for name, fate in truth.events.items()), *((None, *fate) for fate in truth.nameless)]
    )
    assert Counter(map(tuple, tracked or ())) == Counter(truth.tracked)
    attributed = {event for event, (state, *_) in truth.events.items() if state == "attributed"}
    told = Counter(told)
    for player in stage.players:
        told.update(player.told)
    assert told == Counter(attributed - set(truth.untold)), "each attributed event told once"
    assert quarantined == truth.quarantined
    assert stage.observer.execute(_MISCOUNTED).fetchall() == [], "kept counts are those of the rows"
    if stage.listmonk:
        views, clicks = stage.observer.execute(_ACTS).fetchone() or ((), ())
        assert (Counter(views), Counter(clicks)) == (Counter(truth.views), Counter(truth.clicks))
        assert stage.observer.execute(_UNEXPLAINED).fetchall() == []
