"""The load run, at a size that shows that each of its phases does what it says, and that it would notice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from cli.load import PHASES as TOLD
from cli.main import main
from proof.load import phases, traffic
from proof.load.bounds import CEILINGS, ceiling_of, judge_memory
from proof.load.failures import LoadFailed
from proof.load.memory import MIB, MemoryWatch, Span, _span
from proof.load.oracle import judge
from proof.load.phases import PHASES, run_load
from proof.load.run import Phase
from proof.load.sizes import Sizes
from proof.load.traffic import LOTS, NEVER, PER_MESSAGE, Events, Trackings, Truth, flow, tracking
from stack.errors import StackUnusable
from tasks.batch import Body
from tasks.context import make_context
from tests.waiting import eventually
from worker.settings import WorkerSettings
from worker.streams import EVENTS, MESSAGES

_TINY = Sizes(
    limit_seconds=1.0,
    measuring_seconds=0.5,
    waiting=20,
    refused_seconds=0.3,
    backlog_limit=50,
    haste=0.01,
    burst_events=400,
    bursts=1,
    batch_events=5000,
    batches=1,
    parked=1000,
    per_message=500,
    patience_seconds=120,
    connections=8,
    drain_processes=1,
    glance_seconds=0.1,
)
#: Six programs are started, on a machine that may have other things to do.
patiently = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> list[Phase]:
    folder = tmp_path_factory.mktemp("load") / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traffic, "_BLOCK", 100)
        shown = list(run_load(folder, _TINY, list(PHASES), 7, lambda sentence: None))
    assert not folder.exists()
    return shown


def figures(ran: list[Phase], name: str) -> dict[str, str]:
    (phase,) = (phase for phase in ran if phase.name == name)
    return dict(phase.figures)


@patiently
def test_no_event_is_lost_twice_or_wrong_and_every_phase_is_told(ran: list[Phase]) -> None:
    assert [phase.wrong for phase in ran] == [[]] * len(ran)
    assert [phase.name for phase in ran] == [
        "limit",
        "overload",
        "bursts",
        "batches",
        *(f"1,000 parked, {each} a message, {door} door" for door in ("Celery", "stream") for each in ("1", "500")),
        "every event",
    ]


@patiently
def test_the_memory_of_every_process_is_told_of_every_phase(ran: list[Phase]) -> None:
    for phase in ran[:-1]:
        assert {name.rstrip(" 12") for name in phase.memory} == CEILINGS.keys()
        for span in phase.memory.values():
            assert MIB < span.start <= span.peak < 1024 * MIB
            assert MIB < span.end <= span.peak
    assert ran[-1].memory == {}


@patiently
def test_the_overload_goes_on_until_the_backlog_limit_answers_503_with_retry_after(ran: list[Phase]) -> None:
    told = figures(ran, "overload")
    assert int(told["answers 503"].replace(",", "")) > 0
    assert int(told["highest backlog"].split()[0].replace(",", "")) > _TINY.backlog_limit // 2
    taken, offered = (int(part.replace(",", "")) for part in told["events taken during the overload"].split(" of "))
    assert taken < offered


@patiently
def test_a_batch_holds_as_many_events_as_event_grid_ever_sends_and_more_bytes(ran: list[Phase]) -> None:
    told = figures(ran, "batches")
    assert float(told["largest request"].split()[0]) > 1


@patiently
@pytest.mark.parametrize("door", ["Celery", "stream"])
def test_parked_events_are_released_by_one_call_in_both_shapes(ran: list[Phase], door: str) -> None:
    for per_message, messages in (("1", "1,000"), ("500", "2")):
        told = figures(ran, f"1,000 parked, {per_message} a message, {door} door")
        assert told["parked"].startswith("1,000 events")
        assert told["one call"].startswith(f"{messages} messages")
        assert told["entries that took part of it"] == ("1" if door == "stream" else "0")


def test_the_phases_of_the_help_are_those_of_the_run() -> None:
    assert list(TOLD) == list(PHASES)


def test_a_run_in_which_something_is_wrong_ends_with_1_and_says_what(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lost(*_: Any) -> Iterator[Phase]:
        yield Phase("limit", [("events per second", "9")], {"beat": Span(MIB, 300 * MIB, MIB, 0.0)}, ["7 are lost."])
        raise LoadFailed("7 are lost.")

    monkeypatch.setattr(phases, "run_load", lost)
    done = CliRunner().invoke(main, ["load", "--only", "limit", "--state-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "7 are lost." in done.output
    assert "300.0" in done.output


@pytest.mark.parametrize("only", ["", "nothing", "limit,nothing"])
def test_phases_that_there_are_not_are_refused(only: str) -> None:
    assert CliRunner().invoke(main, ["load", "--only", only]).exit_code == 2


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(StackUnusable, match="something else"):
        list(run_load(tmp_path, _TINY, ["limit"], 7, lambda sentence: None))
    assert (tmp_path / "precious").exists()


# The oracle.


@pytest.fixture
def stored(database_url: str, redis_url: str) -> Iterator[tuple[Truth, psycopg.Connection[Any]]]:
    """A block of the flow and some parked events, worked by the pipelines as they are."""
    settings: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url}
    ctx = make_context(WorkerSettings(**settings))
    truth = Truth()
    requests = [request for block in islice(flow(truth, Random(3), (1, 20)), 1) for request in block]
    parked = truth.park(60, 20)
    requests += parked.requests(25)
    requests.append(Trackings(tuple(parked.messages())))
    for request in requests:
        pipeline = ctx.pipelines[EVENTS if isinstance(request, Events) else MESSAGES]
        pipeline.record(ctx.engine, pipeline.parse([Body(request.body(), None, datetime.now(UTC))]))
    ctx.engine.dispose()
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield truth, connection


Stored = tuple[Truth, psycopg.Connection[Any]]


def test_what_is_as_it_was_sent_is_found_right(stored: Stored) -> None:
    truth, connection = stored
    assert truth.redelivered > 0
    assert truth.malformed > 0
    assert judge(truth, connection) == []


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("DELETE FROM azure_delivery_events WHERE id = 1", "1 events of 500 are lost (delivery reports of the flow)."),
        (
            "ALTER TABLE azure_engagement_events DROP CONSTRAINT azure_engagement_events_event_key_key;"
            "INSERT INTO azure_engagement_events (event_id, event_timestamp, engagement_type, state, campaign_id,"
            " subscriber_id) SELECT event_id, event_timestamp, engagement_type, state, campaign_id, subscriber_id"
            " FROM azure_engagement_events WHERE state = 'attributed' ORDER BY id LIMIT 3",
            "3 events are there twice (engagement reports of the flow).",
        ),
        (
            "UPDATE azure_engagement_events SET subscriber_id = subscriber_id + 1 WHERE id ="
            " (SELECT max(id) FROM azure_engagement_events)",
            "1 events are not as they must be (engagement reports of parked million 1).",
        ),
        (
            "UPDATE azure_delivery_events SET state = 'parked', campaign_id = NULL WHERE id ="
            " (SELECT min(id) FROM azure_delivery_events WHERE state = 'attributed')",
            "1 events are not as they must be (delivery reports of the flow).",
        ),
        (
            "UPDATE azure_delivery_events SET state = 'attributed', campaign_id = 1 WHERE id ="
            " (SELECT min(id) FROM azure_delivery_events WHERE state = 'parked')",
            "1 events are not as they must be (delivery reports of the flow).",
        ),
        ("TRUNCATE attribution_quarantine", "0 malformed events are in quarantine, where "),
        ("DELETE FROM azure_message_tracking WHERE id = 1", "messages are tracked, where 478 should be."),
    ],
    ids=["lost", "twice", "another's", "parked for ever", "guessed", "malformed and gone", "not tracked"],
)
def test_the_oracle_notices(stored: Stored, harm: str, sentence: str) -> None:
    truth, connection = stored
    connection.execute(harm.encode())
    (found,) = judge(truth, connection)
    assert sentence in found


def test_the_flow_holds_every_event_once_but_for_what_comes_again() -> None:
    truth = Truth()
    block = next(flow(truth, Random(5), (1, 100)))
    numbers = [n for request in block if isinstance(request, Events) for n in range(request.first, request.last)]
    assert set(numbers) == set(range(truth.messages * PER_MESSAGE))
    spoilt = sum(request.spoilt for request in block if isinstance(request, Events))
    assert len(numbers) + spoilt == len(set(numbers)) + truth.redelivered + truth.malformed
    tracked = [each for request in block if isinstance(request, Trackings) for each in request.messages]
    assert sorted(tracked) == [message for message in range(truth.messages) if message % LOTS != NEVER]
    assert json.loads(Trackings((7,)).body()) == [tracking(7)]


# Memory.


def test_a_process_that_grows_steadily_is_seen_to_grow() -> None:
    grows = "import time\nheld = []\nwhile True:\n held.append(bytearray(b'x' * 2**20)); time.sleep(0.02)"
    with subprocess.Popen([sys.executable, "-c", grows]) as process:
        try:
            with MemoryWatch(lambda: {"beat": [process.pid]}, glance_seconds=0.05) as watch:
                eventually(lambda: _assert_grew(watch), within=30, every=0.2)
        finally:
            process.kill()


def _assert_grew(watch: MemoryWatch) -> None:
    span = watch.since(0.0)["beat"]
    assert span.leaks
    assert span.peak >= span.end > span.start


@pytest.mark.parametrize(
    ("sizes", "leaks"),
    [
        ([100] * 100, False),
        ([*range(60, 90), *[100] * 70], False),  # what it takes once, in the beginning
        ([100 + (n % 7) * 3 for n in range(100)], False),  # up and down
        ([100 + n * 0.1 for n in range(100)], False),  # within the tolerance
        ([100 + n * 0.5 for n in range(100)], True),
    ],
    ids=["level", "warm-up", "up and down", "a little", "a leak"],
)
def test_growth_is_the_slope_behind_the_warm_up(sizes: list[float], leaks: bool) -> None:
    span = _span([(float(at), int(size * MIB)) for at, size in enumerate(sizes)])
    assert span.leaks is leaks


def test_a_process_over_its_bound_and_one_that_grows_under_a_steady_load_are_wrong() -> None:
    held = {
        "drain process 1": Span(MIB, (ceiling_of("drain process 1") + 1) * MIB, MIB, 0.0),
        "receiver": Span(50 * MIB, 80 * MIB, 80 * MIB, 30.0 * MIB),
    }
    too_much, grew = judge_memory(Phase("limit", memory=held, steady=True))
    assert "drain process 1 held" in too_much
    assert "receiver grew by 30.0 MiB" in grew
    assert judge_memory(Phase("overload", memory=held)) == [too_much]
