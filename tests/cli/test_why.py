"""`attribution why`: for each way that an event may end, what it says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from cli.main import main
from db.engine import create_engine
from db.models import Key
from db.parking import expire_now, release, sweep
from db.quarantine import quarantine
from db.reporting import measure_accuracy
from db.results import Results
from db.tracking import message_ids, track_messages
from simulator import listmonk as fake
from tasks.eventgrid import malformed
from tasks.reasons import Reason
from tests.db.listmonk.counts import record, watch
from tests.db.rows import NOW, azure_id, click, message, report

Listmonk = psycopg.Connection[Any]
LATE = "<late@example.com>"


@pytest.fixture
def engine(listmonk_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", listmonk_database_url)
    engine = create_engine(listmonk_database_url, pool_size=4, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def alone(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """A database without a table of listmonk's."""
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    engine = create_engine(database_url, pool_size=4, for_batches=True)
    yield engine
    engine.dispose()


@pytest.fixture
def listmonk(listmonk_database_url: str) -> Iterator[Listmonk]:
    with psycopg.connect(listmonk_database_url, autocommit=True) as connection:
        yield connection


def view(event_id: str, of: str | None = "<m@example.com>", azure: UUID | None = None, **fields: Any) -> Any:
    return click(event_id, of, azure, **{"engagement_type": "view", "engagement_context": ""} | fields)


def track(engine: Engine, *messages: Any) -> None:
    with engine.begin() as conn:
        track_messages(conn, messages or [message()])


def settle(engine: Engine, *messages: Any) -> None:
    track(engine, *messages)
    with engine.begin() as conn:
        release(conn, message_ids(messages), Results())


def execute(engine: Engine, statement: str, **values: Any) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement), values)


def row_of(engine: Engine, event_id: str, table: str = "azure_engagement_events") -> int:
    with engine.begin() as conn:
        row: int = conn.execute(text(f"SELECT id FROM {table} WHERE event_id = :id"), {"id": event_id}).scalar_one()
        return row


def why(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["why", *arguments])


def said(*arguments: str) -> str:
    """Return what it says, in one line without repeated spaces."""
    result = why(*arguments)
    assert result.exit_code == 0, result.output
    assert not re.search(r"reader\d+@", result.output), "no address"
    return re.sub(r"\s+", " ", result.stdout)


def timeline(event_id: str) -> dict[str, str]:
    """Return what it says at each step, by the stable names of JSON."""
    result = why("--event", event_id, "--format", "json")
    assert result.exit_code == 0, result.output
    (event,) = json.loads(result.stdout)["events"]
    return {each["step"]: each["says"] for each in event["timeline"]}


# How it was attributed.


def test_an_event_whose_message_was_tracked_before(engine: Engine) -> None:
    track(engine)
    record(engine, view("v"))
    told = timeline("v")
    assert list(told) == ["happened", "received", "tracked", "recorded", "attributed", "counted"]
    assert told["tracked"].startswith("its message <m@example.com> was tracked")
    assert told["attributed"] == (
        "attributed to campaign 7, subscriber 12 by internet_message_id: the mail's own Message-ID"
    )
    assert told["counted"] == f"counted in campaign_views, row {-row_of(engine, 'v')}, and in campaign_stats"
    assert "parked" not in told
    assert "Event v: view, engagement:" in said("v")


@pytest.mark.parametrize(
    ("tracked", "event", "key"),
    [
        (message(None, azure=azure_id(1)), click("e", None, azure_id(1)), "azure_message_id: the id that ACS answered"),
        (
            message(None, azure=azure_id(1)),
            click("e", "<taught@example.com>"),
            "delivery_report: an id that a delivery",
        ),
        (None, click("e", "<x@example.com>", header_campaign="9"), "header: a header of the mailer's"),
    ],
)
def test_each_key_is_told_in_words(engine: Engine, tracked: Any, event: Any, key: str) -> None:
    if tracked:
        track(engine, tracked)
    if "taught" in (event.internet_message_id or ""):
        record(engine, report("d", "<taught@example.com>", azure_id(1)))
    record(engine, event)
    told = timeline("e")
    assert f" by {key}" in told["attributed"]
    assert told["counted"].startswith("counted in link_clicks, row -")
    if "taught" in (event.internet_message_id or ""):
        assert "a delivery report taught its internet_message_id" in told["tracked"]


