"""An erasure that is interrupted is run again; and whatever comes while it works does not slip through."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text

from db.erasing import asking
from tasks.privacy import erasing
from tasks.privacy.leaving_out import leave_out_erased
from tests.privacy.site import Site, ids_of
from tests.privacy.test_erasure import ADA, BOB, attribution, erase
from tests.tasks.payloads import body_of, engagement
from tests.tasks.streams import push_events

RUNS = "SELECT state, parameters, summary ->> 'left' AS left FROM attribution_runs WHERE kind = 'erase' ORDER BY id"
STEPS = ["remember_erased", "_rewrite", "strike_texts", "shorten_webhooks", "remove", "remove_people", "_count_anew"]


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("times", [0, 2])
def test_interrupted_anywhere_it_finds_the_rest_when_it_is_run_again(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str, times: int
) -> None:
    site.live(ADA, BOB)
    theirs = {table for table, _ in site.traces(BOB)}
    done = getattr(erasing, step)
    calls = iter(range(times))

    def dying(*args: Any, **named: Any) -> Any:
        if next(calls, None) is None:
            raise Killed
        return done(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(erasing, step, dying)
        with suppress(Killed):
            attribution("erase", "--yes", "--subscriber", str(ADA))
    attribution("erase", "--yes", "--subscriber", str(ADA), "--recipient", f"reader{ADA}@example.net")
    assert site.traces(ADA) == []
    assert {table for table, _ in site.traces(BOB)} == theirs
    ((state, parameters, left),) = site.run(RUNS)  # one run, gone on with
    assert (state, parameters, left) == ("finished", {}, None)


def while_it_works(monkeypatch: pytest.MonkeyPatch, step: str, meanwhile: Callable[[], None]) -> None:
    """Have something happen once, just before a step of the erasure."""
    done = getattr(erasing, step)
    once = iter([meanwhile])

    def stepping(*args: Any, **named: Any) -> Any:
        next(once, lambda: None)()
        return done(*args, **named)

    monkeypatch.setattr(erasing, step, stepping)


@pytest.mark.parametrize("step", ["remember_erased", "_rewrite", "remove", "_wait_for_older"])
def test_what_is_drained_meanwhile_is_erased_as_well(site: Site, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    site.live(ADA, BOB)

    def open_late() -> None:
        push_events(site.client, body_of(engagement("late", **ids_of(ADA, 1), engagementType="view")))
        site.drain()

    while_it_works(monkeypatch, step, open_late)
    erase("--subscriber", str(ADA))
    assert site.traces(ADA) == []
    assert site.run("SELECT count(*) FROM azure_engagement_events WHERE event_id = 'late'") == [(0,)]


def test_a_transaction_that_is_open_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.live(ADA, BOB)
    with site.ctx.engine.connect() as older:
        older.execute(text("CREATE TEMPORARY TABLE writes_something (x int)"))
        monkeypatch.setattr(erasing, "PATIENCE", timedelta(seconds=0.3))
        done = attribution("erase", "--yes", "--subscriber", str(ADA))
        assert done.exit_code == 1
        assert "older than the erasure is still open" in " ".join(str(done.output).split())
        older.rollback()
    erase("--subscriber", str(ADA), "--recipient", f"reader{ADA}@example.net")
    assert site.traces(ADA) == []


def test_a_drain_that_has_asked_what_was_erased_and_not_written_yet_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no number yet, for it has written nothing; and it has been told that nobody was erased."""
    site.live(ADA, BOB)
    asked, go_on = Event(), Event()

    def ask_and_wait(*args: Any) -> None:
        leave_out_erased(*args)
        if not asked.is_set():
            asked.set()
            assert go_on.wait(20)

    monkeypatch.setattr("tasks.events.leave_out_erased", ask_and_wait)
    push_events(site.client, body_of(engagement("late", **ids_of(ADA, 1), engagementType="view")))
    drain = Thread(target=site.drain)
    drain.start()
    assert asked.wait(20)

    def let_go_when_found(conn: Connection) -> set[str]:
        if found := asking(conn):
            go_on.set()
        return found

    monkeypatch.setattr(erasing, "asking", let_go_when_found)
    while_it_works(monkeypatch, "_count_anew", go_on.set)
    erase("--subscriber", str(ADA), "--recipient", f"reader{ADA}@example.net")
    drain.join()
    assert site.traces(ADA) == []


def test_who_goes_on_acting_is_told_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.live(ADA, BOB)
    monkeypatch.setattr(erasing, "ROUNDS", 1)
    done = attribution("erase", "--yes", "--subscriber", str(ADA))
    assert done.exit_code == 1
    assert "Something of him was there again" in done.output


def test_it_takes_turns_with_repairs(site: Site) -> None:
    from db.journal import taking_turns

    with taking_turns(site.ctx.engine):
        done = attribution("erase", "--yes", "--subscriber", str(ADA))
    assert done.exit_code == 1
