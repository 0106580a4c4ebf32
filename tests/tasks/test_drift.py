"""What is noticed of a batch that this release does not know: names, and never a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import drift
from tasks.batch import Body
from tasks.drift import MOST_NAMES, UNREADABLE, Name, Seen, look
from tasks.eventgrid import _STATUSES, Parsed, parse_body
from tests.tasks.payloads import RECEIVED_AT, body_of, cloud_event, delivery, engagement

SECRET = "ada@example.net"


def seen_in(*bodies: bytes) -> Seen:
    parsed = Parsed()
    for body in bodies:
        parse_body(body, parsed, entry_id="1-0", received_at=RECEIVED_AT)
    return look(parsed, [Body(body, "1-0", RECEIVED_AT) for body in bodies])


def names_in(*events: dict[str, Any]) -> set[Name]:
    return seen_in(body_of(*events)).names


def test_of_what_is_documented_nothing_is_noticed() -> None:
    known = [
        engagement(),
        delivery(),
        cloud_event(engagement()),
        cloud_event(delivery(status="bounced")),
        engagement(engagementType="View"),
        delivery(deliveryAttemptTimestamp=..., deliveryAttemptTimeStamp="2026-01-10T10:26:32Z"),
        engagement(engagementType=..., engagement="click"),
        delivery(deliveryStatusDetails="No error."),
    ]
    for event in known:
        assert names_in(event) == set()
        assert not seen_in(body_of(event)).strange


def test_a_new_key_is_noticed_wherever_it_is_though_the_event_is_read_as_ever() -> None:
    details = {"statusMessage": "No error.", "diagnosticCode": SECRET}
    assert names_in(delivery(deliveryStatusDetails=details)) == {Name("details_key", "diagnosticCode")}
    assert names_in(engagement(engagementRegion=SECRET)) == {Name("data_key", "engagementRegion")}
    assert names_in(engagement() | {"traceParent": SECRET}) == {Name("envelope_key", "traceParent")}


def test_a_new_key_is_noticed_where_only_misspelt_events_carry_it() -> None:
    plain = body_of(*(delivery() for _ in range(20)))
    strange = body_of(delivery(deliveryAttemptTimestamp=..., deliveryAttemptTimeStamp="2026-01-10T10:26:32Z", news=1))
    assert seen_in(strange, *[plain] * 50).names == {Name("data_key", "news")}


def test_an_unknown_status_or_type_is_counted_and_named() -> None:
    seen = seen_in(body_of(delivery(status="OutForDelivery"), delivery(), engagement(engagementType="Forward")))
    assert seen.strange == {Name("status", "OutForDelivery"): 1, Name("engagement_type", "forward"): 1}
    assert seen.names == set(seen.strange)
    assert seen.unknown(()) == 2
    assert seen.unknown({Name("status", "OutForDelivery")}) == 1


def test_mail_of_an_unknown_type_is_counted_and_what_other_services_send_is_only_named() -> None:
    mail = engagement() | {"eventType": "Microsoft.Communication.EmailReadReportReceived"}
    sms = engagement() | {"eventType": "Microsoft.Communication.SMSReceived", "data": {"message": SECRET}}
    seen = seen_in(body_of(mail, sms, sms))
    assert seen.strange == {Name("event_type", "Microsoft.Communication.EmailReadReportReceived"): 1}
    assert seen.names == {*seen.strange, Name("event_type", "Microsoft.Communication.SMSReceived")}


def test_engagements_without_an_internet_message_id_are_counted_with_the_keys_of_one() -> None:
    seen = seen_in(body_of(engagement(internet_message_id=None), engagement(), delivery(internetMessageId=None)))
    assert (seen.engagements, seen.without_id) == (2, 1)
    assert {"engagementType", "internetMessageId", "messageId", "userAgent"} <= set(seen.keys_without_id)


@pytest.mark.parametrize(
    "key", [SECRET, "5b1e3c44-0000-4000-8000-0000000000aa", "two words", "x" * 60, "a123456", "\x1b[31m", "ключ", ""]
)
def test_a_name_that_does_not_look_like_one_is_not_repeated(key: str) -> None:
    data: dict[str, Any] = {key: 1}
    assert names_in(engagement(**data)) == {Name("data_key", UNREADABLE)}


@pytest.mark.parametrize("status", [SECRET, "550 5.1.1", "<c42@mail.example.com>", "\x1b[31m"])
def test_a_status_that_is_no_word_is_not_repeated(status: str) -> None:
    assert names_in(delivery(status=status)) == {Name("status", UNREADABLE)}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(SECRET),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.text(max_size=12) | st.just(SECRET), _JSON, max_size=30), max_size=4), st.binary())
def test_whatever_comes_it_never_raises_and_no_value_is_among_the_names(
    data: list[dict[str, Any]], junk: bytes
) -> None:
    bodies = [body_of(engagement() | {"data": engagement()["data"] | each}) for each in data]
    seen = seen_in(*bodies, junk, junk[:1] * 40_000, b"[" + junk)
    assert len(seen.names) <= MOST_NAMES
    assert SECRET not in repr(seen)


def test_what_batches_showed_adds_up_and_is_bounded() -> None:
    total = Seen()
    for number in range(1000):
        total += Seen(events=2, names={Name("data_key", f"key{number}")}, keys_without_id=(f"key{number}",))
    assert (total.events, total.keys_without_id) == (2000, ("key0",))
    assert len(total.names) == drift.MOST_KEPT
    assert Seen(events=10).share(()) == Seen().share(()) == 0
    total = Seen(events=10)
    total.malformed["not_json"] = 4
    assert total.share(()) == 0.4


def test_the_statuses_it_knows_are_those_that_are_documented() -> None:
    assert set(_STATUSES.values()) == drift.STATUSES


def test_an_event_longer_than_is_looked_at_is_left_alone() -> None:
    assert names_in(engagement(userAgent="x" * 20_000) | {"news": 1}) == set()
    assert json.loads(body_of(engagement(userAgent="x" * 20_000)))  # it is sound
