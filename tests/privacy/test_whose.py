"""Whose a row is: nobody else's is taken for his, and nothing of his is overlooked for being odd."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.privacy.site import SHARED, Site, address_of, azure_of
from tests.privacy.test_erasure import ADA, BOB, attribution, erase
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import push_events, push_messages


def track(site: Site, message: str, subscriber: int | None, campaign: int = 7) -> None:
    tracking = {"internet_message_id": message, "campaign_id": campaign, "subscriber_id": subscriber}
    push_messages(site.client, {name: value for name, value in tracking.items() if value is not None})


def report(site: Site, event: str, message: str, recipient: str, **data: object) -> None:
    push_events(
        site.client, body_of(delivery(event, internet_message_id=message, recipient=recipient, messageId=..., **data))
    )


def events(site: Site) -> list[str]:
    return [row.event_id for row in site.run("SELECT event_id FROM azure_delivery_events ORDER BY event_id")]


def test_a_mail_to_several_people_stays_for_the_others(site: Site) -> None:
    track(site, SHARED, None)
    for reader in (ADA, BOB):
        report(site, f"r{reader}", SHARED, address_of(reader))
    push_events(site.client, body_of(engagement("opened by one of them", internet_message_id=SHARED, recipient="")))
    site.drain()
    erase("--recipient", address_of(ADA))
    assert events(site) == [f"r{BOB}"]
    assert site.run("SELECT count(*) FROM azure_engagement_events") == [(1,)]
    assert site.run("SELECT internet_message_id FROM azure_message_tracking") == [(SHARED,)]
    for reader in (ADA, BOB):  # delivered again
        report(site, f"r{reader}", SHARED, address_of(reader))
    site.drain()
    assert events(site) == [f"r{BOB}"]
    assert site.traces(ADA) == []


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked for nobody", "not tracked"])
def test_one_send_to_several_people_has_one_id_of_azures_and_their_events_stay(site: Site, tracked: bool) -> None:
    """His own mail of that send is known by its Message-ID; what the send is known by is not his alone."""
    track(site, "<his@mail.example.com>", ADA)
    if tracked:
        push_messages(site.client, {"azure_message_id": azure_of(0, 7), "campaign_id": 7})
    site.drain()
    sent: dict[str, object] = {"messageId": azure_of(0, 7)}
    his = engagement("his", internet_message_id="<his@mail.example.com>", recipient=address_of(ADA), **sent)
    hers = engagement("hers", internet_message_id="<hers@mail.example.com>", recipient=address_of(BOB), **sent)
    nobodys = engagement("without a Message-ID", internet_message_id=None, recipient=address_of(BOB), **sent)
    push_events(site.client, body_of(hers, nobodys, his))
    site.drain()
    erase("--subscriber", str(ADA), "--recipient", address_of(ADA))
    left = site.run("SELECT event_id FROM azure_engagement_events ORDER BY id")
    assert [row.event_id for row in left] == ["hers", "without a Message-ID"]
    assert len(site.run("SELECT 1 FROM azure_message_tracking")) == tracked


def test_an_address_that_ends_like_his_is_another_persons(site: Site) -> None:
    track(site, "<1@mail.example.com>", 101)
    track(site, "<2@mail.example.com>", 102)
    said = {"deliveryStatusDetails": {"statusMessage": "to nada@example.net and no other"}}
    report(site, "his", "<1@mail.example.com>", "ada@example.net")
    report(site, "hers", "<2@mail.example.com>", "nada@example.net", **said)
    push_events(site.client, b'{"to": "nada@example.net", "broken', b'{"to": "ada@example.net", "broken')
    site.drain()
    before = site.run("SELECT * FROM azure_delivery_events WHERE event_id = 'hers'")
    erase("--recipient", "ada@example.net", *(["--subscriber", "101"] if site.listmonk else []))
    assert site.run("SELECT * FROM azure_delivery_events") == before
    assert site.run("SELECT count(*) FROM attribution_quarantine") == [(1,)]


def test_a_subscriber_number_that_many_share_is_not_followed(site: Site) -> None:
    for reader in (ADA, BOB):  # a mailer that gives everybody the same number
        track(site, f"<{reader}@mail.example.com>", 1)
        report(site, f"r{reader}", f"<{reader}@mail.example.com>", address_of(reader))
    track(site, "<silent@mail.example.com>", 1)
    site.drain()
    erase("--recipient", address_of(ADA))
    assert events(site) == [f"r{BOB}"]
    left = site.run("SELECT internet_message_id FROM azure_message_tracking ORDER BY 1")
    assert [row[0] for row in left] == [f"<{BOB}@mail.example.com>", "<silent@mail.example.com>"]


def test_his_other_messages_are_found_by_his_number_though_only_his_address_was_given(site: Site) -> None:
    track(site, "<1@mail.example.com>", ADA)
    track(site, "<silent@mail.example.com>", ADA)
    report(site, "r", "<1@mail.example.com>", address_of(ADA))
    site.drain()
    erase("--recipient", "-", typed=f"{address_of(ADA)}\n")
    assert site.run("SELECT count(*) FROM azure_message_tracking") == [(0,)]


def test_a_neighbours_row_that_names_him_stays_with_his_name_struck_out(site: Site) -> None:
    track(site, "<1@mail.example.com>", ADA)
    track(site, "<2@mail.example.com>", BOB)
    report(site, "his", "<1@mail.example.com>", address_of(ADA))
    said = {"deliveryStatusDetails": {"statusMessage": f"forwarded to {address_of(ADA)} by another"}}
    report(site, "bobs", "<2@mail.example.com>", address_of(BOB), **said)
    site.drain()
    erase("--subscriber", str(ADA), "--recipient", address_of(ADA))
    rows = site.run("SELECT event_id, status_reason FROM azure_delivery_events")
    assert rows == [("bobs", "forwarded to (erased) by another")]
    archived = site.stored()["archive"]
    assert len(archived) == 2
    assert "forwarded to (erased) by another" in "".join(archived)


def test_what_waits_on_the_streams_is_told_and_left_there(site: Site) -> None:
    track(site, "<1@mail.example.com>", ADA)
    site.drain()
    report(site, "r", "<1@mail.example.com>", address_of(ADA))
    done = attribution("erase", "--yes", "--subscriber", str(ADA))
    assert done.exit_code == 1
    assert "1 entries on the streams name this person and are not drained yet" in done.output
    site.drain()  # it is known to be erased
    assert events(site) == []
    assert site.traces(ADA) == []


def test_a_dry_run_changes_nothing_and_shows_the_same(site: Site) -> None:
    site.live(ADA, BOB)
    before = site.stored()
    shown = attribution("erase", "--subscriber", str(ADA), "--dry-run").output
    assert site.stored() == before
    assert "A dry run: nothing was changed." in shown
    assert re.search(r"azure_message_tracking +2  messages, removed", shown)
    assert address_of(ADA) not in shown.lower()


def test_what_is_exported_is_what_is_erased(site: Site, tmp_path: Path) -> None:
    site.live(ADA, BOB)
    file = tmp_path / "ada.json"
    assert attribution("export-person", "--recipient", address_of(ADA), "--output", str(file)).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    exported = json.loads(file.read_text())
    assert exported["person"]["subscribers"] == [ADA]
    assert {row["event_id"] for row in exported["tables"]["azure_engagement_events"]} >= {
        f"reader{ADA} {what}" for what in ("opened", "clicked", "parked", "expired")
    }
    parts = [json.dumps(part) for rows in exported["bodies"].values() for row in rows for part in row["parts"]]
    assert all(f"r{BOB}." not in part for part in parts)
    counts = {table: len(rows) for table, rows in (exported["tables"] | exported["bodies"]).items()}
    erase("--recipient", address_of(ADA))
    (run,) = site.run("SELECT parameters, summary FROM attribution_runs WHERE kind = 'erase'")
    assert run.parameters == {}
    assert run.summary == counts
    again = attribution("export-person", "--recipient", address_of(ADA), "--output", str(file))
    assert again.exit_code == 1
    assert "is there already" in again.output
    nothing = json.loads(attribution("export-person", "--recipient", address_of(ADA)).output)
    assert nothing["tables"] == nothing["bodies"] == {}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Say who: --subscriber, --recipient, or both."),
        (("--recipient", "nobody"), "is not one address"),
        (("--subscriber", "0"), "is not in the range"),
    ],
)
def test_who_is_not_said_is_asked_for(site: Site, arguments: tuple[str, ...], sentence: str) -> None:
    done = attribution("erase", *arguments)
    assert done.exit_code == 2
    assert sentence in done.output


def test_without_a_key_nobody_is_looked_for_by_address_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTRIBUTION_RECIPIENT_KEY")
    done = attribution("erase", "--recipient", address_of(ADA), "--dry-run")
    assert (done.exit_code, "Set the key that the worker has" in done.output) == (
        (0, False) if site.listmonk else (1, True)
    )


def test_nobody_is_erased_unasked(site: Site) -> None:
    site.live(ADA, BOB)
    before = site.stored()
    assert attribution("erase", "--subscriber", str(ADA), typed="n\n").exit_code == 1
    assert site.stored() == before


def test_a_neighbours_click_on_his_link_stays_and_leads_to_nobody(site: Site) -> None:
    if site.listmonk is None:
        pytest.skip("it has no links of listmonk's")
    site.live(ADA, BOB)  # of Ada's mail, Bob's link was clicked
    erase("--subscriber", str(BOB))
    assert site.traces(BOB) == []
    (row,) = site.run("SELECT * FROM azure_engagement_events WHERE event_id LIKE :event", event="%of a neighbour's")
    assert (row.subscriber_id, row.link_subscriber_id) == (ADA, None)
    assert row.engagement_context.endswith("/00000000-0000-0000-0000-000000000000")
