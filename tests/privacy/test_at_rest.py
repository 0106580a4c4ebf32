"""What is stored by default names nobody by address; with the switch, it does."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.context import make_context
from tests.privacy.site import Site, address_of
from tests.tasks.streams import drain
from worker.settings import WorkerSettings

READERS = (12, 13, 14)


def addresses_in(site: Site) -> list[tuple[str, str]]:
    """Return where an address of a reader stands in tables of ours, in whatever spelling."""
    spellings = [each for reader in READERS for each in (address_of(reader), address_of(reader).replace("@", "%40"))]
    not_ours = ("subscribers", "webhook_logs")
    return [
        (table, row)
        for table, rows in site.stored().items()
        if table not in not_ours
        for row in rows
        if any(each in row.lower() for each in spellings)
    ]


@pytest.fixture(params=["with-a-key", "without"])
def setting(request: pytest.FixtureRequest, site: Site) -> Site:
    """Have the pipeline run with and without a key, in either kind of database."""
    if request.param == "without":
        values: dict[str, Any] = site.ctx.settings.model_dump() | {"recipient_key": None}
        site.ctx.engine.dispose()
        site.ctx = make_context(WorkerSettings(**values))
    return site


def test_by_default_no_address_is_stored_anywhere(setting: Site) -> None:
    setting.live(*READERS)
    assert addresses_in(setting) == []
    kept = setting.run("SELECT DISTINCT recipient IS NULL FROM azure_delivery_events")
    assert kept == [(setting.ctx.settings.recipient_key is None,)]
    assert setting.run("SELECT DISTINCT recipient_domain FROM azure_delivery_events") == [("example.net",)]


def test_the_same_events_are_attributed_however_recipients_are_stored(setting: Site, site: Site) -> None:
    setting.live(*READERS)
    states = "SELECT event_id, state, campaign_id, matched_by, uncounted FROM azure_engagement_events ORDER BY event_id"
    hidden = setting.run(states)
    with setting.ctx.engine.begin() as conn:
        for table in ("azure_engagement_events", "azure_delivery_events"):
            conn.exec_driver_sql(f"TRUNCATE {table}")
        conn.exec_driver_sql("DROP TABLE webhook_logs")
        conn.exec_driver_sql("TRUNCATE attribution_incidents")
    plain: dict[str, Any] = setting.ctx.settings.model_dump() | {"recipients": "plain"}
    setting.ctx.engine.dispose()
    setting.ctx = make_context(WorkerSettings(**plain))
    setting.live(*READERS)
    assert setting.run(states) == hidden
    assert {table for table, _ in addresses_in(setting)} >= {"archive", "quarantined", "azure_engagement_events"}
    assert drain(setting.ctx).parked == 0
