"""A person is erased: nothing of him is left anywhere, nothing of anybody else's is touched, and nothing comes back."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from db.archive import Window
from tasks.replay import Replayed, replay
from tasks.runs import begin_run
from tests.privacy.site import Site, address_of
from tests.tasks.payloads import body_of
from tests.tasks.streams import push_events, push_messages

ADA, BOB, EVE = 12, 13, 14

#: Tables whose rows tell of many people at once: their neighbours' part in them is compared otherwise.
OF_MANY = {
    "attribution_campaign_counts", "attribution_campaign_people", "attribution_count_changes", "attribution_webhooks",
    "attribution_runs", "attribution_erased", "attribution_quarantine", "webhook_logs", "attribution_native_marks",
    "attribution_outbox",
}  # fmt: skip


def attribution(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=typed)


def erase(*arguments: str, typed: str | None = None) -> Result:
    done = attribution("erase", "--yes", *arguments, typed=typed)
    assert done.exit_code == 0, done.output
    return done


def by_number() -> list[str]:
    return ["--subscriber", str(ADA)]


def by_address() -> list[str]:
    return ["--recipient", address_of(ADA).upper()]


@pytest.fixture
def lived(site: Site) -> Site:
    site.live(ADA, BOB, EVE)
    return site


@pytest.mark.parametrize("whom", [by_number(), by_address()], ids=["by-number", "by-address"])
def test_nothing_is_left_of_him_and_nothing_of_others_is_touched(lived: Site, whom: list[str]) -> None:
    before = lived.stored()
    assert {table for table, _ in lived.traces(ADA)} >= {
        "azure_message_tracking", "azure_delivery_events", "azure_engagement_events", "attribution_journal", "archive",
        "quarantined", "webhook_logs", "attribution_campaign_people",
    }  # fmt: skip
    theirs = {reader: lived.traces(reader) for reader in (BOB, EVE)}

    shown = erase(*whom)

    assert lived.traces(ADA) == []
    assert address_of(ADA) not in shown.output.lower()
    after = lived.stored()
    for table in before.keys() - OF_MANY:
        gone = [row for row in before[table] if row not in after[table]]
        assert all(_is_his(lived, row) for row in gone), table
        if table not in ("azure_engagement_events", "campaign_views", "link_clicks"):
            assert not [row for row in after[table] if row not in before[table]], table
    told = (
        "SELECT event_row FROM attribution_outbox WHERE kind = 'engagement'"
        " UNION ALL SELECT unnest(engagements) FROM attribution_webhooks"
    )
    kept_ids = "SELECT id FROM azure_engagement_events WHERE state = 'attributed'"
    assert sorted(lived.run(told)) == sorted(lived.run(kept_ids))
    for reader, rows in theirs.items():
        kept = {table for table, _ in lived.traces(reader)}
        assert kept == {table for table, _ in rows}
    assert lived.run("SELECT count(*) FROM azure_message_tracking") == [(5,)]
    assert attribution("erase", *whom, "--dry-run").output.startswith("Nothing is stored of this person.")


def _is_his(site: Site, row: str) -> bool:
    hashed = site.ctx.recipients.hash_of(address_of(ADA)) or ""
    return (
        hashed in row
        or f"<r{ADA}." in row
        or f"reader{ADA} " in row
        or f",{ADA}," in row
        or f'subscriber_id"": {ADA}}}' in row
    )


@pytest.mark.parametrize("whom", [by_number(), by_address()], ids=["by-number", "by-address"])
def test_neither_a_redelivery_nor_a_replay_brings_him_back(lived: Site, whom: list[str]) -> None:
    erase(*whom)
    cleaned = lived.stored()

    window = Window(datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(minutes=1))
    with (
        begin_run(lived.ctx.engine, lived.ctx.settings, "replay", {}, dry_run=False) as run,
        closing(replay(lived.ctx.engine, run, window, Replayed())) as steps,
    ):
        for _ in steps:
            pass
    assert lived.traces(ADA) == []

    readers = (ADA, BOB, EVE)
    lives = [lived.events_of(reader) for reader in readers]
    push_events(lived.client, *(body_of(*together) for together in zip(*lives, strict=True)))
    push_events(lived.client, *(bad for reader in readers for bad in lived.bad_of(reader)))
    push_messages(
        lived.client,
        {"internet_message_id": f"<r{ADA}.1@mail.example.com>", "campaign_id": ADA, "subscriber_id": ADA},
        {"internet_message_id": "<new@mail.example.com>", "campaign_id": BOB, "subscriber_id": BOB},
    )
    lived.drain()
    assert lived.traces(ADA) == []
    again = lived.stored()
    for table in ("azure_delivery_events", "azure_engagement_events", "attribution_quarantine", "bounces"):
        assert again.get(table) == cleaned.get(table)
    assert lived.run(
        "SELECT count(*) FROM azure_message_tracking WHERE internet_message_id = '<new@mail.example.com>'"
    ) == [(1,)]
    assert len(again["archive"]) > len(cleaned["archive"])


def test_numbers_fall_by_what_was_erased_and_listmonks_stay(lived: Site) -> None:
    stats = "SELECT campaign_id, sent, opens, clicks, unique_clicks FROM campaign_stats ORDER BY campaign_id"
    totals = "SELECT count(*) FROM campaign_views UNION ALL SELECT count(*) FROM link_clicks"
    before = lived.run(stats)
    listmonks = lived.run(totals) if lived.listmonk else []
    erase(*by_number())
    assert lived.run(stats) == [row for row in before if row.campaign_id != ADA]
    assert lived.run("SELECT count(*) FROM attribution_count_changes") == [(0,)]
    if lived.listmonk:
        assert lived.run(totals) == listmonks
        assert lived.run("SELECT email FROM subscribers WHERE id = :id", id=ADA) == [(address_of(ADA),)]