def test_the_link_key(engine: Engine, listmonk: Listmonk) -> None:
    link = fake.link(listmonk, "https://www.example.com/offer")
    campaign, subscriber = _uuids(listmonk, 9, 33)
    url = fake.tracked_link(listmonk, link, 9, 33)
    record(
        engine,
        click("e", "<x@example.com>", engagement_context=url, link_campaign=campaign, link_subscriber=subscriber),
    )
    told = timeline("e")
    assert told["attributed"].startswith("attributed to campaign 9, subscriber 33 by link: listmonk's tracked link")
    assert "second_key" not in told


def test_the_replaced_systems_events_have_no_id_and_are_asked_for_by_their_row(engine: Engine) -> None:
    execute(
        engine,
        "INSERT INTO azure_engagement_events"
        " (azure_message_id, campaign_id, subscriber_id, engagement_type, event_timestamp)"
        " VALUES (gen_random_uuid(), 7, 12, 'view', now())",
    )
    told = timeline("engagement:1")
    assert "by replaced_system: the replaced system, which kept no reason" in told["attributed"]
    assert told["no_row"].startswith("the replaced system attributed it")
    assert "An event without an id: view, engagement:1" in said("engagement:1")


# How it waited.


def test_a_parked_event_says_what_it_waits_for_and_until_when(engine: Engine) -> None:
    record(engine, click("m", LATE), click("a", None, azure_id(3)))
    told = timeline("m")
    assert list(told) == ["happened", "received", "parked", "next_attempt", "not_counted"]
    assert told["parked"] == f"recorded and parked: no message with the Message-ID {LATE} was tracked"
    assert told["not_counted"] == "not counted: it is parked, and no campaign is known"
    assert f"only Azure's id {azure_id(3)}" in timeline("a")["parked"]


def test_an_event_that_was_released_says_that_it_waited(engine: Engine) -> None:
    record(engine, click("e", LATE))
    execute(engine, "UPDATE azure_engagement_events SET attempts = 3")
    settle(engine, message(LATE))
    told = timeline("e")
    assert list(told)[2:5] == ["parked", "tracked", "attributed"]
    assert told["attempts"] == "looked for its message 3 times since"
    assert told["counted"].startswith("counted in link_clicks")


@pytest.mark.parametrize("operator", [True, False])
def test_an_expired_event_says_why_and_a_revived_one_too(engine: Engine, operator: bool) -> None:
    record(engine, click("e", LATE))
    with engine.begin() as conn:
        if operator:
            expire_now(conn, event_ids=["e"], internet_message_id=None)
        else:
            conn.execute(text("UPDATE azure_engagement_events SET next_attempt_at = now()"))
            sweep(conn, waits=[timedelta(seconds=5)], jitter=0, deadline=timedelta(0), limit=10)
    why_expired = "an operator gave it up" if operator else "its message was not tracked by the deadline"
    assert timeline("e")["expired"] == f"expired: {why_expired}"
    assert timeline("e")["not_counted"] == "not counted: it is expired, and no campaign is known"
    settle(engine, message(LATE))
    told = timeline("e")
    assert told["expired"] == f"expired: {why_expired}"
    assert told["attributed"].startswith("revived and attributed to campaign 7, subscriber 12")


