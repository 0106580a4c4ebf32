"""The wire format, as it is and as it drifts."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from azure.eventgrid import SystemEventNames
from hypothesis import given
from hypothesis import strategies as st

from db.bounces import BounceRules
from db.models import DeliveryEvent, EngagementEvent
from tasks.eventgrid import Parsed, event_key, parse_body
from tasks.reasons import Reason
from tests.tasks.payloads import AZURE_MESSAGE_ID, RECEIVED_AT, SOURCE, body_of, cloud_event, delivery, engagement
from worker.json_parts import split_parts


def parse(body: bytes) -> Parsed:
    parsed = Parsed()
    parse_body(body, parsed, entry_id="1-0", received_at=RECEIVED_AT)
    return parsed


def one_engagement(event: dict[str, Any]) -> EngagementEvent:
    parsed = parse(body_of(event))
    assert not parsed.malformed
    (result,) = parsed.engagements
    return result


def one_delivery(event: dict[str, Any]) -> DeliveryEvent:
    parsed = parse(body_of(event))
    assert not parsed.malformed
    (result,) = parsed.deliveries
    return result


def test_a_click_is_read_whole() -> None:
    assert one_engagement(engagement("e1")) == EngagementEvent(
        event_key=event_key(SOURCE, "e1"),
        event_id="e1",
        internet_message_id="<c42@mail.example.com>",
        azure_message_id=bytes.fromhex(AZURE_MESSAGE_ID.replace("-", "")),
        event_timestamp=datetime(2026, 1, 10, 10, 26, 40, 120_000, tzinfo=UTC),
        received_at=RECEIVED_AT,
        header_campaign=None,
        header_subscriber=None,
        engagement_type="click",
        engagement_context="https://www.example.com/offer",
        user_agent="Mozilla/5.0",
        uncounted=None,
        recipient=None,
        link_campaign=None,
        link_subscriber=None,
    )


def test_a_delivery_report_is_read_whole() -> None:
    event = one_delivery(delivery("d1"))
    assert (event.status, event.status_reason) == ("Delivered", "No error.")
    assert json.loads(event.delivery_status_details or "") == {
        "statusMessage": "No error.",
        "recipientMailServerHostName": "mx1.example.net",
    }
    assert event.event_timestamp == datetime(2026, 1, 10, 10, 26, 32, 990_000, tzinfo=UTC)
    assert (event.bounce_type, event.recipient_domain) == (None, "example.net")


def test_a_click_on_a_tracked_link_names_campaign_and_subscriber() -> None:
    link, campaign, subscriber = (f"0000000{n}-0000-4000-8000-000000000000" for n in (1, 2, 3))
    event = one_engagement(
        engagement("e1", engagementContext=f"https://news.example.com/link/{link}/{campaign}/{subscriber}")
    )
    assert (event.link_campaign, event.link_subscriber) == (UUID(campaign).bytes, UUID(subscriber).bytes)
    assert event.uncounted is None


@pytest.mark.parametrize(
    ("fields", "uncounted"),
    [
        ({"engagementContext": "https://example.com/unsubscribe?u=1"}, "unsubscribe_link"),
        ({"engagementContext": ""}, None),
        ({"engagementType": "view", "engagementContext": "https://example.com/unsubscribe"}, None),
        ({"engagementType": "hover"}, "unknown_type"),
    ],
)
def test_what_shows_no_interest_says_so_from_the_beginning(fields: dict[str, str], uncounted: str | None) -> None:
    assert one_engagement(engagement("e1", **fields)).uncounted == uncounted


def test_the_rules_say_which_reports_are_bounces() -> None:
    rules = BounceRules(["FilteredSpam:complaint", "5.*:hard", "Bounced:soft"])
    parsed = Parsed()
    spam, delivered = ("FilteredSpam", "550 5.7.1"), ("Delivered", "5.0.0")
    for number, (status, message) in enumerate([("bounced", "550 5.1.1 no user"), ("Bounced", None), spam, delivered]):
        event = delivery(f"d{number}", status=status, deliveryStatusDetails={"statusMessage": message})
        parse_body(body_of(event), parsed, entry_id=None, received_at=RECEIVED_AT, bounces=rules)
    assert [event.bounce_type for event in parsed.deliveries] == ["hard", "soft", "complaint", None]


@pytest.mark.parametrize(
    ("recipient", "domain"),
    [("Ada@Mail.EXAMPLE.net", "mail.example.net"), ("", None), (None, None), ("<ada@example.net>", "example.net")],
)
def test_of_the_recipient_only_the_domain_is_kept(recipient: str | None, domain: str | None) -> None:
    event = one_delivery(delivery("d1", recipient=recipient))
    assert event.recipient_domain == domain
    assert "ada@" not in repr(event)
    assert "Ada" not in repr(event)


@pytest.mark.parametrize("make", [engagement, delivery])
def test_both_envelopes_hold_the_same_event(make: Callable[..., dict[str, Any]]) -> None:
    event = make("same")
    own, cloud = parse(body_of(event)), parse(json.dumps(cloud_event(event)).encode())
    assert (own.engagements, own.deliveries) == (cloud.engagements, cloud.deliveries)
    assert len(own.engagements) + len(own.deliveries) == 1


def test_a_single_object_an_array_and_a_batch_are_all_bodies() -> None:
    event = engagement("e1")
    single = parse(json.dumps(event).encode()).engagements
    assert single == parse(body_of(event)).engagements
    assert len(parse(body_of(*(engagement(f"e{i}") for i in range(5000)))).engagements) == 5000
    assert parse(b"[]") == Parsed()


@pytest.mark.parametrize("key", ["userActionTimestamp", "userActionTimeStamp", "useractiontimestamp"])
def test_the_timestamp_key_is_found_in_any_case(key: str) -> None:
    data: dict[str, Any] = {"userActionTimestamp": ...} | {key: "2026-01-10T10:26:40Z"}
    event = engagement(**data)
    assert one_engagement(event).event_timestamp == datetime(2026, 1, 10, 10, 26, 40, tzinfo=UTC)


@pytest.mark.parametrize("key", ["engagementContext", "userAgent"])
def test_a_single_key_of_an_engagement_report_in_another_case_is_found(key: str) -> None:
    data: dict[str, Any] = {key: ..., key.upper(): "https://www.example.com/another"}
    event = one_engagement(engagement(**data))
    assert "https://www.example.com/another" in (event.engagement_context, event.user_agent)


def test_a_single_key_of_a_delivery_report_in_another_case_is_found() -> None:
    assert one_delivery(delivery(recipient=..., Recipient="ada@example.com")).recipient_domain == "example.com"
    details = one_delivery(delivery(deliveryStatusDetails=..., DeliveryStatusDetails="550 5.1.1"))
    assert details.status_reason == "550 5.1.1"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-10T10:26:41.1234567Z", datetime(2026, 1, 10, 10, 26, 41, 123_456, tzinfo=UTC)),
        ("2026-01-10T10:26:41Z", datetime(2026, 1, 10, 10, 26, 41, tzinfo=UTC)),
        (
            "2026-01-10T11:26:41.5+01:00",
            datetime(2026, 1, 10, 11, 26, 41, 500_000, tzinfo=timezone(timedelta(hours=1))),
        ),
    ],
)
def test_timestamps_keep_their_microseconds_and_zone(text: str, instant: datetime) -> None:
    assert one_engagement(engagement(userActionTimestamp=text)).event_timestamp == instant


def test_no_clock_of_ours_decides_what_time_is_believed() -> None:
    """Redis's may be days behind, and whatever is sound would seem to come from the future."""
    ahead = one_engagement(engagement(userActionTimestamp="2099-12-31T23:59:59Z"))
    assert ahead.event_timestamp > ahead.received_at + timedelta(days=10_000)


