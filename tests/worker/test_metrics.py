"""Every metric is declared once, in one style."""

from __future__ import annotations

from prometheus_client.metrics import MetricWrapperBase

from worker import metrics

DECLARED = {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}


def test_metrics_have_one_prefix_and_a_sentence() -> None:
    assert DECLARED
    for name, metric in DECLARED.items():
        (described,) = metric.describe()
        assert described.name.startswith("attribution_"), name
        assert described.documentation[0].isupper(), name
        assert described.documentation.endswith("."), name


def test_no_metric_has_a_label_that_a_stranger_fills() -> None:
    labels = {label for metric in DECLARED.values() for label in metric._labelnames}
    assert labels <= {"route", "status", "reason", "schema", "outcome", "stream", "key", "kind"}