def test_a_quarantined_event_is_found_by_its_id_with_the_reason(engine: Engine) -> None:
    part = malformed(
        "event", Reason.TIMESTAMP_MISSING, None, b'{"id": "broken-1", "to": "ada@example.net"}', "1-0", NOW
    )
    with engine.begin() as conn:
        quarantine(conn, [part])
    shown = said("broken-1")
    assert "In quarantine, number 1: an event that may name it could not be taken" in shown
    assert "Reason: timestamp_missing" in shown
    assert "`attribution quarantine show 1`" in shown
    assert "ada@" not in shown


@pytest.mark.parametrize(
    ("body", "asked", "found"),
    [
        (b'{"id":"evt-77"}', "evt-7", False),
        (b'{"id":"evt-77"}', "evt-77", True),
        (rb'{"id":"a\"b\u00fc\\_%"}', 'a"bü\\_%', True),
        ('{"id":"bü"}'.encode(), "bü", True),
        (b'\xff\x00"evt-7"', "evt-7", True),
        (b'{"m":"<M.1@example.com>"}', "<m.1@Example.com>", True),
        (b'{"m":"M.1@EXAMPLE.com"}', "<M.1@example.com>", True),
        (rb'{"m":"\u003CM.1@Example.com\u003E"}', "M.1@example.com", True),
        (b'{"m":"<other+M.1@example.com>"}', "<M.1@example.com>", False),
        (b'{"m":"<M.1@example.com.org>"}', "<M.1@example.com>", False),
        (b'{"m":"5B1E3C44-0000-4000-8000-000000000001"}', "5b1e3c44-0000-4000-8000-000000000001", True),
    ],
)
def test_a_quarantined_body_is_found_by_a_whole_id_however_json_has_it(
    engine: Engine, body: bytes, asked: str, found: bool
) -> None:
    with engine.begin() as conn:
        quarantine(conn, [malformed("event", Reason.TIMESTAMP_MISSING, None, body, "1-0", NOW)])
    result = why(asked)
    assert ("an event that may name it" in result.output) is found
    assert result.exit_code == (0 if found else 1)


# Where it is counted, or why it is not.


def test_an_act_that_listmonk_counted_itself_names_the_native_row(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    native = fake.view(listmonk, 7, 12, NOW)
    record(engine, view("v"))
    watch(engine)
    assert timeline("v")["absorbed"] == (
        f"counted once, in the native row {native} of campaign_views: listmonk counted the same act itself"
    )
    listmonk.execute("DELETE FROM campaign_views")
    assert f"native row {native} of campaign_views, which is gone" in timeline("v")["absorbed"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("unsubscribe_link", "a click on the way out (unsubscribe, preferences) shows no interest"),
        ("tracking_disabled", "listmonk's setting privacy.disable_tracking was on"),
        ("unknown_type", "it is neither a view nor a click"),
        ("no_url", "it names no URL that could be counted"),
        ("campaign_deleted", "the campaign was deleted"),
    ],
)
def test_an_act_that_is_not_counted_says_by_which_rule(
    engine: Engine, listmonk: Listmonk, rule: str, words: str
) -> None:
    track(engine)
    fields: dict[str, Any] = {"uncounted": rule} if rule in ("unsubscribe_link", "unknown_type") else {}
    if rule == "tracking_disabled":
        fake.set_setting(listmonk, "privacy.disable_tracking", True)
    record(engine, click("e", **fields, engagement_context="" if rule == "no_url" else "https://www.example.com/"))
    if rule == "campaign_deleted":  # only where listmonk came after us: its foreign key deletes the event as well
        execute(engine, "UPDATE azure_engagement_events SET uncounted = 'campaign_deleted'")
    told = timeline("e")
    assert told["not_counted"] == f"not counted: {words}"
    assert "counted" not in told


def test_a_row_that_was_deleted_is_missed(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, view("v"))
    listmonk.execute("DELETE FROM campaign_views")
    assert (
        timeline("v")["no_row"]
        == "counted in campaign_stats; no row in campaign_views: it was deleted, or never written"
    )


