"""Recipients written down in one way and then in another: whoever is erased is found among the rows of both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from tasks.context import Context, make_context
from tests.privacy.site import KEY, Site, address_of, ids_of
from tests.privacy.test_erasure import ADA, BOB, attribution, erase
from tests.privacy.test_interrupted import while_it_works
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import drain, push_events, push_messages
from worker.settings import WorkerSettings

pytestmark = pytest.mark.parametrize("site", ["alone"], indirect=True)

NEW_KEY = KEY[::-1]
PLAIN: dict[str, Any] = {"recipients": "plain", "recipient_key": None}
KEYED: dict[str, Any] = {"recipients": "hash", "recipient_key": KEY}
ROTATED: dict[str, Any] = {"recipients": "hash", "recipient_key": NEW_KEY}
NOBODY: dict[str, Any] = {"recipients": "hash", "recipient_key": None}


@contextmanager
def worker(site: Site, settings: dict[str, Any]) -> Iterator[Context]:
    """Have a worker with other settings than the site's beside it."""
    values: dict[str, Any] = site.ctx.settings.model_dump() | settings
    context = make_context(WorkerSettings(**values))
    yield context
    context.engine.dispose()


def act(site: Site, name: str, settings: dict[str, Any]) -> None:
    """Have two people get a mail that nobody tracked, one be named in the other's, and bytes come of both."""
    for reader in (ADA, BOB):
        ids = {key: value.replace("1", name[0], 1) for key, value in ids_of(reader, 1).items() if key != "messageId"}
        ids["messageId"] = ...
        push_events(
            site.client,
            body_of(engagement(f"{reader} {name}", recipient=address_of(reader), **ids)),
            body_of(engagement(f"{reader} broken {name}", recipient=address_of(reader), **ids, engagementType=7)),
        )
        push_messages(site.client, {"email": address_of(reader), "note": name, "campaign_id": "none"})
    said = {"statusMessage": f"{name}: forwarded to <{address_of(ADA)}>"}
    naming = delivery(f"named {name}", recipient=address_of(BOB), messageId=..., deliveryStatusDetails=said)
    push_events(site.client, body_of(naming))
    with worker(site, settings) as context:
        drain(context)


def names_of(site: Site, reader: int) -> set[str]:
    """Return all that is stored for an address, in whatever setting."""
    with worker(site, ROTATED | {"recipient_old_keys": (KEY,)}) as context:
        return {address_of(reader), *context.recipients.hashes_of(address_of(reader))}


def found_of(site: Site, reader: int) -> list[str]:
    names = names_of(site, reader)
    return [row for rows in site.stored().values() for row in rows if any(name in row.lower() for name in names)]


@pytest.fixture
def switched(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Have the setting gone from plain to hashes, and the key been changed."""
    monkeypatch.setenv("ATTRIBUTION_RECIPIENT_KEY", NEW_KEY)
    monkeypatch.setenv("ATTRIBUTION_RECIPIENT_OLD_KEYS", KEY)
    for name, settings in (("plain", PLAIN), ("keyed", KEYED), ("rotated", ROTATED)):
        act(site, name, settings)
    return site


def test_he_is_found_by_his_address_among_rows_of_every_setting_and_key(switched: Site) -> None:
    before = found_of(switched, BOB)
    recipients = switched.run(
        "SELECT DISTINCT recipient FROM azure_engagement_events WHERE event_id LIKE :his", his="12 %"
    )
    assert {row.recipient for row in recipients} == names_of(switched, ADA)
    exported = json.loads(attribution("export-person", "--recipient", address_of(ADA)).output)
    assert {row["event_id"] for row in exported["tables"]["azure_engagement_events"]} == {
        f"{ADA} plain", f"{ADA} keyed", f"{ADA} rotated",
    }  # fmt: skip

    erase("--recipient", address_of(ADA))

    assert found_of(switched, ADA) == []
    assert len(found_of(switched, BOB)) == len(before)


def test_he_is_found_by_his_number_from_one_message_that_is_tracked(switched: Site) -> None:
    for name, settings in (("plain", PLAIN), ("keyed", KEYED), ("rotated", ROTATED)):
        ids: dict[str, Any] = {"internet_message_id": f"<tracked.{name}@mail.example.com>"}
        push_messages(switched.client, {**ids, "campaign_id": 7, "subscriber_id": ADA})
        push_events(switched.client, body_of(engagement(name, recipient=address_of(ADA), messageId=..., **ids)))
        with worker(switched, settings) as context:
            drain(context)
    erase("--subscriber", str(ADA))
    left = switched.run("SELECT event_id FROM azure_engagement_events ORDER BY id")
    assert [row.event_id for row in left] == [f"{BOB} plain", f"{BOB} keyed", f"{BOB} rotated"]
    assert found_of(switched, ADA) == []  # nor named in another's


def test_without_the_old_key_rows_of_it_are_not_found_by_address(
    switched: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATTRIBUTION_RECIPIENT_OLD_KEYS")
    erase("--recipient", address_of(ADA))
    left = switched.run("SELECT event_id FROM azure_engagement_events WHERE event_id LIKE :his", his=f"{ADA} %")
    assert [row.event_id for row in left] == [f"{ADA} keyed"]


@pytest.mark.parametrize("old", [PLAIN, KEYED, NOBODY], ids=["plain", "of the old key", "of no key"])
def test_a_worker_that_still_runs_with_the_old_setting_brings_nothing_past_an_erasure(
    switched: Site, monkeypatch: pytest.MonkeyPatch, old: dict[str, Any]
) -> None:
    while_it_works(monkeypatch, "remove", lambda: act(switched, "keyed", old))  # delivered once more
    while_it_works(monkeypatch, "_wait_for_older", lambda: act(switched, "late", old))
    attribution("erase", "--yes", "--recipient", address_of(ADA))
    erase("--recipient", address_of(ADA))
    if old is NOBODY:  # he is not told from anybody else there, and nothing tells of him
        switched.run("DELETE FROM azure_engagement_events WHERE recipient IS NULL")
    assert found_of(switched, ADA) == []
    assert switched.run("SELECT 1 FROM azure_engagement_events WHERE event_id LIKE :his", his=f"{ADA} %") == []


def test_one_setting_reads_the_archive_of_another_as_it_was_read_then(switched: Site) -> None:
    with switched.ctx.engine.begin() as conn:
        before = conn.execute(text("SELECT event_id, event_key, state FROM azure_engagement_events ORDER BY id")).all()
    assert attribution("replay", "--since", "1h").exit_code == 0
    assert switched.run("SELECT event_id, event_key, state FROM azure_engagement_events ORDER BY id") == before
