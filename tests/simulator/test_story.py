"""The demo's story, the figures of its campaigns, and what the replaced system would have made of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from simulator.acs import Event
from simulator.pixel import Firing
from simulator.replaced_rule import misattributed
from simulator.scenario import Step, Track
from simulator.story import CANCELLED, RUNNING, UNTRACKED, tell
from simulator.truth import BOTH, Emitted, Sent, Truth

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
STORY = tell(NOW)


def ledger(steps: list[Step]) -> Truth:
    truth = Truth()
    for step in steps:
        match step.action:
            case Sent() as message:
                truth.write_down(message)
            case Event(truth=emitted):
                truth.write_down(emitted)
    return truth


def test_story_is_told_with_the_same_bytes_again() -> None:
    assert tell(NOW) == STORY
    assert tell(NOW, seed=43) != STORY


def test_story_lasts_some_fifteen_minutes() -> None:
    assert 600 < STORY.seconds < 1200


def test_mails_of_the_cancelled_campaign_are_opened_today() -> None:
    truth = ledger(STORY.steps)
    opens = [
        event
        for event in truth.events.values()
        if event.what == "view" and event.message and truth.messages[event.message].campaign_id == CANCELLED
    ]
    assert len(opens) > 100
    assert all(event.at is not None and event.at > NOW for event in opens)
    assert all(m.sent_at < NOW - timedelta(hours=23) for m in truth.messages.values() if m.campaign_id == CANCELLED)


def test_opens_of_the_running_campaign_overtake_its_tracking() -> None:
    tracked = {s.action.message.internet_message_id: s.at for s in STORY.steps if isinstance(s.action, Track)}
    early = [
        step.action.truth.what
        for step in STORY.steps
        if isinstance(step.action, Event) and step.at < tracked.get(step.action.truth.message or "", 0)
    ]
    assert Counter(early)["view"] > 50


def test_another_teams_mail_is_never_tracked() -> None:
    tracked = {step.action.message.campaign_id for step in STORY.steps if isinstance(step.action, Track)}
    assert tracked == {CANCELLED, RUNNING}
    assert any(isinstance(step.action, Sent) and step.action.campaign_id == UNTRACKED for step in STORY.steps)


def test_one_event_is_malformed() -> None:
    fates = Counter(step.action.truth.fate for step in STORY.steps if isinstance(step.action, Event))
    assert fates["malformed"] == 1


def test_listmonks_pixel_fires_beside_some_events_before_others_and_alone() -> None:
    published = {step.action.truth.event_id: step for step in STORY.steps if isinstance(step.action, Event)}
    firings = [(step.at, step.action) for step in STORY.steps if isinstance(step.action, Firing)]
    beside = [(at, act, published[act.event_id]) for at, act in firings if act.event_id]
    assert len(beside) > 150
    assert 5 < sum(act.event_id is None for _, act in firings) < 60
    assert sum(at < step.at for at, _, step in beside) > 20
    assert sum(at > step.at for at, _, step in beside) > 100
    for _, act, step in beside:
        assert isinstance(step.action, Event)
        event = step.action.truth
        assert (act.what, act.link) == (event.what, event.link)
        assert event.at is not None
        assert abs(act.at - event.at) <= timedelta(seconds=2)


def test_many_events_have_no_native_act_beside_them() -> None:
    native = {step.action.event_id for step in STORY.steps if isinstance(step.action, Firing)}
    views = [event for event in ledger(STORY.steps).events.values() if event.what == "view"]
    assert 0.3 < sum(event.event_id in native for event in views) / len(views) < 0.5


def test_clicks_are_on_tracked_links_on_personal_ones_and_on_the_way_out() -> None:
    clicks = [event for event in ledger(STORY.steps).events.values() if event.what == "click"]
    kinds = Counter((event.names_reader, event.link is not None) for event in clicks)
    assert kinds[True, True] > 30
    assert kinds[False, True] > 20
    assert kinds[False, False] > 3


def test_replaced_rule_credits_the_newest_campaign_sent_to_the_address() -> None:
    def sent(name: str, campaign_id: int, hours: int, *recipients: str) -> Sent:
        return Sent(f"<{name}@example.com>", name, campaign_id, None, recipients, NOW + timedelta(hours=hours))

    def opened(event_id: str, name: str, hours: int) -> Emitted:
        return Emitted(event_id, "followed", "view", f"<{name}@example.com>", BOTH, NOW + timedelta(hours=hours))

    truth = Truth.of(
        [
            sent("old", 41, 0, "ada@example.net"),
            sent("new", 42, 2, "ada@example.net"),
            sent("bobs", 41, 0, "bob@example.net"),
            sent("both", 41, 0, "ada@example.net", "bob@example.net"),
            opened("before the newer one was sent", "old", 1),
            opened("wrong", "old", 3),
            opened("right", "new", 3),
            opened("no newer one", "bobs", 3),
            opened("names no recipient", "both", 3),
        ]
    )
    assert misattributed(truth) == {(41, 42): 1}


def test_replaced_rule_would_have_robbed_the_cancelled_campaign() -> None:
    wrong = misattributed(ledger(STORY.steps))
    assert set(wrong) == {(CANCELLED, RUNNING)}
    assert wrong[CANCELLED, RUNNING] > 50