def test_without_listmonk_an_act_is_counted_in_the_view(alone: Engine) -> None:
    track(alone)
    record(alone, view("v"), report("d", status="Bounced", bounce_type="hard"))
    assert timeline("v")["counted"].startswith("counted in campaign_stats; this database has no table of listmonk's")
    assert timeline("d")["bounce"] == "a hard bounce in campaign_stats; there is no table bounces here"
    assert "opens 1 = 1 by the mail's own Message-ID = 1 counted in campaign_stats" in said("campaign:7")


def test_a_delivery_report_says_which_bounce_it_became_or_that_it_is_none(engine: Engine, listmonk: Listmonk) -> None:
    track(engine, message(), message("<nobody@example.com>", subscriber=None))
    record(
        engine,
        report("ok"),
        report(
            "hard",
            status="Bounced",
            bounce_type="hard",
            recipient_domain="example.net",
            status_reason="550 5.1.1 <ada@example.net> user unknown",
        ),
        report("whose", "<nobody@example.com>", status="Bounced", bounce_type="soft"),
    )
    assert timeline("ok")["counted"] == "counted in campaign_stats; Delivered is no bounce"
    told = timeline("hard")
    assert told["happened"] == "the mail was reported Bounced, SMTP status 5.1.1, to example.net"
    assert listmonk.execute("SELECT id FROM bounces").fetchall() == [(1,)]
    assert told["bounce"] == "a hard bounce: row 1 of bounces, and in campaign_stats"
    assert "ada@" not in said("hard")
    assert timeline("whose")["bounce"] == "a soft bounce in campaign_stats alone: bounces needs a subscriber"


