"""The traffic: the same from the same seed, and with everything in it that goes wrong in life."""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec
import pytest

from simulator.acs import Event
from simulator.pixel import Firing
from simulator.scenario import Track, Traffic, play_out
from simulator.truth import BOTH, Sent
from simulator.wire import Schema

STEPS = play_out(Traffic(messages=3000, seed=11))


SENT = {step.action.internet_message_id: (step.at, step.action) for step in STEPS if isinstance(step.action, Sent)}
TRACKED = {
    step.action.message.internet_message_id: (step.at, step.action) for step in STEPS if isinstance(step.action, Track)
}
EVENTS = [(step.at, step.action) for step in STEPS if isinstance(step.action, Event)]
FOLLOWED = [(at, event) for at, event in EVENTS if event.truth.fate == "followed"]


def test_same_seed_gives_the_same_bytes_at_the_same_times() -> None:
    assert play_out(Traffic(messages=300, seed=5)) == play_out(Traffic(messages=300, seed=5))


def test_another_seed_gives_other_traffic() -> None:
    one, other = (
        {
            step.action.truth.event_id
            for step in play_out(Traffic(messages=100, seed=seed))
            if isinstance(step.action, Event)
        }
        for seed in (1, 2)
    )
    assert not one & other


def test_schema_changes_the_envelopes_and_nothing_else() -> None:
    one, other = (
        [step for step in play_out(Traffic(messages=100, schema=schema)) if isinstance(step.action, Event)]
        for schema in Schema
    )
    assert [(step.at, step.action.truth) for step in one if isinstance(step.action, Event)] == [
        (step.at, step.action.truth) for step in other if isinstance(step.action, Event)
    ]
    assert all(isinstance(step.action, Event) and b'"specversion":"1.0"' in step.action.body for step in other)


def test_steps_come_in_the_order_of_time() -> None:
    assert [step.at for step in STEPS] == sorted(step.at for step in STEPS)


def test_event_ids_are_unique_and_are_the_ones_on_the_wire() -> None:
    assert len({event.truth.event_id for _, event in EVENTS}) == len(EVENTS)
    for _, event in FOLLOWED:
        assert msgspec.json.decode(event.body)["id"] == event.truth.event_id


def test_several_campaigns_go_out_side_by_side() -> None:
    in_order = [message.campaign_id for _, message in SENT.values()]
    assert set(Counter(in_order)) == {1, 2, 3}
    assert set(in_order[:30]) == {1, 2, 3}


def test_engagement_comes_within_seconds_and_delivery_reports_minutes_late() -> None:
    events_of = defaultdict(list)
    for at, event in FOLLOWED:
        events_of[event.truth.message].append((at, event.truth))
    overtakes = 0
    for events in events_of.values():
        for at, truth in events:
            if truth.what not in {"view", "click"}:
                assert truth.at is not None
                assert truth.message is not None
                assert at - SENT[truth.message][0] >= 120
        overtakes += events[0][1].what == "view" and len(events) > 1
    assert overtakes > 1000


def test_some_opens_arrive_before_their_message_is_tracked() -> None:
    assert sum(at < TRACKED[event.truth.message][0] for at, event in FOLLOWED if event.truth.message in TRACKED) > 50


def test_some_messages_are_never_tracked_but_opened_all_the_same() -> None:
    never = SENT.keys() - TRACKED.keys()
    assert 0.01 < len(never) / len(SENT) < 0.06
    assert any(event.truth.message in never and event.truth.what == "view" for _, event in FOLLOWED)


def test_messages_are_tracked_by_either_id_or_both() -> None:
    ids = Counter(track.ids for _, track in TRACKED.values())
    assert set(ids) == {("internet",), ("azure",), BOTH}
    assert ids["internet",] > ids[BOTH] > ids["azure",]


