"""Every expression of every dashboard has an answer in a real Prometheus that watches the running system."""

from __future__ import annotations

import math
from pathlib import Path

import psycopg
import pytest

from deploy.grafana.generate import dashboards
from simulator import listmonk
from tests.acceptance.conftest import EVENT_SECRET, StartProgram
from tests.monitoring.prometheus_binary import Binaries
from tests.monitoring.running import WINDOW, Prometheus, prometheus
from tests.monitoring.system import System, act, bounce, new_message_id, start_system
from tests.tasks.webhook_endpoint import SECRET, serving
from tests.waiting import eventually

CAMPAIGN, READER = 3, 7
OFFER = "https://shop.example.com/offer"
EXPRESSIONS = sorted(
    {query.expr for dashboard in dashboards() for panel in dashboard.panels() for query in panel.queries}
)


@pytest.mark.timeout(240)
def test_every_expression_of_every_dashboard_is_answered(
    binaries: Binaries, start: StartProgram, listmonk_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(listmonk_database_url, autocommit=True) as connection:
        link = listmonk.tracked_link(connection, listmonk.link(connection, OFFER), CAMPAIGN, READER)
    with serving() as webhook:
        system = start_system(
            start,
            listmonk_database_url,
            redis_url,
            attribution_webhook_url=webhook.url,
            attribution_webhook_secrets=SECRET,
        )
        folder = tmp_path / "prometheus"
        folder.mkdir()
        with prometheus(binaries, folder, receivers=[system.receiver_port], workers=[system.worker_port]) as running:

            def all_answered() -> None:
                send_some_of_everything(system, link)
                assert [expression for expression in EXPRESSIONS if not answers(running, expression)] == []

            eventually(all_answered, within=150, every=1)
            assert running.value('sum(up{job=~"receiver|worker"})') == 2
            assert running.value("attribution:accuracy:ratio") == 1
            assert 0 < running.value("attribution:success:ratio1h") <= 1
            assert running.value(f'max(attribution_campaign_acts{{campaign="{CAMPAIGN}", act="view"}})') > 0


def answers(running: Prometheus, expression: str) -> bool:
    """Tell whether there is a number, as a panel would show it."""
    found = running.ask(expression.replace("$__rate_interval", WINDOW))
    return any(not math.isnan(float(series["value"][1])) for series in found)


def send_some_of_everything(system: System, link: str) -> None:
    """Send what every part of the system has something to do with, and a stranger's request."""
    early, tracked = new_message_id(), new_message_id()
    system.shake_hands()
    system.tell(act("view", early), act("view", new_message_id()))  # both are parked; the first is released
    system.track(early, tracked, campaign=CAMPAIGN, subscriber=READER)
    system.tell(act("view", tracked), act("click", tracked, engagementContext=link), bounce(tracked))
    assert system.post("eventgrid", b"{not json", EVENT_SECRET) == 200
    assert system.post("eventgrid", b"[]", "a wrong secret, but a long one") == 404
