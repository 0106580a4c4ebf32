"""A clicked link as a key of its own: it attributes alone, agrees with the message, or is an incident."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from sqlalchemy import Engine

from db.parking import release
from db.tracking import message_ids
from tests.db.listmonk.acts import LOST, OFFER, Listmonk, incidents, link_uuids, track
from tests.db.listmonk.counts import clicks, record
from tests.db.rows import azure_id, click, message, stored


def test_a_click_whose_message_nobody_tracked_is_attributed_by_its_link(engine: Engine, listmonk: Listmonk) -> None:
    recorded = record(engine, click("c", LOST, **link_uuids(listmonk, 9, 33)))
    assert recorded.attributed == {"link": 1}
    assert stored(engine) == {"c": ("attributed", 9, 33, "link")}
    assert clicks(listmonk) == [(9, 33, OFFER)]


def test_a_link_of_another_listmonk_names_nobody(engine: Engine) -> None:
    stranger = UUID(int=1).bytes
    record(engine, click("c", LOST, link_campaign=stranger, link_subscriber=stranger))
    assert stored(engine)["c"][0] == "parked"


def test_two_keys_that_agree_make_no_incident(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, click("c", **link_uuids(listmonk, 7, 12)))
    assert incidents(listmonk) == []
    row = listmonk.execute("SELECT link_campaign_id, link_subscriber_id FROM azure_engagement_events").fetchone()
    assert row == (7, 12)


@pytest.mark.parametrize(("campaign", "subscriber"), [(8, 12), (7, 13), (8, 13)])
def test_two_keys_that_disagree_are_an_incident_and_the_message_is_believed(
    engine: Engine, listmonk: Listmonk, campaign: int, subscriber: int
) -> None:
    track(engine)
    for _ in range(2):
        record(engine, click("c", **link_uuids(listmonk, campaign, subscriber)))
    assert stored(engine) == {"c": ("attributed", 7, 12, "internet_message_id")}
    assert clicks(listmonk) == [(7, 12, OFFER)]
    assert incidents(listmonk) == [
        (
            "keys_disagree",
            {
                "message": {"campaign_id": 7, "subscriber_id": 12},
                "link": {"campaign_id": campaign, "subscriber_id": subscriber},
            },
        )
    ]


def test_keys_that_turn_out_to_disagree_when_the_message_is_tracked_are_an_incident(
    engine: Engine, listmonk: Listmonk
) -> None:
    record(engine, click("c", LOST, **link_uuids(listmonk, 9, 33)))
    track(engine, message(LOST, campaign=7, subscriber=33))
    with engine.begin() as conn:
        release(conn, message_ids([message(LOST)]))
    assert stored(engine) == {"c": ("attributed", 9, 33, "link")}
    assert [kind for kind, _ in incidents(listmonk)] == ["keys_disagree"]
    assert clicks(listmonk) == [(9, 33, OFFER)]


def test_they_are_compared_as_well_if_the_message_is_known_by_azures_id(engine: Engine, listmonk: Listmonk) -> None:
    record(engine, click("c", None, azure_id(1), **link_uuids(listmonk, 9, 33)))
    late = message(None, campaign=7, subscriber=33, azure=azure_id(1))
    track(engine, late)
    with engine.begin() as conn:
        release(conn, message_ids([late]))
    assert [kind for kind, _ in incidents(listmonk)] == ["keys_disagree"]


def test_details_of_incidents_hold_numbers_only(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    record(engine, click("c", **link_uuids(listmonk, 8, 12)))
    assert "@" not in json.dumps(incidents(listmonk)[0][1])
