"""An erasure that ends with something open says so, and the next one of the same person goes on with it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import text

from cli.erase import _WHY
from tasks.privacy import erasing
from tests.privacy.site import Site, address_of, ids_of
from tests.privacy.test_erasure import ADA, BOB, attribution
from tests.privacy.test_interrupted import RUNS, Killed
from tests.tasks.payloads import body_of, delivery, engagement
from tests.tasks.streams import push_events, push_messages

#: Runs are the same in either kind of database.
pytestmark = pytest.mark.parametrize("site", ["alone"], indirect=True)
ADDRESS = ("--recipient", address_of(ADA))
NUMBER = ("--subscriber", str(ADA))


def erase(*whom: str) -> Result:
    return attribution("erase", "--yes", *whom)


@pytest.fixture
def written_to(site: Site) -> Site:
    """Have two people be written to, and one of them act."""
    for reader in (ADA, BOB):
        tracking = {"campaign_id": reader, "subscriber_id": reader, **ids_of(reader, 1)}
        tracking["azure_message_id"] = tracking.pop("messageId")
        push_messages(site.client, tracking)
        push_events(site.client, body_of(delivery(f"to {reader}", **ids_of(reader, 1), recipient=address_of(reader))))
    site.drain()
    return site


def failing(error: BaseException) -> Any:
    def fail(*_arguments: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "left"),
    [(KeyboardInterrupt(), "stopped"), (ValueError(), "failed"), (erasing.StillComing(), "came_again")],
    ids=["stopped", "failed", "came again"],
)
def test_its_run_says_how_it_ended_and_the_next_goes_on_with_it(
    written_to: Site, monkeypatch: pytest.MonkeyPatch, error: BaseException, left: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_wait_for_older", failing(error))
        assert erase(*NUMBER, *ADDRESS).exit_code != 0
    (run,) = written_to.run(RUNS)
    assert (run.state, run.left) == ("finished", left)
    assert written_to.traces(ADA) == []  # nor can it be told from the run whom it was about
    assert str(ADA) not in json.dumps(run.parameters).replace('"', " ").split()

    again = erase(*ADDRESS)
    assert again.exit_code == 0
    assert f"an erasure of this person, ended before all was done: {_WHY[left]}." in again.output
    rows = sum(written_to.run("SELECT summary FROM attribution_runs WHERE kind = 'erase'")[0].summary.values())
    assert rows > 2
    assert f"Erased: {rows:,} rows, by run " in again.output
    assert written_to.run(RUNS) == [("finished", {}, None)]
    assert "ended before all" not in erase(*ADDRESS).output


def test_what_was_open_when_it_ended_is_waited_for_though_nothing_is_found_any_more(
    written_to: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "PATIENCE", timedelta(seconds=0.2))
    with written_to.ctx.engine.connect() as older:
        older.execute(text("CREATE TEMPORARY TABLE writes_something (x int)"))
        for _ in range(2):
            done = erase(*NUMBER, *ADDRESS)
            assert done.exit_code == 1
            assert "older than the erasure is still open" in " ".join(str(done.output).split())
            assert [(run.state, run.left) for run in written_to.run(RUNS)] == [("finished", "transaction_open")]
        older.execute(
            text("INSERT INTO azure_message_tracking (internet_message_id, campaign_id, subscriber_id, tracked_via)"
                 " VALUES ('<late@mail.example.com>', 7, :reader, 'celery')"), {"reader": ADA}
        )  # fmt: skip
        older.commit()
    assert erase(*NUMBER, *ADDRESS).exit_code == 0
    assert written_to.traces(ADA) == []
    assert written_to.run(RUNS) == [("finished", {}, None)]


def test_one_that_was_killed_is_ended_by_the_next_and_told_of_until_its_person_is_erased(
    written_to: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(erasing, "_wait_for_older", failing(Killed()))
        with pytest.raises(Killed):
            erase(*ADDRESS)
    assert [run.state for run in written_to.run(RUNS)] == ["running"]

    assert "not known to be of this person: run" in erase("--subscriber", str(BOB)).output
    assert [(run.state, run.left) for run in written_to.run(RUNS)] == [("finished", "killed"), ("finished", None)]

    assert erase(*ADDRESS).exit_code == 0
    assert [(run.state, run.parameters, run.left) for run in written_to.run(RUNS)] == [("finished", {}, None)] * 2


def test_what_waits_on_the_streams_is_left_and_a_run_after_it_is_drained_ends_whole(written_to: Site) -> None:
    push_events(written_to.client, body_of(engagement("late", **ids_of(ADA, 1))))
    assert erase(*NUMBER, *ADDRESS).exit_code == 1
    assert [run.left for run in written_to.run(RUNS)] == ["on_the_streams"]
    written_to.drain()
    assert erase(*NUMBER).exit_code == 0
    assert written_to.run(RUNS) == [("finished", {}, None)]
