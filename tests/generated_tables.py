"""Tables of the documentation that are made from the code.

``python -m tests.generated_tables`` writes them into their pages; tests/test_docs.py compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final, Literal, get_args, get_origin

from prometheus_client import Counter, Gauge, Histogram
from pydantic import SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from cli.doctor.catalogue import SUBJECTS
from tests.pages import ROOT, read
from worker.settings import CommonSettings, ReceiverSettings, WorkerSettings
from worker.telemetry import metrics

_DURATION: Final[TypeAdapter[timedelta]] = TypeAdapter(timedelta)
_WORDS: Final = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


def variable(field: str) -> str:
    """Return the name of a setting in the environment."""
    return f"ATTRIBUTION_{field.upper()}"


def as_written(value: Any) -> str:
    """Return a setting's value as one writes it in the environment; an absent one is empty."""
    match value:
        case None:
            return ""
        case SecretStr():
            return value.get_secret_value()
        case bool():
            return str(value).lower()
        case timedelta():
            return str(_DURATION.dump_python(value, mode="json"))
        case tuple():
            return ",".join(as_written(each) for each in value)
        case _:
            return str(value)


def fields_of(settings: type[CommonSettings]) -> dict[str, FieldInfo]:
    """Return the fields that a class of settings declares itself."""
    inherited = CommonSettings.model_fields if settings is not CommonSettings else {}
    return {name: field for name, field in settings.model_fields.items() if name not in inherited}


def _settings_table(settings: type[CommonSettings]) -> Iterator[str]:
    yield "| Variable | Default | Meaning |"
    yield "|---|---|---|"
    for name, field in fields_of(settings).items():
        written = "" if field.is_required() else as_written(field.default)
        default = "**required**" if field.is_required() else f"`{written}`" if written else "none"
        yield f"| `{variable(name)}` | {default} | {field.description}{_limits(field)} |"


def _limits(field: FieldInfo) -> str:
    """Say which values are allowed, where that is not any."""
    if get_origin(field.annotation) is Literal:
        return f" One of {', '.join(f'`{value}`' for value in get_args(field.annotation))}."
    bounds = [
        words.format(getattr(each, limit))
        for each in field.metadata
        for limit, words in _WORDS.items()
        if getattr(each, limit, None) is not None
    ]
    return f" {' and '.join(bounds).capitalize()}." if bounds else ""


def _metrics_table() -> Iterator[str]:
    yield "| Metric | Type | Labels | Meaning |"
    yield "|---|---|---|---|"
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (described,) = metric.describe()
            name = f"{described.name}_total" if described.type == "counter" else described.name
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            yield f"| `{name}` | {described.type} | {labels} | {described.documentation} |"


def _measures_table() -> Iterator[str]:
    yield "| Metric | Type | Labels | Meaning |"
    yield "|---|---|---|---|"
    for measure in metrics.MEASURED:
        labels = ", ".join(f"`{label}`" for label in measure.labels)
        yield f"| `{measure.name}` | gauge | {labels} | {measure.sentence} |"


def _checks_table() -> Iterator[str]:
    yield "| Check | In order if |"
    yield "|---|---|"
    for subject in SUBJECTS:
        for check in subject.checks:
            yield f"| `{check.name}` | {check.meaning} |"


#: What fills which place of which page.
TABLES: Final[dict[tuple[str, str], Callable[[], Iterator[str]]]] = {
    ("docs/settings.md", "everyone"): lambda: _settings_table(CommonSettings),
    ("docs/settings.md", "receiver"): lambda: _settings_table(ReceiverSettings),
    ("docs/settings.md", "worker"): lambda: _settings_table(WorkerSettings),
    ("docs/metrics.md", "metrics"): _metrics_table,
    ("docs/doctor.md", "checks"): _checks_table,
    ("docs/metrics.md", "measures"): _measures_table,
}


def filled(page: str) -> str:
    """Return a page with its tables as the code would have them."""
    text = read(page)
    for (where, name), table in TABLES.items():
        if where == page:
            begin, end = f"<!-- {name}: made from the code -->\n", "<!-- end -->"
            assert text.count(begin) == 1, f"{page} has not one place for the table {name!r}"
            before, _, rest = text.partition(begin)
            text = "".join((before, begin, *(f"{row}\n" for row in table()), end, rest.partition(end)[2]))
    return text


def main() -> None:
    """Write every table into its page."""
    for page in {page for page, _ in TABLES}:
        (ROOT / page).write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
