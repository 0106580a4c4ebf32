"""Alerts fire because of what they are about: each is caused by what is sent, and seen in a real Prometheus."""

from __future__ import annotations

import pytest
import redis
import yaml

from stack.redis_server import RedisServer
from tests.acceptance.conftest import EVENT_SECRET
from tests.monitoring.running import AGES, Prometheus, have_measured, hurried
from tests.monitoring.system import BODY_LIMIT, System, act, new_message_id
from tests.pages import read
from tests.waiting import eventually
from worker.streams import EVENTS


@pytest.mark.timeout(240)
def test_what_comes_in_wrongly_fires_and_what_comes_in_rightly_does_not(
    watching: Prometheus, system: System, store: RedisServer
) -> None:
    def all_is_well() -> None:
        message = new_message_id()
        system.track(message)
        system.tell(act("view", message), act("click", message))
        have_measured(watching, store.url, "attribution:success:ratio1h == 1")
        have_measured(watching, store.url, 'attribution:population:ratio{of="engagements"} == 1')

    eventually(all_is_well, within=60, every=0.5)
    eventually(lambda: watching.require_silent(), within=30)

    for _ in range(20):
        assert system.post("eventgrid", b"[]", "a secret of before the rotation") == 404
    assert system.post("eventgrid", b" " * (BODY_LIMIT + 1), EVENT_SECRET) == 413
    for _ in range(12):
        assert system.post("eventgrid", b"{not json", EVENT_SECRET) == 200
    system.tell(*(act("view", None) for _ in range(60)))
    with redis.Redis.from_url(store.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    eventually(
        lambda: watching.require_firing(
            "CallersRefused", "EventsRefused", "BodyTooLarge", "QuarantineRatioHigh", "RedisMayEvict"
        ),
        within=25,
        every=0.2,
    )
    eventually(
        lambda: have_measured(watching, store.url, 'attribution:population:ratio{of="engagements"} < 0.95'), within=45
    )
    said = eventually(lambda: watching.require_firing("PopulationLow"), within=30, every=0.2)
    assert "% of the engagements of the last hour have an internetMessageId" in said["AttributionPopulationLow"]

    with redis.Redis.from_url(store.url) as client:
        client.delete(EVENTS)
    system.tell(act("view", None))  # the drain has made the stream anew, and what it has read is less than before
    said = eventually(lambda: watching.require_firing("StreamLost"), within=30, every=0.2)
    assert said["AttributionStreamLost"].startswith("The stream attribution:events has lost entries")


def test_rules_in_a_hurry_ask_what_the_shipped_ones_ask() -> None:
    shipped = read("deploy/prometheus/rules/alerts.yml")
    assert all(age in shipped for age in AGES)
    for slow, quick in zip(rules_of(shipped), rules_of(hurried(shipped)), strict=True):
        assert slow["annotations"] == quick["annotations"]
        assert slow["labels"] == quick["labels"]
        assert quick["for"] in ("0m", "1s")


def rules_of(text: str) -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
