"""Whatever dies has an alert of its own: PostgreSQL, beat, worker, Redis, receiver, seen in a real Prometheus."""

from __future__ import annotations

import pytest

from stack.postgres_server import PostgresServer
from stack.redis_server import RedisServer
from tests.monitoring.running import Prometheus, have_measured
from tests.monitoring.system import System
from tests.waiting import eventually


@pytest.mark.timeout(240)
def test_what_is_dead_fires_and_one_is_told_from_the_other(
    watching: Prometheus, system: System, store: RedisServer, postgres: PostgresServer
) -> None:
    eventually(
        lambda: have_measured(watching, store.url, "attribution_measured_timestamp_seconds"), within=60, every=0.5
    )
    eventually(lambda: watching.require_silent(), within=30)

    postgres.stop()
    said = eventually(lambda: watching.require_firing("DatabaseAway"), within=60, every=0.2)
    assert not {"AttributionBeatDead", "AttributionWorkerDead"} & set(said)
    postgres.start()
    eventually(
        lambda: have_measured(watching, store.url, "attribution_measured_timestamp_seconds"), within=60, every=0.5
    )

    system.beat.stop()
    said = eventually(lambda: watching.require_firing("BeatDead"), within=90, every=0.2)
    assert not {"AttributionDatabaseAway", "AttributionWorkerDead"} & set(said)

    system.worker.kill()
    eventually(lambda: watching.require_firing("WorkerDead", "InstanceDown"), within=30, every=0.2)
    eventually(lambda: watching.require_silent("BeatDead"), within=30, every=0.2)

    store.stop()
    eventually(lambda: watching.require_firing("RedisNotWritable"), within=30, every=0.2)
    system.receiver.kill()
    eventually(lambda: watching.require_firing("ReceiverDown"), within=30, every=0.2)
