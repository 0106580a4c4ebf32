"""What the machines have found, as plain tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from db.engine import create_engine
from tasks.batch import Body, work
from tasks.runs import pipelines_of
from tests.db.rows import stored
from tests.model.mortal import Killed, Mortal
from tests.model.sayings import Event, Tracking, bytes_of
from tests.model.truth import Owner
from tests.tasks.payloads import RECEIVED_AT
from worker.settings import WorkerSettings

OWNER = Owner(7, 12)
BY_INTERNET_ID, BY_AZURE_ID, BY_BOTH = frozenset({"i0"}), frozenset({"a0"}), frozenset({"i0", "a0"})
#: Numbers of events of these kinds.
REPORT, VIEW = 0, 1


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(database_url, for_batches=True)
    yield engine
    engine.dispose()


def drain(engine: Engine, *sayings: Event | Tracking) -> None:
    settings = WorkerSettings(database_url="postgresql://user@127.0.0.1/none")
    kind = "message" if isinstance(sayings[0], Tracking) else "event"
    work(pipelines_of(settings, None)[kind], engine, [Body(bytes_of(sayings), None, RECEIVED_AT)])


def test_a_report_that_comes_again_with_other_ids_teaches_nothing(engine: Engine) -> None:
    drain(engine, Tracking(BY_INTERNET_ID, OWNER))
    drain(engine, Event(REPORT, frozenset({"a1"})))
    drain(engine, Event(REPORT, BY_BOTH), Event(VIEW, BY_AZURE_ID))
    assert stored(engine) == {"view 1": ("parked", None, None, None)}
    drain(engine, Event(REPORT + 2, BY_BOTH))  # one that was not known: it does
    assert stored(engine) == {"view 1": ("attributed", *OWNER, "delivery_report")}


@pytest.mark.parametrize("lives", range(5))
def test_what_a_report_teaches_is_looked_for_though_the_one_who_released_it_was_killed(
    engine: Engine, lives: int
) -> None:
    drain(engine, Event(VIEW, BY_AZURE_ID), Event(REPORT, BY_BOTH))
    try:
        drain(Mortal(engine, lives).engine, Tracking(BY_INTERNET_ID, OWNER))
    except Killed:
        drain(engine, Tracking(BY_INTERNET_ID, OWNER))
    assert stored(engine) == {"view 1": ("attributed", *OWNER, "delivery_report")}