def test_an_escaped_plus_in_an_offset_is_a_plus() -> None:
    body = body_of(engagement("e1")).replace(b"40.12+00:00", b"40.12\\u002B00:00")
    assert parse(body).engagements == parse(body_of(engagement("e1"))).engagements


def test_without_its_own_timestamp_an_event_has_the_time_event_grid_got_it() -> None:
    event = one_engagement(engagement(userActionTimestamp=...))
    assert event.event_timestamp == datetime(2026, 1, 10, 10, 28, 55, 253_236, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [("View", "view"), ("click", "click"), ("CLICK", "click"), ("preview", "preview"), ("é" * 30, "é" * 30)],
)
def test_engagement_types_are_an_open_set(sent: str, stored: str) -> None:
    assert one_engagement(engagement(engagementType=sent)).engagement_type == stored


def test_the_engagement_type_may_stand_under_the_name_the_sdks_use() -> None:
    assert one_engagement(engagement(engagementType=..., engagement="view")).engagement_type == "view"


@pytest.mark.parametrize(
    ("sent", "stored"), [("delivered", "Delivered"), ("FILTEREDSPAM", "FilteredSpam"), ("Deferred", "Deferred")]
)
def test_statuses_are_an_open_set(sent: str, stored: str) -> None:
    assert one_delivery(delivery(status=sent)).status == stored


