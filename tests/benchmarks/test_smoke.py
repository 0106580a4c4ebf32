"""Every measurement at sizes that measure nothing, so that none of them can rot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.bench import Bench, Sizes
from benchmarks.drain import check_stored
from benchmarks.measurements import MEASUREMENTS
from benchmarks.report import write_figures
from benchmarks.seeds import seed_parked
from benchmarks.servers import Lost, Servers, bench_servers, connect
from stack.errors import StackUnusable

_TINY = Sizes(
    tracked=2_000,
    events=500,
    trackings=2_500,
    tasks=5,
    processes=(2,),
    per_request=(50,),
    untracked_every=(5,),
    load_seconds=0.2,
    latency_seconds=0.5,
    warm_up_seconds=0.1,
    parked_besides=100,
    released_messages=10,
    besides_parked=200,
    parked=(0, 100),
    stored=(4_000,),
    growth_events=500,
    growth_trackings=200,
)

#: The measurements that take as long as all others together.
_LONG = "gh"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("bench") / "state"
    with bench_servers(folder, postgres_settings={"shared_buffers": "32MB", "fsync": "off"}) as servers:
        yield servers
    assert not folder.exists()


@pytest.fixture(scope="module")
def bench(servers: Servers) -> Bench:
    return Bench(servers, _TINY, rounds=1, say=lambda sentence: None)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("letter", MEASUREMENTS)
def test_measurement_gives_figures_and_loses_nothing(bench: Bench, letter: str, tmp_path: Path, longer: bool) -> None:
    if letter in _LONG and not longer:
        pytest.skip("It starts dozens of processes: with --longer.")
    figures = MEASUREMENTS[letter](bench)

    assert any(figure.goal for figure in figures)
    for figure in figures:
        assert figure.name.startswith(f"({letter}) ")
        assert figure.value > 0
        assert figure.ratio is not None or figure.goal is None
    write_figures(figures, tmp_path / "bench.json", judged=True)
    rows = json.loads((tmp_path / "bench.json").read_text())
    assert all(list(row) == ["name", "value", "unit", "ratio", "goal", "met"] for row in rows)
    assert [row["met"] is None for row in rows] == [figure.goal is None for figure in figures]


def test_measurement_that_lost_an_event_is_void(bench: Bench) -> None:
    with bench.tracked_database() as url:
        with connect(url) as connection:
            seed_parked(connection, 9)
        check_stored(url, 9, 1)
        with pytest.raises(Lost, match="'parked': 9"):
            check_stored(url, 10, 1)


def test_process_that_ends_by_itself_voids_the_run_with_its_last_words(servers: Servers) -> None:
    with (
        pytest.raises(Lost, match="ATTRIBUTION_DATABASE_URL"),
        servers.process("unset", "tasks.drainer", database_url="") as process,
    ):
        process.wait()


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{}")
    with pytest.raises(StackUnusable, match="something else"), bench_servers(tmp_path):
        pass
    assert (tmp_path / "stack.json").exists()