def test_mailers_spell_message_ids_in_their_own_ways() -> None:
    spellings = [(track.spelling, track.message.internet_message_id) for _, track in TRACKED.values()]
    assert any(f"<{spelling}>" == message_id for spelling, message_id in spellings)
    assert any(spelling != message_id and spelling.casefold() == message_id for spelling, message_id in spellings)


@pytest.mark.parametrize(
    "hazard",
    [
        b'"userActionTimeStamp"', b'"userActionTimestamp"', b'"deliveryAttemptTimeStamp"',
        b'"deliveryAttemptTimestamp"',
        rb"\u002B00:00", b"+00:00", b'"View"', b'"view"', b'"Click"', b'"delivered"', b'"Suppressed"', b'"Expanded"',
        b'"DeliveryStatusDetails":"', b'"deliveryStatusDetails":{', b'"recipient":""', b'"userAgent":""',
        b"/resourcegroups/", b"/resourceGroups/",
    ],
)  # fmt: skip
def test_every_spelling_seen_on_the_wire_turns_up(hazard: bytes) -> None:
    assert any(hazard in event.body for _, event in EVENTS)


def test_some_reports_lack_the_message_id() -> None:
    lacking = [event for _, event in FOLLOWED if event.truth.ids == ("azure",)]
    assert any(event.truth.what == "view" for event in lacking)
    assert any(event.truth.what == "suppressed" for event in lacking)
    assert not any(b"internetMessageId" in event.body for event in lacking)


def test_messages_to_several_people_bring_a_report_for_each() -> None:
    reports = Counter(event.truth.message for _, event in FOLLOWED if event.truth.what not in {"view", "click"})
    several = {message_id for message_id, (_, message) in SENT.items() if len(message.recipients) > 1}
    assert several
    assert all(reports[message_id] == len(message.recipients) for message_id, (_, message) in SENT.items())
    assert all(SENT[message_id][1].subscriber_id is None for message_id in several)


def test_opens_and_clicks_repeat() -> None:
    for what in ("view", "click"):
        counts = Counter(event.truth.message for _, event in FOLLOWED if event.truth.what == what)
        assert max(counts.values()) > 1


def test_malformed_and_foreign_events_are_among_the_good_ones() -> None:
    fates = Counter(event.truth.fate for _, event in EVENTS)
    assert fates["malformed"] > 3
    assert fates["ignored"] > 3
    assert fates["followed"] > 100 * (fates["malformed"] + fates["ignored"])


def test_outside_of_listmonk_nothing_of_it_happens() -> None:
    assert not any(isinstance(step.action, Firing) for step in STEPS)
    assert not any(event.truth.names_reader or event.truth.what == "forward" for _, event in EVENTS)
    assert all(event.truth.link for _, event in EVENTS if event.truth.what == "click")


def test_in_listmonk_native_acts_lie_close_to_their_events_and_far_from_others() -> None:
    steps = play_out(Traffic(messages=1500, seed=12, clicked=0.6, tracked_links=0.5, native=0.4, native_only=0.2))
    events = {step.action.truth.event_id: step.action.truth for step in steps if isinstance(step.action, Event)}
    sent = {step.action.internet_message_id: step.action for step in steps if isinstance(step.action, Sent)}
    acts = defaultdict(list)
    for event in events.values():
        if event.what in {"view", "click"} and event.message:
            acts[sent[event.message].campaign_id, sent[event.message].subscriber_id, event.what].append(event)
    firings = [step.action for step in steps if isinstance(step.action, Firing)]
    assert {firing.what for firing in firings} == {"view", "click"}
    counted = Counter(firing.event_id for firing in firings if firing.event_id)
    assert set(counted.values()) == {1}
    for firing in firings:
        near = acts[firing.campaign_id, firing.subscriber_id, firing.what]
        for event in near:
            assert event.at is not None
            distance = abs(event.at - firing.at).total_seconds()
            if event.event_id == firing.event_id:
                assert distance <= 2
            elif distance < 10 and event.link == firing.link:
                # Seconds from another's row, but with a row of its own: each of the two finds one.
                assert event.event_id in counted
