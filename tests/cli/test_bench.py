"""`attribution bench`: what is measured, and how it ends. The measurements themselves are in tests/benchmarks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from click.testing import CliRunner

from benchmarks import measurements, servers
from benchmarks.bench import Bench
from benchmarks.report import Figure, ratio_at_least
from benchmarks.servers import Lost
from cli.bench import LETTERS
from cli.main import main

_MISSED = Figure("(a) slow", 1.0, "requests/s", 0.1, ratio_at_least(0.65))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Measurements that take no time: (a) misses its goal, (b) loses an event. Returns what was measured."""
    done: list[str] = []

    def miss(_bench: Bench) -> list[Figure]:
        done.append("a")
        return [_MISSED]

    def lose(_bench: Bench) -> list[Figure]:
        done.append("b")
        raise Lost("events stored: 9 where 10 were expected.")

    @contextlib.contextmanager
    def no_servers(_state_dir: Path) -> Iterator[None]:
        yield None

    monkeypatch.setattr(measurements, "MEASUREMENTS", MappingProxyType({"a": miss, "b": lose}))
    monkeypatch.setattr(servers, "bench_servers", no_servers)
    return done


def test_letters_of_the_help_are_the_measurements() -> None:
    assert LETTERS.keys() == measurements.MEASUREMENTS.keys()


def test_missed_goal_is_shown_and_is_no_failure(measured: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "--only", "a", "--output", str(tmp_path / "bench.json")])
    assert result.exit_code == 0
    assert "missed" in result.output
    assert measured == ["a"]
    assert '"met": false' in (tmp_path / "bench.json").read_text()


def test_lost_event_is_a_failure_that_keeps_what_was_found_before(measured: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "--only", "a,b", "--output", str(tmp_path / "bench.json")])
    assert result.exit_code == 1
    assert "9 where 10 were expected" in result.output
    assert "(a) slow" in (tmp_path / "bench.json").read_text()


def test_quick_run_judges_nothing(measured: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bench", "--quick", "--only", "a", "--output", str(tmp_path / "bench.json")])
    assert "not judged" in result.output
    assert '"met": null' in (tmp_path / "bench.json").read_text()


@pytest.mark.parametrize("stored", ["", "x", "0", "5,1", "1,1", "nan", "inf"])
def test_sizes_that_do_not_grow_are_refused(stored: str) -> None:
    result = CliRunner().invoke(main, ["bench", "--only", "h", "--stored", stored])
    assert result.exit_code == 2
    assert "smallest first" in result.output


@pytest.mark.parametrize("only", ["x", "", "a,x"])
def test_unknown_letter_is_refused_with_those_there_are(only: str) -> None:
    result = CliRunner().invoke(main, ["bench", "--only", only])
    assert result.exit_code == 2
    assert "a, b, c, d, e, f" in result.output
