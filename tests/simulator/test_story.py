"""The demo's story, the figures of its campaigns, and what the replaced system would have made of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from simulator.acs import Event
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