def test_a_clicked_url_is_told_without_what_may_name_its_reader(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    link = fake.tracked_link(listmonk, fake.link(listmonk, "https://www.example.com/"), 7, 12)
    record(
        engine,
        click("e", engagement_context="https://www.example.com/a/ada@example.net/b?email=ada%40example.net#x"),
        click("link", engagement_context=link),
    )
    result = why("e", "--format", "json")
    assert "https://www.example.com/a/nobody/b" in result.stdout
    assert "ada@" not in result.stdout + said("e")
    assert not set(re.findall(r"[0-9a-f-]{36}", link)) & set(re.findall(r"[0-9a-f-]{36}", timeline("link")["happened"]))


# Second keys, runs, repairs, the webhook.


def _uuids(listmonk: Listmonk, campaign: int, subscriber: int) -> tuple[bytes, bytes]:
    row = listmonk.execute(
        "SELECT c.uuid, s.uuid FROM campaigns AS c, subscribers AS s WHERE c.id = %s AND s.id = %s",
        [campaign, subscriber],
    ).fetchone()
    assert row
    return row[0].bytes, row[1].bytes


@pytest.mark.parametrize(("campaign", "subscriber", "agree"), [(7, 12, True), (9, 12, False), (7, 33, False)])
def test_two_keys_are_compared(engine: Engine, listmonk: Listmonk, campaign: int, subscriber: int, agree: bool) -> None:
    track(engine)
    link_campaign, link_subscriber = _uuids(listmonk, campaign, subscriber)
    link = fake.tracked_link(listmonk, fake.link(listmonk, "https://www.example.com/"), campaign, subscriber)
    record(
        engine,
        click("e", engagement_context=link, link_campaign=link_campaign, link_subscriber=link_subscriber),
    )
    told = timeline("e")
    keys = "agree" if agree else "DISAGREE"
    assert told["second_key"] == f"the clicked link names campaign {campaign}, subscriber {subscriber}: the keys {keys}"
    assert told["attributed"].startswith("attributed to campaign 7, subscriber 12 by internet_message_id")
    assert ("incident" in told) is not agree
    if not agree:
        assert "the message's word stands" in told["incident"]


def test_a_subscriber_that_one_key_leaves_open_contradicts_nobody(engine: Engine, listmonk: Listmonk) -> None:
    track(engine, message(subscriber=None))
    campaign, subscriber = _uuids(listmonk, 7, 9)
    record(engine, click("e", link_campaign=campaign, link_subscriber=subscriber))
    told = timeline("e")
    assert told["second_key"] == "the clicked link names campaign 7, subscriber 9: the keys agree"
    assert "incident" not in told


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("key", [*Key, "replaced_system"])
def test_two_keys_are_told_where_accuracy_counts_two_and_agree_where_they_do(
    engine: Engine, key: str, tracked: bool
) -> None:
    if tracked:
        track(engine, message(campaign=7, subscriber=None))
    record(engine, click("agree"), click("disagree"))
    execute(
        engine,
        "UPDATE azure_engagement_events SET state = 'attributed', matched_by = CAST(:key AS attribution_key),"
        " campaign_id = CASE WHEN CAST(:by_link AS boolean) AND event_id = 'disagree' THEN 8 ELSE 7 END,"
        " subscriber_id = 12, link_subscriber_id = 12,"
        " link_campaign_id = CASE event_id WHEN 'agree' THEN 7 ELSE 8 END, uncounted = NULL, next_attempt_at = NULL,"
        " attributed_at = now()",
        key=key,
        by_link=key == "link",
    )
    with engine.begin() as conn:
        measured = measure_accuracy(conn)
    told = {event: timeline(event).get("second_key", "") for event in ("agree", "disagree")}
    assert [event for event, says in told.items() if says.endswith("the keys agree")] == ["agree"] * measured.agreeing
    assert [event for event, says in told.items() if says.endswith("DISAGREE")] == ["disagree"] * measured.disagreeing
    assert measured.two_keys == sum(map(bool, told.values())) == measured.agreeing + measured.disagreeing


@pytest.mark.parametrize(
    ("kind", "received", "recorded"),
    [
        (None, "received from Event Grid", "recorded"),
        ("replay", "received from Event Grid, and archived", "recorded, by replay run 1"),
        ("import", "received from Event Grid, as the import dates it", "recorded, by import run 1"),
        ("forgotten", "received from Event Grid", "recorded, by run 1, which is forgotten"),
    ],
)
def test_an_event_that_a_run_brought_names_the_run_and_whose_time_of_receipt_it_has(
    engine: Engine, kind: str | None, received: str, recorded: str
) -> None:
    track(engine)
    record(engine, view("v"))
    if kind and kind != "forgotten":
        execute(engine, "INSERT INTO attribution_runs (kind, parameters) VALUES (:kind, '{}')", kind=kind)
    if kind:
        execute(engine, "UPDATE azure_engagement_events SET run_id = 1")
    told = timeline("v")
    assert (told["received"], told["recorded"]) == (received, recorded)


def test_a_row_of_the_replaced_system_is_not_said_to_be_recorded_by_us(engine: Engine) -> None:
    execute(
        engine,
        "INSERT INTO azure_engagement_events (azure_message_id, campaign_id, engagement_type, event_timestamp)"
        " VALUES (gen_random_uuid(), 7, 'view', now())",
    )
    assert timeline("engagement:1")["recorded"] == "recorded by the replaced system"
    execute(engine, "UPDATE azure_engagement_events SET event_key = gen_random_uuid(), received_at = now()")
    told = timeline("engagement:1")
    assert told["recorded"] == "recorded by the replaced system"
    assert told["received"] == "received by the replaced system, as the import dates it that knew the event again"


def test_a_message_that_a_replay_tracked_says_so(engine: Engine) -> None:
    track(engine, message()._replace(tracked_via="replay"))
    assert "by a replay of the archive, for campaign 7" in said("<m@example.com>")


def test_what_a_repair_changed_and_that_it_was_undone(engine: Engine) -> None:
    track(engine)
    record(engine, view("v"))
    row = row_of(engine, "v")
    execute(engine, "INSERT INTO attribution_runs (kind, parameters) VALUES ('repair', '{}')")
    for table, row_id in (("azure_engagement_events", row), ("campaign_views", -row)):
        execute(
            engine,
            "INSERT INTO attribution_journal (run_id, table_name, row_id, was, became, reason)"
            " VALUES (1, :t, :row, CAST(:was AS jsonb), CAST(:became AS jsonb), 'message_id')",
            was='{"campaign_id": 64, "subscriber_id": 12}',
            became='{"campaign_id": 7, "subscriber_id": 12}',
            t=table,
            row=row_id,
        )
    shown = said("v")
    assert f"repair run 1 changed row {row} of azure_engagement_events: campaign 64 → 7 (message_id)" in shown
    assert f"repair run 1 changed row {-row} of campaign_views: campaign 64 → 7 (message_id)" in shown
    assert "undone" not in shown
    assert "repair run 1: +1 -0 rows of campaign_views" in said("campaign:7")
    execute(engine, "UPDATE attribution_journal SET undone_at = now()")
    assert timeline("v")["undone"] == "repair run 1 was undone"
    assert "repair run 1: +0 -1 rows of campaign_views (undone since)" in said("campaign:64")


def test_what_the_webhook_has_not_been_told(engine: Engine) -> None:
    track(engine)
    record(engine, view("v"), report("d"), results=Results(webhook=True))
    assert timeline("v")["webhook"] == "the webhook has not been told: waits in the outbox"
    execute(engine, "DELETE FROM attribution_outbox WHERE kind = 'engagement'")
    assert "webhook" not in timeline("v")
    execute(
        engine,
        "INSERT INTO attribution_webhooks (id, engagements, deliveries, state, attempts)"
        " SELECT gen_random_uuid(), ARRAY[id], '{}', 'given_up', 9 FROM azure_engagement_events",
    )
    assert timeline("v")["webhook"] == "the webhook has not been told: given up, after 9 times"


# Messages, people, and what is not there.


def test_a_message_tells_who_tracked_it_and_each_of_its_events(engine: Engine) -> None:
    track(engine, message("<M.1@Example.com>".replace("Example", "example"), azure=azure_id(5)))
    record(engine, view("v", "<M.1@example.com>"), report("d", None, azure_id(5)))
    for asked in ("M.1@EXAMPLE.com", str(azure_id(5)), "message:<M.1@example.com>"):
        shown = said(asked)
        assert "Message <M.1@example.com>, tracking row 1" in shown
        assert "for campaign 7, subscriber 12; sent" in shown
        assert f"Azure's own id: {azure_id(5)}" in shown
        assert "v the mail was opened" in shown
        assert "d the mail was reported Delivered" in shown
        assert "counted in campaign_views" in shown


def test_a_message_says_how_many_events_it_has_where_not_all_are_shown(engine: Engine) -> None:
    track(engine)
    record(engine, *(view(f"v{n}", event_timestamp=NOW - timedelta(minutes=n)) for n in range(3)), report("d"))
    asked = ("--message", "m@example.com")
    assert "The oldest 2 of its 4 events; --limit shows more:" in said(*asked, "--limit", "2")
    assert "The oldest" not in said(*asked, "--limit", "4")
    document = json.loads(why(*asked, "--limit", "2", "--format", "json").stdout)
    assert document["total"] == 4
    assert [each["event_id"] for each in document["events"]] == ["v2", "v1"]


def test_what_would_steer_a_terminal_is_printed_nowhere(engine: Engine) -> None:
    steering = "\x1b]0;x\x07\n\x9b31m\u2028\u202e"
    track(engine)
    record(
        engine,
        click(f"c{steering}", engagement_context=f"https://www.example.com/{steering}"),
        view(f"v{steering}", engagement_type=f"hover{steering}", uncounted="unknown_type"),
        report("d", status=f"Odd{steering}", recipient_domain=f"example.net{steering}"),
    )
    row = row_of(engine, f"c{steering}")
    for asked in (f"engagement:{row}", f"engagement:{row + 1}", "delivery:1", "campaign:7", "subscriber:12"):
        for output_format in ("text", "json"):
            shown = why(asked, "--format", output_format).stdout
            assert "\N{REPLACEMENT CHARACTER}" in shown or output_format == "json"
            assert not set(steering) - {"\n", *"]0;x31m"} & set(shown), asked
    events = json.loads(why(f"engagement:{row}", "--format", "json").stdout)["events"]
    assert events[0]["event_id"] == f"c{steering}", "JSON has it exactly"


def test_a_message_that_nobody_tracked(engine: Engine) -> None:
    record(engine, view("v", LATE))
    shown = said(LATE)
    assert f"Nobody tracked the message {LATE}" in shown
    assert "v the mail was opened parked; not counted" in shown


def test_a_message_whose_tracking_was_refused_or_whose_id_was_replaced(engine: Engine) -> None:
    track(engine)
    body = b'{"campaign_id":8,"internet_message_id":"<m@example.com>"}'
    with engine.begin() as conn:
        quarantine(conn, [malformed("message", Reason.TRACKING_REFUSED, "tracked for another", body, None, NOW)])
        conn.execute(
            text(
                "INSERT INTO attribution_incidents (kind, subject_id, details)"
                " VALUES ('message_id_replaced', 99, CAST(:details AS jsonb))"
            ),
            {
                "details": json.dumps(
                    {
                        "certain": False,
                        "cause": "duplicate",
                        "report": {"internet_message_id": "<new@example.org>"},
                        "candidates": [{"message_id": "<m@example.com>", "campaign_id": 7}],
                    }
                )
            },
        )
    shown = said("<m@example.com>")
    assert "a tracking that may name it could not be taken" in shown
    assert "Reason: tracking_refused" in shown
    assert "ACS has probably replaced a Message-ID: the report of <new@example.org> is of <m@example.com>" in shown
    assert "an earlier mail had the same id" in shown


def test_a_subscribers_events_are_told_newest_first(engine: Engine) -> None:
    track(engine)
    record(engine, *(view(f"v{n}", event_timestamp=NOW - timedelta(minutes=n)) for n in range(3)))
    shown = said("subscriber:12", "--limit", "2")
    assert "Subscriber 12: 3 events; the newest 2:" in shown
    assert shown.index("v0") < shown.index("v1")
    assert "v2" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["7"], 2, "A bare number may be anything. Say what it is: --event, --message, --campaign or --subscriber."),
        ([], 2, "Say what it is: --event, --message, --campaign or --subscriber, or give one EVENT-ID or MESSAGE-ID."),
        ([""], 2, "An empty id names nothing."),
        (["--event", " "], 2, "An empty id names nothing."),
        (["event:"], 2, "An empty id names nothing."),
        (["<>"], 1, "No event or message with this id is known"),
        (["e", "--campaign", "7"], 2, "Say what it is"),
        (["campaign:seven"], 2, "A campaign is named by its number, such as campaign:7."),
        (["--message", "two words"], 2, "That is no Message-ID"),
        (["campaign:98"], 1, "Nothing is known of campaign 98"),
        (["subscriber:98"], 1, "No event of subscriber 98 is known."),
        (["nowhere"], 1, "No event or message with this id is known"),
        (["<nowhere@example.com>"], 1, "No event or message with this id is known"),
        (["--event", "7"], 1, "No event with this id is known"),
    ],
)
def test_what_is_unclear_or_unknown_is_one_sentence(
    engine: Engine, arguments: list[str], code: int, sentence: str
) -> None:
    result = why(*arguments)
    assert result.exit_code == code
    assert sentence in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