def test_status_details_may_be_a_plain_string_or_missing() -> None:
    assert one_delivery(delivery(deliveryStatusDetails="550 5.1.1")).delivery_status_details == "550 5.1.1"
    assert one_delivery(delivery(deliveryStatusDetails=...)).delivery_status_details is None


def test_a_suppressed_report_has_azures_id_only() -> None:
    event = one_delivery(delivery(internet_message_id=None, status="Suppressed"))
    assert event.internet_message_id is None
    assert event.azure_message_id is not None


@pytest.mark.parametrize("key", ["MessageId", "messageID"])
def test_azures_id_is_found_in_any_case(key: str) -> None:
    data: dict[str, Any] = {"messageId": ..., key: AZURE_MESSAGE_ID}
    assert one_engagement(engagement(**data)).azure_message_id == bytes.fromhex(AZURE_MESSAGE_ID.replace("-", ""))


def test_an_azure_id_that_is_no_uuid_matches_nothing() -> None:
    assert one_engagement(engagement(messageId="not-a-uuid")).azure_message_id is None


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (" <C42.x@Mail.Example.COM> ", "<C42.x@mail.example.com>"),
        ("C42.x@Mail.Example.COM", "<C42.x@mail.example.com>"),
    ],
)
def test_message_ids_are_normalised(sent: str, stored: str) -> None:
    assert one_engagement(engagement(internet_message_id=sent)).internet_message_id == stored


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Listmonk-Campaign": "12", "X-Listmonk-Subscriber": "34"},
        {"XListmonkCampaign": "12", "XListmonkSubscriber": "34"},
        {"xListmonkCampaign-ID": "12"} | {"xListmonkCampaignID": 12, "xListmonkSubscriberID": 34},
        {"X-Listmonk-Campaign-ID": "12", "X-Listmonk-Subscriber-ID": "34"},
    ],
)
def test_echoed_headers_are_read_in_every_spelling(headers: dict[str, Any]) -> None:
    event = one_engagement(engagement(internet_message_id=None, messageId=..., **headers))
    assert (event.header_campaign, event.header_subscriber) == ("12", "34")


def test_event_types_that_we_do_not_follow_are_counted_and_left() -> None:
    other = engagement() | {"eventType": SystemEventNames.AcsChatMessageReceivedEventName.value}
    parsed = parse(body_of(other, engagement("e1"), {"eventType": "Contoso.Unheard.Of"}))
    assert (parsed.ignored, len(parsed.engagements), parsed.malformed) == (2, 1, [])


def test_the_key_of_an_event_is_its_source_in_any_case_and_its_id() -> None:
    assert event_key(SOURCE, "e1") == event_key(SOURCE.upper(), "e1")
    assert event_key(SOURCE, "e1") != event_key(SOURCE, "E1")
    assert event_key(SOURCE, "e1") != event_key(SOURCE + "-2", "e1")
    assert event_key("a", "bc") != event_key("ab", "c")


