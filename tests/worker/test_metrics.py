"""Every metric is declared once, in one style; processes that count together count into one answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from worker.telemetry import metrics, places
from worker.telemetry.exposition import counted_by_all, outcomes_so_far
from worker.telemetry.metrics_server import make_folder

DECLARED = {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}
NAMES = [described.name for metric in DECLARED.values() for described in metric.describe()]
LABELS = {
    "route", "status", "reason", "schema", "outcome", "stream", "key", "kind", "table", "task",
    "of", "state", "queue", "version", "campaign", "act", "expected",
}  # fmt: skip


def test_metrics_have_one_prefix_and_a_sentence() -> None:
    assert DECLARED
    for name, metric in DECLARED.items():
        (described,) = metric.describe()
        assert described.name.startswith("attribution_"), name
        assert described.documentation[0].isupper(), name
        assert described.documentation.endswith("."), name
    for measure in metrics.MEASURED:
        assert measure.name.startswith("attribution_")
        assert measure.sentence[0].isupper()
        assert measure.sentence.endswith(".")


def test_no_name_means_two_things() -> None:
    names = [*NAMES, *(measure.name for measure in metrics.MEASURED)]
    assert len(names) == len(set(names))


def test_no_metric_has_a_label_that_a_stranger_fills() -> None:
    labels = {label for metric in DECLARED.values() for label in metric._labelnames}
    assert labels | {label for measure in metrics.MEASURED for label in measure.labels} <= LABELS


def test_many_values_are_observed_like_each_of_them() -> None:
    values = [0.0, 0.004, 0.005, 0.0051, 7, 21600, 21601, 1e9]
    for value in values:
        metrics.RECEIPT_SECONDS.labels("one by one").observe(value)
    metrics.RECEIPT_SECONDS.labels("together").observe_each(values)
    (family,) = metrics.RECEIPT_SECONDS.collect()
    told: dict[str, dict[tuple[str, str], float]] = {}
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            key = (sample.name, sample.labels.get("le", ""))
            told.setdefault(sample.labels["stream"], {})[key] = sample.value
    assert told["together"] == told["one by one"]
    assert told["together"]["attribution_receipt_to_row_seconds_count", ""] == len(values)


COUNTING = """
import sys
from worker.telemetry import metrics, places
place, times = sys.argv[1], int(sys.argv[2])
places.take_place(place)
metrics.MESSAGES.labels("tracked").inc(times)
metrics.DRAIN_SLOWED.set(times > 5)
metrics.EVENT_SECONDS.observe_each([0.1] * times)
"""

EVERYTHING = """
from db.models import Key
from tasks.reasons import Reason
from worker.app import app
from worker.streams import EVENTS, MESSAGES
from worker.telemetry import metrics, places
metrics.begin_drain(Key, Reason)
app.loader.import_default_modules()
for task in [name for name in app.tasks if not name.startswith("celery.")]:
    metrics.begin_task(task)
    metrics.TASK_SECONDS.labels(task).observe(1)
    metrics.TASK_SUCCEEDED.labels(task).set(1)
for stream in (EVENTS, MESSAGES):
    metrics.RECEIPT_SECONDS.labels(stream).observe(1)
    metrics.BATCH_ENTRIES.labels(stream).observe(1)
    metrics.BATCH_SECONDS.labels(stream).observe(1)
