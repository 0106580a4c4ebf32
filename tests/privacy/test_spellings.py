"""However an address is spelled in a body or a text of somebody else's, an erasure leaves none of it."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from db.people import Person
from tasks.privacy.recipients import Recipients
from tasks.privacy.spellings import spelled_out
from tasks.privacy.witness import Witness
from tasks.runs import pipelines_of
from tests.privacy.site import Site, address_of, ids_of
from tests.privacy.test_erasure import ADA, BOB, attribution, erase
from tests.tasks.payloads import body_of, cloud_event, delivery, engagement
from tests.tasks.streams import push_events, push_messages

pytestmark = pytest.mark.parametrize("site", ["alone"], indirect=True)

ADDRESS = address_of(ADA)
QUOTED = '"reader x"@example.net'


def percent_encoded(address: str, times: int) -> str:
    for _ in range(times):
        address = quote(address, safe="")
    return address


def spellings_of(address: str) -> list[str]:
    """Return an address in each spelling that hides it from whoever looks for it as it is."""
    as_html = "".join(f"&#{ord(each)};" for each in address)
    return [
        *(address.replace("@", at) for at in ("&#64;", "&#x40;", "&#0064;", "&commat;")),
        *(as_html, quote(as_html, safe=""), as_html.replace("&", "&amp;")),
        *(percent_encoded(address, times) for times in (1, 5, 12)),
        *("".join(f"%{ord(each):02X}" for each in address), address.replace("@", "%40").replace(".", "%2E")),
    ]


@pytest.mark.parametrize("address", [ADDRESS, QUOTED], ids=["plain", "in quotes"])
def test_no_spelling_of_it_is_left_in_bodies_and_texts_of_others(site: Site, address: str) -> None:
    spellings = [address, *spellings_of(address)]
    push_messages(
        site.client, {"campaign_id": BOB, "subscriber_id": BOB, "internet_message_id": "<r13.1@mail.example.com>"}
    )
    for number, spelling in enumerate(spellings):
        named = {"recipient": address_of(BOB), **ids_of(BOB, 1)}
        said = delivery(f"said {number}", **named, deliveryStatusDetails={"statusMessage": f"no <{spelling}> here"})
        clicked = engagement(
            f"clicked {number}", **named, engagementContext=f"https://www.example.com/?e={spelling}&x=1"
        )
        broken = engagement(f"broken {number}", **named, engagementType=7, userAgent=f"for {spelling}")
        push_events(site.client, body_of(said, clicked), body_of(broken), f'{{"cut": "{spelling}'.encode())
        push_messages(site.client, {"campaign_id": "none", "note": spelling})
    inside = cloud_event(engagement("in base64", recipient=address, **ids_of(ADA, 9), userAgent=spellings[1]))
    encoded = base64.b64encode(json.dumps(inside.pop("data")).encode()).decode()
    push_events(site.client, json.dumps([inside | {"data_base64": encoded}]).encode())
    push_events(site.client, json.dumps([cloud_event(delivery("hers", **ids_of(BOB, 2))) | {"note": encoded}]).encode())
    site.drain()
    before = site.run("SELECT event_id, state, internet_message_id FROM azure_engagement_events ORDER BY id")
    assert len(named_in(site, address)) >= 4 * len(spellings)

    erase("--recipient", address)

    assert named_in(site, address) == []
    assert site.run("SELECT event_id, state, internet_message_id FROM azure_engagement_events ORDER BY id") == before
    for part in site.stored()["archive"]:
        if '"clicked' in part or '"said' in part:
            assert json.loads(part)["data"]["internetMessageId"] == "<r13.1@mail.example.com>"
    assert attribution("erase", "--recipient", address, "--dry-run").output.startswith("Nothing is stored")


def named_in(site: Site, address: str) -> list[str]:
    """Return every row and part that says who it is, once nothing in it is encoded any more."""
    hashed = site.ctx.recipients.hash_of(address) or "no hash"
    return [
        row
        for rows in site.stored().values()
        for row in rows
        for said in [spelled_out(row.encode()).decode().lower(), row.lower().replace("\\", "").replace('""', '"')]
        if address in said or hashed in said
    ]


def test_a_message_id_stays_though_it_spells_him_and_the_body_stays_json(site: Site) -> None:
    person = Person(addresses={ADDRESS}, recipients={ADDRESS})
    witness = Witness(person, pipelines_of(site.ctx.settings, None))
    ids = [f"<{each}>" for each in spellings_of(ADDRESS)]
    bodies: list[Any] = [{"data": {"internetMessageId": each, "userAgent": f'a "{each}" b'}} for each in ids]
    struck = [json.loads(witness.strike(json.dumps(body).encode())) for body in bodies]
    assert [body["data"]["internetMessageId"] for body in struck] == ids
    assert all("(erased)" in body["data"]["userAgent"] for body in struck)
    for body in struck:
        again = json.dumps(body).encode()
        assert witness.strike(again) == again


def test_another_address_stays_in_whatever_spelling(site: Site) -> None:
    witness = Witness(Person(addresses={ADDRESS, QUOTED}), pipelines_of(site.ctx.settings, None))
    for other in (f"x{ADDRESS}", f"{ADDRESS}work", '"another reader x"@example.net'):
        for spelling in (other, *spellings_of(other)):
            text = json.dumps({"userAgent": f"to {spelling}, and no other"}).encode()
            assert witness.strike(text) == text
    assert Recipients().hash_of(ADDRESS) is None
