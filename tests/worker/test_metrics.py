"""Every metric is declared once, in one style; processes that count together count into one answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from worker.telemetry import metrics
from worker.telemetry.exposition import counted_by_all

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
from worker.telemetry import metrics
place, times = sys.argv[1], int(sys.argv[2])
metrics.take_place(place)
metrics.MESSAGES.labels("tracked").inc(times)
metrics.DRAIN_SLOWED.set(times > 5)
metrics.EVENT_SECONDS.observe_each([0.1] * times)
"""


def count(folder: Path, place: str, times: int) -> None:
    """Have a process of its own count in ``place``."""
    subprocess.run(
        [sys.executable, "-c", COUNTING, place, str(times)],
        env={"PATH": os.environ["PATH"], metrics.FOLDER: str(folder)},
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
from worker.telemetry import metrics
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