HOSTILE: list[tuple[Any, Reason]] = [
    (3, Reason.NOT_AN_EVENT),
    (None, Reason.NOT_AN_EVENT),
    ([], Reason.NOT_AN_EVENT),
    ({}, Reason.EVENT_TYPE_INVALID),
    (engagement() | {"eventType": 7}, Reason.EVENT_TYPE_INVALID),
    (engagement() | {"id": 7}, Reason.EVENT_ID_INVALID),
    (engagement() | {"id": ""}, Reason.EVENT_ID_INVALID),
    (engagement() | {"id": "x" * 10_000}, Reason.EVENT_ID_INVALID),
    (engagement() | {"id": "a\0b"}, Reason.EVENT_ID_INVALID),
    (engagement() | {"id": "a\r\nb"}, Reason.EVENT_ID_INVALID),
    (engagement() | {"topic": None}, Reason.SOURCE_INVALID),
    (engagement() | {"topic": ["x"]}, Reason.FIELD_INVALID),
    (engagement() | {"data": "text"}, Reason.DATA_INVALID),
    (engagement() | {"data": None}, Reason.DATA_INVALID),
    (engagement(engagementType=...), Reason.FIELD_INVALID),
    (engagement(engagementType=5), Reason.FIELD_INVALID),
    (engagement(userAgent="a\0b"), Reason.FIELD_INVALID),
    (engagement(engagementContext={"url": "x"}), Reason.FIELD_INVALID),
    (delivery(status=None), Reason.FIELD_INVALID),
    (delivery(deliveryStatusDetails=["x"]), Reason.FIELD_INVALID),
    (delivery(deliveryStatusDetails={"statusMessage": 5}), Reason.FIELD_INVALID),
    (engagement(internet_message_id="a\0b@example.com"), Reason.MESSAGE_ID_INVALID),
    (engagement(internet_message_id="a\tb@example.com"), Reason.MESSAGE_ID_INVALID),
    (engagement(internet_message_id="x" * 10_000), Reason.MESSAGE_ID_INVALID),
    (engagement(internet_message_id="é@example.com"), Reason.MESSAGE_ID_INVALID),
    (engagement(internet_message_id=None, messageId=...), Reason.NO_MESSAGE_ID),
    (engagement(userActionTimestamp="yesterday"), Reason.TIMESTAMP_INVALID),
    (engagement(userActionTimestamp=""), Reason.TIMESTAMP_INVALID),
    (engagement(userActionTimestamp="now"), Reason.TIMESTAMP_INVALID),
    (engagement(userActionTimestamp="infinity"), Reason.TIMESTAMP_INVALID),
    (engagement(userActionTimestamp="2026-01-10T10:26:40"), Reason.TIMESTAMP_INVALID),
    (engagement(userActionTimestamp="2026-13-40T10:26:40Z"), Reason.TIMESTAMP_INVALID),
    (engagement(userActionTimestamp=1768040800), Reason.FIELD_INVALID),
    (engagement(userActionTimestamp="1999-12-31T23:59:59Z"), Reason.TIMESTAMP_OUT_OF_RANGE),
    (engagement(userActionTimestamp="2100-01-01T00:00:00Z"), Reason.TIMESTAMP_OUT_OF_RANGE),
    (engagement(userActionTimestamp="9999-12-31T23:59:59-14:00"), Reason.TIMESTAMP_OUT_OF_RANGE),
    (engagement(userActionTimestamp="99999-01-01T00:00:00Z"), Reason.TIMESTAMP_INVALID),
    ({**engagement(userActionTimestamp=...), "eventTime": None}, Reason.TIMESTAMP_MISSING),
]


@pytest.mark.parametrize(("event", "reason"), HOSTILE)
def test_a_bad_event_is_quarantined_with_its_reason_and_its_neighbours_go_through(event: Any, reason: Reason) -> None:
    parsed = parse(body_of(engagement("before"), event, engagement("after")))
    assert [each.event_id for each in parsed.engagements] == ["before", "after"]
    (part,) = parsed.malformed
    assert part.reason == reason
    assert json.loads(part.body) == event


