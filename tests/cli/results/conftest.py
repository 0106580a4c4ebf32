"""A database with some sends, reports and acts of two campaigns, or with none."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from db.engine import create_engine

NOW = datetime.now(UTC).replace(microsecond=0)

_MESSAGES = """
INSERT INTO azure_message_tracking (campaign_id, subscriber_id, internet_message_id, sent_at)
VALUES (65, 1, '<a@example.com>', :earlier), (65, 2, '<b@example.com>', :earlier), (66, 1, '<c@example.com>', :now)
"""
_ENGAGEMENTS = """
INSERT INTO azure_engagement_events (
    event_id, engagement_type, engagement_context, user_agent, campaign_id, subscriber_id, internet_message_id,
    event_timestamp, received_at, state, matched_by, created_at, attributed_at, uncounted, link_campaign_id)
VALUES
    ('open 1', 'view', NULL, 'Mozilla/5.0', 65, 1, '<a@example.com>',
     :earlier, :now, 'attributed', 'internet_message_id', :earlier, :now, 'native', NULL),
    ('open 2', 'view', NULL, 'Mozilla/5.0', 65, 1, '<a@example.com>',
     :now, :now, 'attributed', 'internet_message_id', :now, :now, NULL, NULL),
    ('click 1', 'click', '=HYPERLINK(1)', '-', 65, 2, '<b@example.com>',
     :now, :now, 'attributed', 'internet_message_id', :now, :now, NULL, 66),
    ('click 2', 'click', 'https://www.example.com/ü?a=1,2', NULL, 65, 2, '<b@example.com>',
     :now, NULL, 'attributed', 'azure_message_id', :now, :now, NULL, 65),
    ('waits', 'view', NULL, NULL, NULL, NULL, '<d@example.com>',
     :now, :now, 'parked', NULL, :now, NULL, NULL, NULL)
"""
_DELIVERIES = """
INSERT INTO azure_delivery_events (
    event_id, status, campaign_id, subscriber_id, internet_message_id, event_timestamp, received_at, state, matched_by,
    created_at, attributed_at, bounce_type)
VALUES
    ('report 1', 'Delivered', 65, 1, '<a@example.com>', :earlier, :earlier, 'attributed', 'internet_message_id',
     :earlier, :earlier, NULL),
    ('report 2', 'Bounced', 65, 2, '<b@example.com>', :earlier, :earlier, 'attributed', 'delivery_report',
     :earlier, :earlier, 'hard')
"""
_INCIDENT = """
INSERT INTO attribution_incidents (kind, subject_id, details)
SELECT 'keys_disagree', id, jsonb_build_object(
           'message', jsonb_build_object('campaign_id', 65, 'subscriber_id', 2),
           'link', jsonb_build_object('campaign_id', 66))
  FROM azure_engagement_events WHERE event_id = 'click 1'
"""


@pytest.fixture
def empty(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    engine = create_engine(database_url, statement_timeout=None)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(empty: Engine) -> Engine:
    with empty.begin() as conn:
        for statement in (_MESSAGES, _ENGAGEMENTS, _DELIVERIES, _INCIDENT):
            conn.execute(text(statement), {"now": NOW, "earlier": NOW - timedelta(days=2)})
    return empty
