"""Which silent messages the reports of unknown Message-IDs may be of. Pure; docs/rewrites.md tells the rule."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

#: Most messages that one incident names.
MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Spans:
    """How far the detection looks.

    ``reach`` is how old a report may be, ``patience`` how old it must be, so that slow mailers and slow deliveries have
    had their time. ``before`` is how long before its report a message may have been sent, ``slack`` how far the clocks
    of a mailer and of Azure may disagree.
    """

    reach: timedelta = timedelta(hours=4)
    patience: timedelta = timedelta(hours=1)
    before: timedelta = timedelta(hours=1)
    slack: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Report:
    """A delivery report of a Message-ID that nobody tracked, or of none. ``is_news``: no incident tells of it yet."""

    row: int
    event_id: str | None
    internet_message_id: str | None
    azure_message_id: UUID | None
    campaign_id: int | None
    domain: str | None
    reported_at: datetime
    is_news: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that was tracked, and that a report may be of.

    ``used_before``: an earlier mail had this Message-ID. ``tracked_again``: it was tracked for another campaign or
    subscriber, and that tracking was refused; ``campaign_id`` and ``sent_at`` are what the refused one said.
    """

    tracking_row: int
    message_id: str
    campaign_id: int
    sent_at: datetime
    used_before: bool
    tracked_again: bool


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A report with the messages it may be of, the latest first. ``certain``: Azure's own id ties it to its one."""

    report: Report
    candidates: tuple[Candidate, ...]
    certain: bool = False


def suspect(
    reports: Iterable[Report], silent: Iterable[tuple[str, Candidate]], spans: Spans, *, limit: int
) -> list[Suspicion]:
    """Return up to ``limit`` suspicions that are news, the oldest report first.

    ``silent`` are messages that never reported, each with the domain it went to. A report is suspicious if, of the
    messages sent to its domain in the span before it, at least as many are silent as there are reports to account for:
    those of unknown ids up to then, and those without an id around then. So where another program sends through the
    same resource, whose reports are unknown by nature, nothing is said.
    """
    by_domain: dict[str, list[Candidate]] = defaultdict(list)
    for domain, candidate in silent:
        by_domain[domain].append(candidate)
    told: dict[str, list[Report]] = defaultdict(list)
    for report in reports:
        if report.domain in by_domain:
            told[report.domain].append(report)
    found = [each for domain in told for each in _suspect(told[domain], by_domain[domain], spans)]
    return sorted(found, key=lambda each: each.report.row)[:limit]


def _suspect(reports: list[Report], silent: list[Candidate], spans: Spans) -> list[Suspicion]:
    silent.sort(key=lambda each: each.sent_at)
    sent_ats = [each.sent_at - spans.slack for each in silent]
    suppressed_ats = sorted(each.reported_at for each in reports if each.internet_message_id is None)
    named = _once_each(reports)
    reported_ats = [each.reported_at for each in named]
    found = []
    for report in named:
        if not report.is_news:
            continue
        at, since = report.reported_at, report.reported_at - spans.before
        messages = silent[bisect_left(sent_ats, since - spans.slack) : bisect_right(sent_ats, at)]
        suppressed = _count(suppressed_ats, since, at + spans.before)
        if _count(reported_ats, since, at) > len(messages) - suppressed:
            continue
        latest = messages[-MOST_CANDIDATES:][::-1]
        candidates = tuple(each for each in latest if report.campaign_id in (None, each.campaign_id))
        if candidates:
            found.append(Suspicion(report, candidates))
    return found


def _once_each(reports: Iterable[Report]) -> list[Report]:
    """Return the first report of each Message-ID, by time: a mail to several people has several."""
    first: dict[str, Report] = {}
    for report in sorted(reports, key=lambda each: (each.reported_at, each.row)):
        if report.internet_message_id is not None:
            first.setdefault(report.internet_message_id, report)
    return list(first.values())


def _count(instants: Sequence[datetime], since: datetime, until: datetime) -> int:
    return bisect_right(instants, until) - bisect_left(instants, since)