"""


def count(folder: Path, place: str, times: int) -> None:
    """Have a process of its own count in ``place``."""
    subprocess.run(
        [sys.executable, "-c", COUNTING, place, str(times)],
        env={"PATH": os.environ["PATH"], places.FOLDER: str(folder)},
        check=True,
        cwd=Path(__file__).parents[2],
    )


def told(folder: Path) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in counted_by_all(str(folder)).collect()
        for sample in family.samples
        if not sample.labels.get("le")
    }


def test_what_processes_count_is_added_up(tmp_path: Path) -> None:
    count(tmp_path, "drain-0", 3)
    count(tmp_path, "pool-1", 9)
    answer = told(tmp_path)
    assert answer["attribution_messages_total"] == 12
    assert answer["attribution_event_to_row_seconds_count"] == 12
    assert answer["attribution_drain_slowed"] == 1
    assert answer["attribution_build_info"] == 1


def test_who_takes_a_place_goes_on_counting_and_needs_no_file_more(tmp_path: Path) -> None:
    count(tmp_path, "drain-0", 3)
    files = sorted(os.listdir(tmp_path))
    count(tmp_path, "drain-0", 4)
    assert sorted(os.listdir(tmp_path)) == files
    assert told(tmp_path)["attribution_messages_total"] == 7


def test_an_answer_is_in_the_text_format(tmp_path: Path) -> None:
    from worker.telemetry.exposition import answer

    families = {family.name: family for family in text_string_to_metric_families(answer().decode())}
    (build,) = (
        families["attribution_build"].samples
        if "attribution_build" in families
        else families["attribution_build_info"].samples
    )
    assert build.labels["version"].count(".") == 2


FROM_THE_START = """
from prometheus_client import generate_latest
from worker.telemetry import metrics, places
metrics.begin_receiver()
metrics.begin_drain(["link"], ["not_json"])
metrics.begin_task("sweep_parked")
print(generate_latest().decode())
"""


def test_what_has_not_happened_yet_is_told_from_the_start_for_a_series_that_begins_with_one_has_no_increase() -> None:
    done = subprocess.run([sys.executable, "-c", FROM_THE_START], capture_output=True, text=True, check=True)
    told = {
        sample.name: sample.value
        for family in text_string_to_metric_families(done.stdout)
        for sample in family.samples
        if sample.name.startswith("attribution_") and sample.name.endswith("_total")
    }
    counters = {f"{name}_total" for metric in DECLARED.values() if metric._type == "counter" for name in [metric._name]}
    known_by_what_happens = {
        "attribution_handshakes_total",
        "attribution_entries_appended_total",  # by the writer, of both streams, as it is made
        "attribution_listmonk_rows_total",
        "attribution_webhooks_total",
    }
    assert set(told) == counters - known_by_what_happens
    assert set(told.values()) == {0}


def test_room_is_taken_beforehand_for_twice_what_is_counted_so_that_a_full_disk_ends_nobody(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        env={
            "PATH": os.environ["PATH"],
            "ATTRIBUTION_DATABASE_URL": "postgresql://127.0.0.1/none",
            "ATTRIBUTION_REDIS_URL": "redis://127.0.0.1:1/0",
            places.FOLDER: str(tmp_path),
        },
        cwd=Path(__file__).parents[2],
        check=True,
    )
    files = [path.stat() for path in tmp_path.iterdir()]
    assert {file.st_size for file in files} == {places.FILE_BYTES}
    assert min(file.st_blocks * 512 for file in files) >= places.FILE_BYTES
    used = [int.from_bytes(path.read_bytes()[:4], sys.byteorder) for path in tmp_path.iterdir()]
    assert 10_000 < max(used) < places.FILE_BYTES / 2


NO_ROOM = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"


def test_a_process_that_finds_no_room_counts_nothing_says_so_and_works_on(tmp_path: Path) -> None:
    count(tmp_path, "pool-0", 2)
    done = subprocess.run(
        [sys.executable, "-c", f"{NO_ROOM}\n{COUNTING}", "drain-0", "3"],
        env={"PATH": os.environ["PATH"], places.FOLDER: str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert "what this process counts is not told" in done.stderr
    assert told(tmp_path)["attribution_messages_total"] == 2
    assert not [path for path in tmp_path.iterdir() if "drain-0" in path.name]


def test_a_folder_that_somebody_has_tidied_away_is_made_anew_by_whoever_takes_a_place(tmp_path: Path) -> None:
    folder = tmp_path / "tidied away"
    count(folder, "drain-0", 3)
    assert told(folder)["attribution_messages_total"] == 3


HOLDING = """
import sys
from worker.telemetry import metrics, places
places.take_place("drain-0")
print("holding", flush=True)
sys.stdin.read()
"""


def test_a_folder_made_anew_is_not_taken_for_one_that_a_killed_worker_has_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "attribution-metrics-anew"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING],
        env={"PATH": os.environ["PATH"], places.FOLDER: str(folder)},
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    monkeypatch.setenv(places.FOLDER, str(tmp_path))
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holding\n"
        make_folder()
        assert folder.exists()
    make_folder()
    assert not folder.exists()


def test_what_is_told_beside_a_tasks_work_does_not_fail_without_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(places.FOLDER, str(tmp_path / "gone"))
    assert outcomes_so_far() == {}


def test_workers_that_are_given_one_folder_count_into_their_own_in_it_and_remove_what_a_killed_one_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(places.FOLDER, str(tmp_path / "given"))
    left = tmp_path / "given" / "attribution-metrics-left"
    left.mkdir(parents=True)
    first, second = make_folder(), make_folder()
    assert first is not None
    assert second is not None
    assert first != second
    assert {str(path) for path in (tmp_path / "given").iterdir()} == {first, second}


def test_a_worker_that_can_make_no_folder_says_so_and_does_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv(places.FOLDER, str(tmp_path / "a file" / "folder"))
    assert make_folder() is None
    assert "metrics are not counted" in caplog.text
