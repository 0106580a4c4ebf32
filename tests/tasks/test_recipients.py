"""Recipients in bodies: replaced wherever they are named, and nothing else touched."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.models import DeliveryEvent, EngagementEvent
from tasks.archiving import unpack
from tasks.batch import Body
from tasks.eventgrid import Parsed, parse_body
from tasks.events import EventPipeline
from tasks.privacy.recipients import _ADDRESS, HIDDEN, Recipients
from tests.tasks.payloads import RECEIVED_AT, body_of, cloud_event, delivery, engagement

KEY = "0123456789abcdef0123456789abcdef"
ADDRESS = "Ada.Lovelace+news@example.net"
RECIPIENTS = Recipients(key=KEY)
HASH = RECIPIENTS.hash_of(ADDRESS) or ""
PSEUDONYM = f"hashed-{HASH}@example.net"


def hidden(**data: Any) -> str:
    return RECIPIENTS.hide(body_of(engagement("e1", **({"recipient": ADDRESS} | data)))).decode()


def read(body: bytes) -> Parsed:
    parsed = Parsed()
    parse_body(body, parsed, entry_id=None, received_at=RECEIVED_AT, recipient=RECIPIENTS.kept)
    return parsed


def test_a_hash_is_keyed_and_blind_to_case() -> None:
    assert len(HASH) == 32
    assert RECIPIENTS.hash_of(f" <{ADDRESS.upper()}> ") == HASH
    assert Recipients(key=KEY[::-1]).hash_of(ADDRESS) != HASH
    assert RECIPIENTS.hash_of("ada.lovelace@example.net") != HASH


@pytest.mark.parametrize("key", ["recipient", "Recipient", "recipient_address", "recipients"])
def test_whoever_an_event_went_to_is_replaced(key: str) -> None:
    body = hidden(**{"recipient": ..., key: ADDRESS})
    assert PSEUDONYM in body
    assert "lovelace" not in body.lower()


@pytest.mark.parametrize(
    "spelling",
    [
        ADDRESS,
        ADDRESS.upper(),
        f"<{ADDRESS}>: user unknown",
        f"550 mailbox of {ADDRESS}.",
        f"https://www.example.com/?email={quote(ADDRESS, safe='')}&a=b",
        f"https://www.example.com/?email={quote(ADDRESS, safe='').lower()}",
        f"https://www.example.com/?to={quote(quote('mailto:' + ADDRESS, safe=''), safe='')}",
        f"https://www.example.com/u/{ADDRESS}/offer",
        f"https://www.example.com/?q=hello+{ADDRESS}",
        f"https://www.example.com/?to={quote(ADDRESS, safe='').replace('%', '%' + '25' * 9)}",
        *(f"mail to {ADDRESS.replace('@', at)} failed" for at in ("&#64;", "&#064;", "&#X40;", "&commat;")),
        f"'{ADDRESS}', \"{ADDRESS}\"\n{ADDRESS}\t({ADDRESS})",
    ],
)
@pytest.mark.parametrize("field", ["engagementContext", "userAgent", "somethingNew"])
def test_he_is_replaced_wherever_else_he_is_named(field: str, spelling: str) -> None:
    body = hidden(**{field: spelling})
    assert "lovelace" not in body.lower()
    assert HASH in json.loads(body)[0]["data"][field]


def test_characters_that_json_escapes_are_the_same_characters() -> None:
    plain = json.dumps([engagement("e1", recipient="zoë@example.net", userAgent="ZOË@example.net")], ensure_ascii=False)
    escaped = json.dumps([engagement("e1", recipient="zoë@example.net", userAgent="zo\u00eb@example.net")])
    everything = "".join(f"\\u{ord(each):04x}" for each in "recipient")
    other = json.dumps([engagement("e1", recipient="zoë@example.net")]).replace("recipient", everything)
    for body in (plain, escaped, other.replace("@", "\\u0040")):
        made = RECIPIENTS.hide(body.encode()).decode()
        assert f"{RECIPIENTS.hash_of('Zoë@example.net')}@example.net" in made
        assert "zo" not in json.loads(made)[0]["data"]["recipient"]
        assert json.loads(made)[0]["data"]["internetMessageId"] == "<c42@mail.example.com>"


@pytest.mark.parametrize(
    "message_id",
    [
        *(f"<{ADDRESS}>", f"<x={ADDRESS}>", f" < {ADDRESS}>", "<news@example.net>", f"<other.{ADDRESS}>"),
        *(f"<x:{ADDRESS}>", f"<x,{ADDRESS}>", f'<"x"{ADDRESS}>', f"<{'x:' * 100}{ADDRESS}>", f"<\t{ADDRESS}>"),
    ],
)
def test_a_message_id_stays_whatever_it_looks_like(message_id: str) -> None:
    body = hidden(internetMessageId=message_id, userAgent=ADDRESS)
    assert json.loads(body)[0]["data"]["internetMessageId"] == message_id
    assert json.loads(body)[0]["data"]["userAgent"] == PSEUDONYM
    loosely = RECIPIENTS.hide_loosely(body_of(delivery("e1", recipient=ADDRESS, internetMessageId=message_id))).decode()
    assert json.loads(loosely)[0]["data"]["internetMessageId"] == message_id


@pytest.mark.parametrize("before", ["\n", "\t", "\r\n", "\\", "\x01", "a/b\f", "\N{GRINNING FACE}", "/"])
@pytest.mark.parametrize("key", ["recipient", "userAgent"])
def test_what_json_escapes_before_an_address_stays_whole(key: str, before: str) -> None:
    """Else the body would be no JSON any more, and its neighbours would be quarantined with it."""
    named = engagement("e1", **{"recipient": "nada@example.net", "userAgent": "", key: f"{before}nada@example.net"})
    body = json.dumps([named, delivery("e2")]).replace("/", "\\/").encode()
    made = RECIPIENTS.hide(body)
    assert json.loads(made)[0]["data"][key].startswith(before.removesuffix("/"))
    assert b"nada@" not in made
    assert [event[1] for event in told(read(made))] == ["e1", "e2"]


def test_a_recipient_in_brackets_or_with_a_name_is_stored_as_the_same_hash() -> None:
    for recipient in (f"<{ADDRESS}>", f"Ada Lovelace <{ADDRESS}>", f"\t{ADDRESS}"):
        (event,) = read(RECIPIENTS.hide(body_of(delivery("e1", recipient=recipient)))).deliveries
        assert event.recipient == HASH
        assert event.recipient_domain == "example.net"


@pytest.mark.parametrize("name", ['"reader x"', '"a@b, c: {d}"', r'"\"x\" y"', '"X"'])
def test_a_recipient_whose_name_is_in_quotes_is_hidden_wherever_he_is_named(name: str) -> None:
    address = f"{name}@example.net"
    hashed = RECIPIENTS.hash_of(address) or ""
    body = RECIPIENTS.hide(body_of(delivery("e1", recipient=address, userAgent=f"to <{address}>")))
    assert [event.recipient for event in read(body).deliveries] == [hashed]
    assert hashed in json.loads(body)[0]["data"]["recipient"]
    assert name.replace("\\", "").encode() not in body.replace(b"\\", b"")
    assert RECIPIENTS.hide(body) == body
    named = delivery("e1", recipient=f"Reader <{address}>", internetMessageId=f"<{address}>")
    if "," not in name and "\\" not in name:
        assert hashed in RECIPIENTS.hide(body_of(named)).decode()
    assert json.loads(RECIPIENTS.hide(body_of(named)))[0]["data"]["internetMessageId"] == f"<{address}>"


def test_what_json_puts_between_quotes_before_an_at_is_no_name() -> None:
    texts = [{"a": "b", "c": "@example.net"}, ["b", "@example.net"], 'b" "@example.net']
    body = body_of(delivery("e1", recipient=json.dumps(texts), others=texts))
    assert json.loads(RECIPIENTS.hide(body)) == json.loads(body)
    named = body_of(delivery("e1", recipient='": "@example.net', userAgent="@example.net", subject='": "@example.net'))
    made = json.loads(RECIPIENTS.hide(named))[0]["data"]
    assert (made["userAgent"], made["subject"]) == ("@example.net", made["recipient"])


def test_what_an_event_holds_in_base64_is_looked_into() -> None:
    said = cloud_event(delivery("e1", recipient=ADDRESS, internetMessageId=f"<{ADDRESS}>"))
    data = base64.b64encode(json.dumps(said.pop("data")).encode()).decode()
    for body in (json.dumps([said | {"data_base64": data}, delivery("e2")]), json.dumps(said | {"data_base64": data})):
        made = json.loads(RECIPIENTS.hide(body.replace("/", "\\/").encode()))
        inside = json.loads(base64.b64decode((made[0] if isinstance(made, list) else made)["data_base64"]))
        assert inside["recipient"] == PSEUDONYM
        assert inside["internetMessageId"] == f"<{ADDRESS}>"
    odd = json.dumps([said | {"data_base64": "=not base64="}]).encode()
    assert RECIPIENTS.hide(odd) == odd


ODD = st.text(alphabet="an@.:<>\"'\\/\n\t\x01=,+% \u00eb\U0001f600", max_size=12)


@given(ODD, ODD, ODD, st.booleans(), st.booleans())
def test_whatever_a_body_holds_the_same_events_are_read_from_it_as_if_nobody_were_hidden(
    one: str, other: str, domain: str, escaped: bool, cloud: bool
) -> None:
    someone = f"{one}a@{domain}b.net"
    named = engagement(
        f"e{len(one)}", internet_message_id=f"<{other}{someone}>", recipient=someone, userAgent=f"{other}{someone}"
    )
    events = [cloud_event(named) if cloud else named, delivery("e2", recipient=f"{other}@b.net", userAgent=someone)]
    body = json.dumps(events, ensure_ascii=escaped)
    body = body.replace("/", "\\/") if escaped else body
    before = read(body.encode())
    for recipients in (RECIPIENTS, Recipients()):
        after = read(recipients.hide(body.encode()))
        assert [part.reason for part in after.malformed] == [part.reason for part in before.malformed]
        assert told(after) == told(before)


def told(parsed: Parsed) -> list[tuple[object, ...]]:
    """Return all that events are known and attributed by."""
    events: list[EngagementEvent | DeliveryEvent] = [*parsed.engagements, *parsed.deliveries]
    return [
        (each.event_key, each.event_id, each.internet_message_id, each.azure_message_id, each.event_timestamp)
        for each in events
    ]


def test_a_long_run_of_anything_is_read_once() -> None:
    """A pattern that is tried from each character of a run takes 255 times as long: twelve seconds for 8 MiB."""
    begun = [match.start() for match in _ADDRESS.finditer(b"a" * 600 + b"@b " + b"c@d")]
    assert begun == [603]


def test_another_address_stays_though_it_ends_or_begins_like_his() -> None:
    others = [
        "x.ada@example.net",
        "ada@example.network",
        "ada@example.net.example",
        "xada@example.net",
        "ada@example.com",
    ]
    body = RECIPIENTS.hide(body_of(engagement("e1", recipient="ada@example.net", others=others)))
    assert json.loads(body)[0]["data"]["others"] == others


def test_each_event_of_a_body_has_its_own() -> None:
    people = [f"reader{number}@example{number % 7}.net" for number in range(500)]
    body = RECIPIENTS.hide(body_of(*(delivery(f"e{n}", recipient=each) for n, each in enumerate(people))))
    kept = [event.recipient for event in read(body).deliveries]
    assert kept == [RECIPIENTS.hash_of(each) for each in people]
    assert b"reader" not in body


def test_a_pseudonym_is_its_own() -> None:
    for recipients in (RECIPIENTS, Recipients()):
        once = recipients.hide(body_of(engagement("e1", recipient=ADDRESS, userAgent=f"a {ADDRESS}")))
        assert recipients.hide(once) == once
        assert recipients.hide_loosely(once) == once


def test_both_envelopes_are_read_as_before() -> None:
    plain = Recipients(plain=True)
    for event in (delivery("e1", recipient=ADDRESS), cloud_event(engagement("e1", recipient=ADDRESS))):
        body = body_of(event)
        assert plain.hide(body) is body
        before, after = Parsed(), read(RECIPIENTS.hide(body))
        parse_body(body, before, entry_id=None, received_at=RECEIVED_AT, recipient=plain.kept)
        (was,) = before.deliveries or before.engagements
        (now,) = after.deliveries or after.engagements
        assert was.recipient == ADDRESS.casefold()
        assert now == was._replace(recipient=HASH)


def test_without_a_key_nobody_is_kept() -> None:
    recipients = Recipients()
    body = recipients.hide(body_of(delivery("e1", recipient=ADDRESS)))
    assert json.loads(body)[0]["data"]["recipient"] == f"{HIDDEN}@example.net"
    assert recipients.kept(f"{HIDDEN}@example.net") is recipients.kept(ADDRESS) is None
    assert RECIPIENTS.kept(f"{HIDDEN}@example.net") is None  # a key that came later makes no hash of nobody


@pytest.mark.parametrize(
    "body",
    [
        b'{"data": {"recipient": "ada@example.net", "internetMessageId": "<c42@mail.exa',
        b'{"data": {"recipient": "ada@example.net',
        b'{"to": ["bob@example.com", "Ada <ada@example.net>"], "internet_message_id": "<c42@mail.exa',
        b"{'to': 'ada@example.net', internetMessageId: '<c42@mail.exa",
        b"to=ada@example.net&id=<c42@mail.exa",
        b'{"unknown_task": "send", "keywords": {"email": "ada@example.net", "ids": "<c42@mail.exa"}}',
        b'"{\\"recipient\\": \\"ada@example.net\\", \\"internetMessageId\\": \\"<c42@mail.exa',
    ],
)
def test_in_bytes_that_cannot_be_read_values_of_such_keys_are_replaced(body: bytes) -> None:
    made = RECIPIENTS.hide_loosely(body)
    assert b"ada@" not in made
    assert (RECIPIENTS.hash_of("ada@example.net") or "").encode() in made
    assert (b"<c42@mail.exa" in made) == (b"<c42@mail.exa" in body)


def test_what_is_quarantined_and_archived_names_nobody() -> None:
    pipeline = EventPipeline(first_wait=RECEIVED_AT - RECEIVED_AT, jitter=0, recipients=RECIPIENTS, archived=True)
    broken = body_of(engagement("e1", recipient=ADDRESS, engagementType=7), {"to": ADDRESS})[:-1]
    rows = pipeline.parse(
        [Body(body_of(delivery("e2", recipient=ADDRESS)), None, RECEIVED_AT), Body(broken, None, RECEIVED_AT)]
    )
    assert len(rows.parsed.malformed) == 1
    assert b"ovelace" not in rows.parsed.malformed[0].body
    assert rows.packed is not None
    for body in unpack(rows.packed.content):
        assert b"ovelace" not in body.body
    assert rows.parsed.deliveries[0].recipient == HASH


def test_beside_an_event_that_is_not_read_the_sound_ones_are_archived_so_that_they_are_read_again() -> None:
    pipeline = EventPipeline(first_wait=RECEIVED_AT - RECEIVED_AT, jitter=0, recipients=RECIPIENTS, archived=True)
    nested = json.dumps(delivery("e1", recipient=ADDRESS)["data"])  # data as text, which no schema has
    body = body_of(delivery("e2", recipient=ADDRESS), delivery("e3") | {"data": nested})
    rows = pipeline.parse([Body(body, None, RECEIVED_AT)])
    assert rows.packed is not None
    (archived,) = unpack(rows.packed.content)
    assert b"ovelace" not in archived.body
    again = pipeline.parse([archived])
    assert again.parsed.deliveries == rows.parsed.deliveries
    assert [part.content_key for part in again.parsed.malformed] == [part.content_key for part in rows.parsed.malformed]


@given(st.binary(max_size=300) | st.text(alphabet='"recipient:@%40\\u0ae. ', max_size=200).map(str.encode))
def test_no_bytes_make_it_fail_or_come_out_otherwise_the_second_time(body: bytes) -> None:
    for hide in (RECIPIENTS.hide, RECIPIENTS.hide_loosely):
        once = hide(body)
        assert hide(once) == once
