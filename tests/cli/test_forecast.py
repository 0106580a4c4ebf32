"""`attribution parked --forecast`, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from cli.forecast import sentences, words
from cli.main import main
from db.engine import create_engine
from db.forecast import Waits
from db.survival import span_of
from tests.db.rows import click, record

DEADLINE = 7 * 86_400
TABLE = "azure_engagement_events"


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "240")
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


def said(waits: Waits) -> str:
    return "\n".join(sentences("Engagement reports", waits, waits.forecast(timedelta(seconds=DEADLINE))))


def past(engine: Engine, matched: int, waited_seconds: float) -> None:
    """Have events that were parked ten days ago, and matched after so many seconds."""
    with engine.begin() as conn:
        record(conn, *(click(f"past{number}", f"<past{number}@example.com>") for number in range(matched)))
        conn.execute(
            text(
                f"UPDATE {TABLE} SET state = 'attributed', campaign_id = 7, matched_by = 'internet_message_id',"
                " created_at = now() - interval '10 days', next_attempt_at = NULL,"
                " attributed_at = now() - interval '10 days' + make_interval(secs => :waited)"
            ),
            {"waited": waited_seconds},
        )


def park(engine: Engine, *event_ids: str, ago: str) -> None:
    with engine.begin() as conn:
        record(conn, *(click(event_id, f"<{event_id}@example.com>") for event_id in event_ids))
        conn.execute(
            text(f"UPDATE {TABLE} SET created_at = now() - CAST(:ago AS interval) WHERE event_id = ANY(:ids)"),
            {"ago": ago, "ids": list(event_ids)},
        )


def forecast(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["parked", "--forecast", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_young_will_be_matched_and_the_old_are_named_to_be_looked_at(engine: Engine) -> None:
    past(engine, matched=300, waited_seconds=300)
    park(engine, *(f"new{number}" for number in range(40)), ago="1 second")
    park(engine, "lost1", "lost2", ago="2 days")
    shown = forecast()
    assert "Engagement reports: 42 parked. In the last 28 days 342 were, of which 300 have been matched." in shown
    assert "40 will be matched within 6 min (" in shown
    assert "0 will not by the age of 3 d (" in shown  # nothing was followed for longer yet
    assert "What will become of 2 of them is not known: fewer than 30 events" in shown
    assert "Not worth waiting for: 2." in shown
    listed = shown.rpartition("event")[2]
    assert "lost1" in listed
    assert "lost2" in listed
    assert "new" not in listed
    assert "no message with this Message-ID is tracked" in listed
    assert "Delivery reports: 0 parked. In the last 28 days 0 were" in shown
    limited = forecast("--limit", "1")
    assert "Not worth waiting for: 2." in limited
    assert sum(each in limited for each in ("<lost1@", "<lost2@")) == 1


def test_with_a_small_past_it_says_so_and_gives_no_number(engine: Engine) -> None:
    past(engine, matched=12, waited_seconds=10)
    park(engine, "new", ago="1 second")
    shown = forecast()
    assert "Too few were parked before to tell what will become of these: a forecast needs 30 at least." in shown
    assert "will be matched" not in shown
    assert "Not worth" not in shown


def test_if_nothing_was_ever_matched_nothing_is_called_hopeless(engine: Engine) -> None:
    park(engine, *(f"waits{number}" for number in range(40)), ago="2 days")
    park(engine, *(f"new{number}" for number in range(3)), ago="1 second")
    shown = forecast()
    assert "Engagement reports: 43 parked. In the last 28 days 43 were, of which 0 have been matched." in shown
    assert "Nothing that was parked was ever matched, so there is nothing to compare these with." in shown
    for claim in ("Not worth", "never will", "not known", "waits1"):
        assert claim not in shown


def test_of_many_that_are_not_worth_waiting_for_few_are_listed_and_all_are_counted(engine: Engine) -> None:
    past(engine, matched=300, waited_seconds=300)
    park(engine, *(f"lost{number}" for number in range(14)), ago="2 days")
    shown = forecast()
    assert "Not worth waiting for: 14." in shown
    assert shown.count("<lost") == 10
    assert "10 of 14 shown, the oldest; --limit 14 shows all." in shown
    assert forecast("--limit", "14").count("<lost") == 14


def test_without_any_past_or_park_it_says_just_that(engine: Engine) -> None:
    assert forecast() == (
        "Delivery reports: 0 parked. In the last 28 days 0 were, of which 0 have been matched.\n"
        "Engagement reports: 0 parked. In the last 28 days 0 were, of which 0 have been matched.\n"
    )


def test_what_has_expired_is_not_forecast(engine: Engine) -> None:
    result = CliRunner().invoke(main, ["parked", "--forecast", "--expired"])
    assert result.exit_code == 2
    assert "give one" in result.output


def test_numbers_come_with_their_intervals() -> None:
    waits = Waits(
        matched=Counter({span_of(500): 980}),
        left=Counter({span_of(8 * 86_400): 20}),
        parked=Counter({0: 400}),
    )
    assert said(waits).splitlines()[1] == (
        "  392 will be matched within 9 min (98 %; 95 % sure: 382 to 400), 8 never will (0 to 18)."
    )


def test_a_young_installation_tells_how_far_its_past_goes() -> None:
    waits = Waits(matched=Counter({3: 900}), left=Counter({span_of(3600): 100}), parked=Counter({0: 10}))
    assert "1 will not by the age of 67 min (0 to 4); the past goes no further yet." in said(waits)


def test_a_mailer_that_stopped_tracking_is_noticed_and_the_forecast_called_too_good() -> None:
    waits = Waits(
        matched=Counter({3: 5000}),
        left_lately=Counter({span_of(1800): 400}),
        parked=Counter({span_of(1800): 400}),
    )
    shown = said(waits)
    assert "of those parked in the last 60 min 0 were matched, and the days before let expect 400." in shown
    assert "Has a mailer stopped tracking?" in shown


def test_what_others_brought_is_left_out_and_counted() -> None:
    assert "7 more were brought by a run or by another program" in said(Waits(others=7))


def test_times_in_words_are_rounded_up() -> None:
    assert [words(seconds) for seconds in (0.5, 119.2, 501, 7201, 172_801)] == ["1 s", "120 s", "9 min", "3 h", "3 d"]
