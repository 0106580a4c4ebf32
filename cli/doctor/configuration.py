"""The environment: can the settings be used, do they fit each other, and is what was meant also what is read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from cli.doctor.findings import Finding, Missing, Subject, failure, hint, warning
from cli.doctor.installation import Installation
from cli.flower import AUTH
from tasks.patience import PATIENCE
from worker.errors import SettingsInvalid
from worker.secret_files import FOLDER, secrets_folder
from worker.settings import ReceiverSettings, WorkerSettings

subject: Final = Subject("settings", "Settings")

_PREFIX: Final = "ATTRIBUTION_"

#: When Event Grid gives an answer up, and posts again what may have been stored already.
_EVENT_GRID_WAITS: Final = timedelta(seconds=30)
#: Longest that Celery lets a task run before it is interrupted: see worker/celeryconfig.py.
TASK_LIMIT: Final = timedelta(seconds=45)


@subject.check("receiver", "The receiver's settings can be used.")
def receiver_settings(installation: Installation) -> Iterator[Finding]:
    """Read what a receiver reads as it starts."""
    try:
        _ = installation.receiver
    except Missing as missing:
        yield missing.finding


@subject.check("worker", "The worker's settings can be used.")
def worker_settings(installation: Installation) -> Iterator[Finding]:
    """Read what worker and beat read as they start."""
    try:
        _ = installation.worker
    except Missing as missing:
        try:
            _ = installation.receiver
        except Missing as both:
            if both.finding.level == missing.finding.level == "hint":
                yield failure(
                    "Neither a receiver nor a worker is configured here.",
                    "Run the doctor where one of them runs, with its environment. docs/settings.md lists the settings.",
                )
                return
        yield missing.finding


@subject.check("unknown", "Every ATTRIBUTION_ variable, and file of secrets, is one that something reads.")
def unknown_variables(_installation: Installation) -> Iterator[Finding]:
    """Look for names that nobody reads: most often one that is misspelt, whose default holds instead."""
    known = known_variables()
    with suppress(SettingsInvalid):  # told of above
        folder = secrets_folder()
        files = [file.name for file in folder.iterdir()] if folder else []
        for name in sorted({*os.environ, *files}):
            if name.upper().startswith(_PREFIX) and name.upper() not in known:
                what = "variable" if name in os.environ else "file"
                yield warning(
                    f"Nothing reads the {what} {name}: whatever it is set to has no effect.",
                    f"{_nearest(name.upper(), known)} Else remove it.",
                )


def _nearest(name: str, known: Sequence[str]) -> str:
    # Behind the prefix, which makes any two of them alike.
    endings = [each.removeprefix(_PREFIX) for each in known]
    near = difflib.get_close_matches(name.removeprefix(_PREFIX), endings, n=1)
    return f"Perhaps {_PREFIX}{near[0]} is meant." if near else "docs/settings.md lists what there is."


def known_variables() -> list[str]:
    """Return every variable that something of ours reads."""
    fields = {**ReceiverSettings.model_fields, **WorkerSettings.model_fields}
    return sorted({*(f"{_PREFIX}{name.upper()}" for name in fields), AUTH, FOLDER})


@subject.check("insecure", "Whoever posts has to prove itself.")
def insecure(installation: Installation) -> Iterator[Finding]:
    """Look whether anybody may post."""
    if installation.receiver.insecure:
        yield warning(
            "ATTRIBUTION_INSECURE is on: every program that reaches the receiver can make events up, and so can the"
            " world if there is a proxy in front of it.",
            "Set ATTRIBUTION_EVENT_SECRETS (`openssl rand -hex 24` makes one), and remove ATTRIBUTION_INSECURE.",
        )


@subject.check("messages", "Mailers can post their trackings.")
def messages_route(installation: Installation) -> Iterator[Finding]:
    """Look whether the HTTP door is open to mailers."""
    settings = installation.receiver
    if not settings.insecure and not settings.message_secrets:
        yield hint(
            "`POST /messages` is switched off: it answers 404.",
            "If mailers are to track by HTTP, set ATTRIBUTION_MESSAGE_SECRETS. By Celery or the stream they need it"
            " not.",
        )


@subject.check("unsafe-redis", "A Redis that may lose events is refused.")
def unsafe_redis(installation: Installation) -> Iterator[Finding]:
    """Look whether the check that every process makes of its Redis is switched off."""
    if any(settings.allow_unsafe_redis for settings in installation.settings):
        yield warning(
            "ATTRIBUTION_ALLOW_UNSAFE_REDIS is on: receiver and worker start on a Redis that may lose what was answered"
            " 200.",
            "Remove it, unless this is a managed Redis that can do no better. docs/operations.md says what it must do.",
        )


@subject.check("claim", "What a drain still works on is not taken for abandoned.")
def claim_after(installation: Installation) -> Iterator[Finding]:
    """Compare the time after which entries are claimed with the longest that a batch may take."""
    settings = installation.worker
    longest = PATIENCE + settings.statement_timeout
    if settings.claim_after <= longest:
        yield warning(
            f"ATTRIBUTION_CLAIM_AFTER is {_seconds(settings.claim_after)}, and a batch may take {_seconds(longest)}"
            " while PostgreSQL is slow: other drain processes would take it up again and again, and make it slower"
            " still.",
            f"Set ATTRIBUTION_CLAIM_AFTER to more than {_seconds(longest)}; its default is 60 s.",
        )


@subject.check("statement", "A statement ends before the task that it is part of.")
def statement_timeout(installation: Installation) -> Iterator[Finding]:
    """Compare the longest statement with the longest task."""
    allowed = installation.worker.statement_timeout
    if allowed >= TASK_LIMIT:
        yield warning(
            f"ATTRIBUTION_STATEMENT_TIMEOUT is {_seconds(allowed)}, and Celery interrupts a task after"
            f" {_seconds(TASK_LIMIT)}: tasks would be killed at work rather than be told that PostgreSQL is slow.",
            f"Set it to less than {_seconds(TASK_LIMIT)}; its default is 15 s.",
        )


@subject.check("park", "A parked event is looked for before it expires.")
def park_schedule(installation: Installation) -> Iterator[Finding]:
    """Compare the first retry of a parked event with its deadline."""
    settings = installation.worker
    if settings.park_deadline <= settings.park_schedule[0]:
        yield failure(
            f"ATTRIBUTION_PARK_DEADLINE is {_seconds(settings.park_deadline)}, and the first retry of a parked event"
            f" comes after {_seconds(settings.park_schedule[0])}: each expires before anybody looks for its message.",
            "Set the deadline to days, or the first wait of ATTRIBUTION_PARK_SCHEDULE to seconds.",
        )


@subject.check("answer", "The receiver answers before Event Grid gives up waiting.")
def answer_time(installation: Installation) -> Iterator[Finding]:
    """Compare the longest that an answer may take with the longest that Event Grid waits."""
    settings = installation.receiver
    longest = 2 * settings.body_timeout + settings.redis_timeout
    if longest >= _EVENT_GRID_WAITS:
        yield warning(
            f"ATTRIBUTION_BODY_TIMEOUT, twice, and ATTRIBUTION_REDIS_TIMEOUT make {_seconds(longest)}, and Event Grid"
            f" waits for {_seconds(_EVENT_GRID_WAITS)}: it would post again what was taken already.",
            f"Make them less than {_seconds(_EVENT_GRID_WAITS)} together.",
        )


@subject.check("memory-limit", "The receiver refuses events before Redis is full.")
def memory_limit(installation: Installation) -> Iterator[Finding]:
    """Look whether Redis keeps room for what empties it."""
    limit = installation.receiver.memory_limit_percent
    if limit > 90:
        yield warning(
            f"ATTRIBUTION_MEMORY_LIMIT_PERCENT is {limit}: Redis may be full before the receiver answers 503, and a"
            " full Redis takes neither Celery's messages nor acknowledgements.",
            "Set it to 90 or less; its default is 70.",
        )


@subject.check("drain", "This worker drains the streams.")
def drain_processes(installation: Installation) -> Iterator[Finding]:
    """Look whether a worker of these settings drains at all."""
    if installation.worker.drain_processes == 0:
        yield hint(
            "ATTRIBUTION_DRAIN_PROCESSES is 0: a worker with these settings drains only what beat wakes it for.",
            "Have it be at least 1 in one worker.",
        )


@subject.check("archive", "What comes is kept for a replay.")
def archive(installation: Installation) -> Iterator[Finding]:
    """Look whether there will be anything to replay."""
    if not installation.worker.archive_retention:
        yield hint(
            "ATTRIBUTION_ARCHIVE_RETENTION is 0: nothing is kept as it came, and nothing can be replayed.",
            "Set it to some days, so that a mistake can be put right afterwards.",
        )


@subject.check("recipients", "Recipients are kept as keyed hashes.")
def recipients(installation: Installation) -> Iterator[Finding]:
    """Look how recipients' addresses are stored."""
    settings = installation.worker
    if settings.recipients == "plain":
        yield hint(
            "ATTRIBUTION_RECIPIENTS is plain: addresses are stored as they come.",
            "Set it to hash, with ATTRIBUTION_RECIPIENT_KEY, unless you have to read them.",
        )
    elif settings.recipient_key is None:
        yield hint(
            "ATTRIBUTION_RECIPIENT_KEY is not set: recipients are not stored at all, and nobody is found by an"
            " address.",
            "Make one with `openssl rand -hex 32`, and keep it for good.",
        )


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():g} s"
