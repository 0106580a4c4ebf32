"""Every row of the hostile corpus, through the real receiver and the real worker: the table is the test.

Whatever is sent, the healthy events beside it and behind it are attributed, nothing that was confirmed is missing, no
process ends or grows, and no log says anything that it should not.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.programs import Program
from tests.hostile.bad_events import BAD_EVENTS
from tests.hostile.bad_requests import BAD_REQUESTS
from tests.hostile.bad_trackings import BAD_TRACKINGS
from tests.hostile.case import EVENT_SECRET, MESSAGE_SECRET, Added, Case, Found, Http, Raw, Task
from tests.hostile.corpus import CORPUS, LEAST
from tests.hostile.outcome import Outcome, key
from tests.pages import read, section, table_rows

every_row = pytest.mark.parametrize("case", CORPUS.values(), ids=str)

#: The first test waits for the whole corpus to be sent and drained.
pytestmark = pytest.mark.timeout(600)


def _everything() -> Found:
    """Return what all rows together leave behind, the healthy events in between included."""
    found = [case.found for case in CORPUS.values()]
    return Found(
        attributed=("the-first", *(f"{name}/next" for name in CORPUS), *(e for each in found for e in each.attributed)),
        parked=tuple(event for each in found for event in each.parked),
        ignored=sum(each.ignored for each in found),
        duplicates=sum(each.duplicates for each in found),
        contradictions=sum(each.contradictions for each in found),
        tracked=tuple(message for each in found for message in each.tracked),
    )


@every_row
def test_row_of_the_hostile_corpus(case: Case, outcome: Outcome) -> None:
    assert outcome.answers[case.name] == case.answers
    for state, event_ids in (("attributed", case.found.attributed), ("parked", case.found.parked)):
        for event_id, times in Counter(event_ids).items():
            assert outcome.events.get(event_id) == [state] * times, event_id
    for message in case.found.tracked:
        assert message in outcome.tracked
    wrong = {
        body: (reason.value, kept)
        for body, reason in case.found.quarantined.items()
        if (kept := outcome.quarantined.get(key(bytes(body), case.kind))) != reason.value
    }
    assert not wrong
    assert outcome.neighbours[case.name] == 200
    assert outcome.events.get(f"{case.name}/next") == ["attributed"]


def test_there_are_enough_rows_for_every_door_and_one_at_least_for_each_bad_input_that_must_be_answered() -> None:
    assert len(LEAST) == 20
    assert len(CORPUS) == len([*BAD_EVENTS, *BAD_TRACKINGS, *BAD_REQUESTS]) >= 300, "each has a name of its own"
    assert {name for bad in LEAST.values() for name in bad.rows} <= CORPUS.keys()
    assert {type(case.sent) for case in CORPUS.values()} == {Http, Raw, Added, Task}


def test_the_page_for_operators_tells_the_same() -> None:
    told = table_rows(section(read("docs/reliability.md"), "Every bad input"))[1:]
    assert told == [
        [str(number), name, bad.outcome, ", ".join(f"`{row}`" for row in bad.rows)]
        for number, (name, bad) in enumerate(LEAST.items(), start=1)
    ]


@pytest.mark.parametrize("secrets", ["", " , "], ids=["none", "blank"])
def test_a_receiver_whose_own_secret_is_missing_does_not_start_and_says_what_to_do(
    secrets: str, redis_url: str, tmp_path: Path
) -> None:
    """A proxy in front of it answers 502 or 503 then, and Event Grid tries again. With 401 the events would be gone."""
    environment = {"ATTRIBUTION_REDIS_URL": redis_url, "ATTRIBUTION_EVENT_SECRETS": secrets}
    receiver = Program("receiver", environment=environment, folder=tmp_path)
    try:
        assert receiver.process.wait(60) == 2
    finally:
        receiver.end()
    assert "set ATTRIBUTION_EVENT_SECRETS" in receiver.log
    assert "Traceback" not in receiver.log


def test_nothing_is_there_that_no_row_tells_of(outcome: Outcome) -> None:
    expected = _everything()
    states = Counter({(event, "parked"): 1 for event in expected.parked})
    states += Counter((event, "attributed") for event in expected.attributed)
    assert Counter((event, state) for event, kept in outcome.events.items() for state in kept) == states
    assert outcome.tracked.keys() - {None} == {*expected.tracked, "<healthy@mail.example.com>"}
    keys = {key(bytes(body), case.kind) for case in CORPUS.values() for body in case.found.quarantined}
    assert outcome.quarantined.keys() == keys


def test_what_was_confirmed_is_what_was_counted(outcome: Outcome) -> None:
    """Accepted = attributed + parked + ignored + duplicates + quarantined, by the drain's own words."""
    expected = _everything()
    quarantined = sum(len(case.found.quarantined) for case in CORPUS.values() if case.kind == "event")
    counted = {name.partition(" ")[2]: count for name, count in outcome.counted.items() if name.startswith("events ")}
    assert counted == {
        "attributed": len(expected.attributed),
        "parked": len(expected.parked),
        "ignored": expected.ignored,
        "duplicates": expected.duplicates,
        "contradictions": expected.contradictions,
        "quarantined": quarantined,
    }


def test_nothing_waits_any_more(outcome: Outcome) -> None:
    assert (outcome.backlog, outcome.queued) == ((0, 0), 0)


def test_every_process_is_the_one_that_it_was_and_ends_in_order(outcome: Outcome) -> None:
    for before, after in outcome.pids.values():
        assert after == before
    assert set(outcome.exits.values()) <= {0, -15}


def test_no_process_has_grown_without_bound(outcome: Outcome) -> None:
    """Bodies have 8 MiB. What was made of some of them, and waits for PostgreSQL, is a small multiple of that."""
    assert outcome.peaks.keys() == {"receiver", "drain 0"}
    assert all(peak < 400 for peak in outcome.peaks.values()), outcome.peaks


def test_nothing_raised_and_no_line_is_broken(outcome: Outcome) -> None:
    for log in outcome.logs.values():
        assert "Traceback" not in log
        assert "\x1b" not in log
        assert all(isinstance(json.loads(line), dict) for line in log.splitlines())


def test_no_log_repeats_what_was_sent(outcome: Outcome) -> None:
    sent = [EVENT_SECRET, MESSAGE_SECRET, "mail.example.com", "example.net", "DROP", "<script", "wrong-secret"]
    for log in outcome.logs.values():
        for text in sent:
            assert text not in log


def test_a_handshake_is_answered_and_nobody_is_called_because_of_it(outcome: Outcome) -> None:
    assert outcome.bodies["handshake-of-stranger"] == b"Not Found"
    assert json.loads(outcome.bodies["handshake-with-url"]) == {"validationResponse": "512d"}
    assert outcome.validation_calls == 0
