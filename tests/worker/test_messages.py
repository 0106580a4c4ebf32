"""Send-trackings as mailers write them, and as they should not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.message_id import normalise_message_id, would_be_replaced
from worker.messages import Problem, Tracking, parse_trackings, split_trackings, warn_of

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
GOOD: dict[str, Any] = {"internet_message_id": "<c42.6f1d@mail.example.com>", "campaign_id": 7}
TRACKING = Tracking(campaign_id=7, internet_message_id="<c42.6f1d@mail.example.com>")
AZURE_ID = "5b1e3c44-0000-4000-8000-0000000000aa"


def parse(body: bytes) -> list[Tracking | Problem]:
    return parse_trackings(body)


def parse_one(**fields: Any) -> Tracking | Problem:
    (item,) = parse(json.dumps(fields).encode())
    return item


def test_every_field() -> None:
    assert parse_one(
        internet_message_id="<c42.6f1d@mail.example.com>",
        campaign_id=7,
        subscriber_id=12,
        azure_message_id=AZURE_ID.upper(),
        smtp_server_uuid=AZURE_ID,
        sent_at="2026-01-10T10:26:32Z",
        recipient_domain="Example.NET",
        newer_than_we_are={"deep": [1]},
    ) == Tracking(
        campaign_id=7,
        internet_message_id="<c42.6f1d@mail.example.com>",
        azure_message_id=UUID(AZURE_ID),
        subscriber_id=12,
        smtp_server_uuid=UUID(AZURE_ID),
        sent_at=datetime(2026, 1, 10, 10, 26, 32, tzinfo=UTC),
        recipient_domain="example.net",
    )


def test_azures_id_alone_is_enough() -> None:
    assert parse_one(azure_message_id=AZURE_ID, campaign_id=7) == Tracking(
        campaign_id=7, azure_message_id=UUID(AZURE_ID)
    )


def test_null_is_absent() -> None:
    assert parse_one(**GOOD, subscriber_id=None, azure_message_id=None, sent_at=None) == TRACKING


def test_message_id_is_normalised() -> None:
    assert parse_one(internet_message_id="  c42.6f1d@MAIL.Example.com ", campaign_id=7) == TRACKING


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-10T10:26:32Z",
        "2026-01-10t10:26:32.1234567z",
        "2026-01-10 11:26:32+01:00",
        "2026-01-10T05:26:32-0500",
        "2000-01-01T00:00:00Z",
        "2099-12-31T23:59:59Z",
    ],
)
def test_instants(text: str) -> None:
    tracking = parse_one(**GOOD, sent_at=text)
    assert isinstance(tracking, Tracking)
    assert tracking.sent_at is not None
    assert tracking.sent_at.utcoffset() is not None


def test_zone_of_an_instant_is_heeded() -> None:
    tracking = parse_one(**GOOD, sent_at="2026-01-10T11:26:32+01:00")
    assert isinstance(tracking, Tracking)
    assert tracking.sent_at == datetime(2026, 1, 10, 10, 26, 32, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"campaign_id": 0}, "campaign_id"),
        ({"campaign_id": -1}, "campaign_id"),
        ({"campaign_id": 2**31}, "campaign_id"),
        ({"campaign_id": 10**40}, "campaign_id"),
        ({"campaign_id": "7"}, "campaign_id"),
        ({"campaign_id": 7.5}, "campaign_id"),
        ({"campaign_id": True}, "campaign_id"),
        ({"campaign_id": None}, "campaign_id"),
        ({"subscriber_id": 0}, "subscriber_id"),
        ({"subscriber_id": [12]}, "subscriber_id"),
        ({"internet_message_id": ""}, "internet_message_id"),
        ({"internet_message_id": None}, "internet_message_id"),
        ({"internet_message_id": 42}, "internet_message_id"),
        ({"internet_message_id": "<a b@mail.example.com>"}, "internet_message_id"),
        ({"internet_message_id": "<a@mail.example.com>\r\nBcc: x"}, "internet_message_id"),
        ({"internet_message_id": "<a\x00@mail.example.com>"}, "internet_message_id"),
        ({"internet_message_id": "<ä@mail.example.com>"}, "internet_message_id"),
        ({"internet_message_id": "a" * 10_000}, "internet_message_id"),
        ({"azure_message_id": "not-a-uuid"}, "azure_message_id"),
        ({"azure_message_id": ""}, "azure_message_id"),
        ({"smtp_server_uuid": 5}, "smtp_server_uuid"),
        ({"recipient_domain": ""}, "recipient_domain"),
        ({"recipient_domain": 5}, "recipient_domain"),
        ({"recipient_domain": "two words.example"}, "recipient_domain"),
        ({"recipient_domain": "a\x00.example"}, "recipient_domain"),
        ({"recipient_domain": "x" * 254}, "recipient_domain"),
        ({"sent_at": "2025-03-04T05:06:07"}, "sent_at"),
        ({"sent_at": "2025-03-04"}, "sent_at"),
        ({"sent_at": "yesterday"}, "sent_at"),
        ({"sent_at": "infinity"}, "sent_at"),
        ({"sent_at": 1768040792}, "sent_at"),
        ({"sent_at": "1999-12-31T23:59:59Z"}, "sent_at"),
        ({"sent_at": "2100-01-01T00:00:00Z"}, "sent_at"),
        ({"sent_at": "99999-01-01T00:00:00Z"}, "sent_at"),
        ({"sent_at": "2026-02-30T00:00:00Z"}, "sent_at"),
        ({"sent_at": "2026-01-10T10:26:32+99:00"}, "sent_at"),
        ({"sent_at": "0001-01-01T00:00:00+23:59"}, "sent_at"),
        ({"sent_at": "9999-12-31T23:59:59-23:59"}, "sent_at"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_item_is_refused_by_its_field(fields: dict[str, Any], field: str) -> None:
    problem = parse_one(**(GOOD | fields))

    assert isinstance(problem, Problem)
    assert (problem.index, problem.field) == (0, field)
    assert json.loads(problem.body) == GOOD | fields, "its bytes are kept"
    for value in fields.values():
        if isinstance(value, str) and value:
            assert value not in problem.sentence, "a sentence is logged, and never repeats content"


@pytest.mark.parametrize("given", ["example.net", " EXAMPLE.net. ", "ada@example.net", "<ada>@Example.Net"])
def test_of_an_address_the_domain_alone_is_kept(given: str) -> None:
    tracking = parse_one(**GOOD, recipient_domain=given)
    assert isinstance(tracking, Tracking)
    assert tracking.recipient_domain == "example.net"


#: What Microsoft's page on reserved headers calls valid, and what RFC 2822 allows besides.
@pytest.mark.parametrize(
    "kept",
    [
        "<guid@domain.com>".replace("domain", "mail.example"),
        "<202501131823.34067409c4494c2c8b2de03ceb26f173-NVZOA======@mail.example.com>",
        "<c42.6f1d@localhost>",
        "<!#$%&'*+-/=?^_`{|}~@example.com>",
        '<"quoted..local"@example.com>',
        "<id@[192.0.2.1]>",
    ],
)
def test_an_id_that_acs_keeps_earns_no_warning(kept: str) -> None:
    assert would_be_replaced(normalise_message_id(kept)) is None


@pytest.mark.parametrize(
    ("replaced", "because"),
    [
        ("<5b1e3c44-0000-4000-8000-0000000000aa>", "has no @"),
        ("<5b1e3c44.mail.example.com>", "has no @"),
        ("<@mail.example.com>", "has nothing before the @"),
        ("<c42@>", "has nothing after the @"),
        ("<@>", "has nothing before the @"),
        ("<.c42@mail.example.com>", "has a dot where none may stand"),
        ("<c42@mail..example.com>", "has a dot where none may stand"),
        ("<c42@mail.example.com.>", "has a dot where none may stand"),
        ("<c42,1@mail.example.com>", "holds a character that may not stand in one"),
        ("<a@b@mail.example.com>", "holds a character that may not stand in one"),
        ("<c(42)@mail.example.com>", "holds a character that may not stand in one"),
    ],
)
def test_an_id_that_acs_replaces_is_told_with_the_reason(replaced: str, because: str) -> None:
    sentence = would_be_replaced(normalise_message_id(replaced))
    assert sentence is not None
    assert f"because it {because};" in sentence
    assert replaced not in sentence


def test_warnings_name_the_position_and_the_field() -> None:
    good, bad = Tracking(campaign_id=7, internet_message_id="<a@b.example.com>"), Tracking(7, "<guid>")
    azure_only = Tracking(campaign_id=7, azure_message_id=UUID(AZURE_ID))
    assert [(each.index, each.field) for each in warn_of([good, bad, azure_only, bad])] == [
        (1, "internet_message_id"),
        (3, "internet_message_id"),
    ]


@given(st.text())
def test_whatever_passes_for_a_message_id_can_be_judged(given_text: str) -> None:
    try:
        message_id = normalise_message_id(given_text)
    except ValueError:
        return
    sentence = would_be_replaced(message_id)
    assert sentence is None or sentence.startswith("ACS will replace this Message-ID")


def test_campaign_is_required() -> None:
    problem = parse_one(internet_message_id="<a@mail.example.com>")
    assert isinstance(problem, Problem)
    assert (problem.field, problem.sentence[:14]) == ("campaign_id", "it is required")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"3",
        b'"text"',
        b"{",
        b"[",
        b"[{]",
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"campaign_id": 7}',
        b'{"campaign_id": 7, "internet_message_id": "\xff"}',
        b'{"campaign_id": 7, "internet_message_id": "\\ud800"}',
        b'{"campaign_id": NaN}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_body_that_is_no_tracking_is_one_problem_and_kept_whole(body: bytes) -> None:
    (problem,) = parse(body)
    assert isinstance(problem, Problem)
    assert problem.body == body


def test_pretty_printed_object_is_one() -> None:
    assert parse(json.dumps(GOOD, indent=2).encode()) == [TRACKING]


def test_pretty_printed_object_that_is_broken_is_one_problem() -> None:
    body = json.dumps(GOOD, indent=2).encode().replace(b"7", b"7,,")
    (problem,) = parse(body)
    assert isinstance(problem, Problem)
    assert problem.body == body


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\n\n"])
def test_bad_line_harms_no_neighbour(separator: str) -> None:
    good = json.dumps(GOOD)
    items = parse(separator.join([good, '{"campaign_id": 7', good, ""]).encode())

    assert [type(item) for item in items] == [Tracking, Problem, Tracking]
    problem = items[1]
    assert isinstance(problem, Problem)
    assert (problem.index, problem.body) == (1, b'{"campaign_id": 7')


def test_bad_element_harms_no_neighbour() -> None:
    items = parse(json.dumps([GOOD, {"campaign_id": 7}, None, GOOD]).encode())
    assert [type(item) for item in items] == [Tracking, Problem, Problem, Tracking]
    assert [item.index for item in items if isinstance(item, Problem)] == [1, 2]


def test_same_key_twice_is_the_last() -> None:
    (tracking,) = parse(b'{"campaign_id": 9, "internet_message_id": "<c42.6f1d@mail.example.com>", "campaign_id": 7}')
    assert tracking == TRACKING


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
hostile_items = st.fixed_dictionaries(
    {}, optional={name: json_values for name in ("campaign_id", "internet_message_id", "azure_message_id", "sent_at")}
)


@given(st.binary())
def test_arbitrary_bytes_never_raise(body: bytes) -> None:
    assert len(parse(body)) == len(split_trackings(body))


@given(st.lists(hostile_items | json_values, max_size=6))
def test_hostile_items_never_raise_and_harm_no_neighbour(hostile: list[Any]) -> None:
    items = parse(json.dumps([GOOD, *hostile, GOOD]).encode())
    if len(items) == 1:  # NaN and its like, which are no JSON, spoil the array that holds them
        assert isinstance(items[0], Problem)
        return
    assert len(items) == len(hostile) + 2
    assert items[0] == items[-1] == TRACKING


trackings = st.builds(
    Tracking,
    campaign_id=st.integers(1, 2**31 - 1),
    internet_message_id=st.from_regex(r"<[!-;=?-~]{1,40}@[a-z0-9.]{1,40}>", fullmatch=True).filter(
        lambda text: "@" not in text[text.rindex("@") + 1 :]
    ),
    azure_message_id=st.none() | st.uuids(),
    subscriber_id=st.none() | st.integers(1, 2**31 - 1),
    smtp_server_uuid=st.none() | st.uuids(),
    recipient_domain=st.none() | st.from_regex(r"[a-z0-9-]{1,20}\.example", fullmatch=True),
    sent_at=st.none()
    | st.datetimes(
        datetime(2001, 1, 1),  # noqa: DTZ001 Hypothesis adds the zone
        datetime(2026, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=30))]),
    ),
)


@given(st.lists(trackings))
def test_what_the_receiver_puts_on_the_stream_is_read_back_the_same(sent: list[Tracking]) -> None:
    assert parse(msgspec.json.encode(sent)) == sent