NOT_JSON: list[tuple[bytes, Reason]] = [
    (b"", Reason.NOT_JSON),
    (b"<html>", Reason.NOT_JSON),
    (b"\xff\xfe\x00", Reason.NOT_JSON),
    ("[]".encode("utf-16"), Reason.NOT_JSON),
    (b"\xef\xbb\xbf[]", Reason.NOT_JSON),
    (b"[" * 100_000, Reason.TOO_DEEP),
    (b'{"a":' * 100_000, Reason.TOO_DEEP),
    (b"[1," * 100_000, Reason.TOO_DEEP),
    (body_of(engagement())[:-20], Reason.NOT_JSON),
]


@pytest.mark.parametrize(("body", "reason"), NOT_JSON)
def test_a_body_that_is_not_json_is_quarantined_whole(body: bytes, reason: Reason) -> None:
    parsed = parse(body)
    assert not parsed.engagements
    assert [(part.reason, part.body) for part in parsed.malformed] == [(reason, body)]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (b"NaN", Reason.NOT_JSON),
        (b'{"x": Infinity}', Reason.NOT_JSON),
        (b'{"x": 1e}', Reason.NOT_JSON),
        (b'{"data": 1e400}', Reason.EVENT_TYPE_INVALID),
        (b'{"eventType": ' + b"9" * 5000 + b"}", Reason.EVENT_TYPE_INVALID),
        (b'{"x": "\\ud800"}', Reason.NOT_JSON),
        (b'{"x": "\\udc00"}', Reason.NOT_JSON),
        (b'{"x": "\xff"}', Reason.NOT_JSON),
        (b'{"x":' * 50_000 + b"1" + b"}" * 50_000, Reason.TOO_DEEP),
    ],
)
def test_a_part_no_parser_accepts_does_not_hold_back_the_rest_of_its_body(part: bytes, reason: Reason) -> None:
    good = [json.dumps(engagement(event_id)).encode() for event_id in ("before", "after")]
    parsed = parse(b"[" + good[0] + b", " + part + b" ," + good[1] + b"]")
    assert [each.event_id for each in parsed.engagements] == ["before", "after"]
    assert [(each.reason, each.body) for each in parsed.malformed] == [(reason, part)]


def test_of_duplicate_keys_the_last_wins() -> None:
    body = body_of(engagement("first")).replace(b'"id": "first"', b'"id": "first", "id": "last"')
    assert [each.event_id for each in parse(body).engagements] == ["last"]


def test_the_same_bytes_have_the_same_key_in_the_quarantine() -> None:
    keys = {parse(b"nonsense").malformed[0].content_key for _ in range(3)}
    assert len(keys) == 1
    assert parse(b"other nonsense").malformed[0].content_key not in keys


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_and_are_never_lost(body: bytes) -> None:
    parsed = parse(body)
    held = len(parsed.malformed) + len(parsed.engagements) + len(parsed.deliveries) + parsed.ignored
    assert held or body.strip() == b"[]" or json.loads(body) == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=12), children, max_size=4),
    max_leaves=8,
)


@given(st.data())
def test_hostile_values_in_a_real_event_never_raise_and_never_harm_its_neighbours(data: st.DataObject) -> None:
    event = data.draw(st.sampled_from([engagement, delivery]))("victim")
    target = data.draw(st.sampled_from([event, event["data"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(_JSON)
    parsed = parse(body_of(engagement("before"), event, delivery("after")))
    others = [each[1] for each in [*parsed.engagements, *parsed.deliveries]]
    assert "before" in others
    assert "after" in others
    assert len(others) + len(parsed.malformed) + parsed.ignored == 3


@given(st.lists(_JSON, min_size=1, max_size=5))
def test_splitting_an_array_finds_the_elements_a_parser_finds(elements: list[Any]) -> None:
    assert [json.loads(part) for part in split_parts(json.dumps(elements).encode())] == elements
