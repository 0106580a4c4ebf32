"""The webhook as it runs: beat asks, a worker's child posts, and the other side has each event."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from tests.acceptance.conftest import StartProgram
from tests.tasks.webhook_endpoint import SECRET, serving
from tests.waiting import eventually


def test_attributed_events_reach_the_endpoint_by_beat_and_worker(
    start: StartProgram, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as endpoint, psycopg.connect(database_url, autocommit=True) as connection:
        endpoint.answer(503, 204)
        connection.execute(
            "WITH events AS (INSERT INTO azure_engagement_events (event_key, engagement_type, campaign_id,"
            " event_timestamp, state) SELECT gen_random_uuid(), 'view', 7, %s, 'attributed'"
            " FROM generate_series(1, 700) RETURNING id)"
            " INSERT INTO attribution_outbox (kind, event_row) SELECT 'engagement', id FROM events",
            [datetime.now(UTC)],
        )
        environment = {
            "attribution_database_url": database_url,
            "attribution_redis_url": redis_url,
            "attribution_drain_processes": 0,
            "attribution_webhook_url": endpoint.url,
            "attribution_webhook_secrets": SECRET,
            "no_proxy": "127.0.0.1",
        }
        programs = [start("worker", **environment), start("beat", **environment)]

        def all_told() -> None:
            assert len({key for call in endpoint.calls[1:] for key in call.keys}) == 700

        eventually(all_told, within=45)
        # What was refused with 503 has come again, by the same id and with the same events.
        assert endpoint.calls[0].body in {call.body for call in endpoint.calls[1:] if call.id == endpoint.calls[0].id}
        for call in endpoint.calls:
            call.verify()

        def forgotten() -> None:
            assert connection.execute("SELECT count(*) FROM attribution_webhooks").fetchone() == (0,)

        eventually(forgotten)
        logs = "".join(program.log for program in programs)
        assert "answered 503" in logs
        assert "hunter2" not in logs
