"""Celery: who works on which queue, whether beat ticks, and whether all are of one release."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Final

from cli.doctor.celery_nodes import Nodes, broker_of
from cli.doctor.findings import Finding, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation
from db.checkup import foreign_rows, overdue, uncounted_changes
from worker import queues
from worker.streams import MEASURED
from worker.telemetry.metrics import MEASURED_AT

subject: Final = Subject("celery", "Celery")

#: Messages in a queue that workers serve, above which they do not keep up.
_LONG_QUEUE: Final = 1000
#: How late a parked event's next attempt may be: sweeps come every few seconds.
_OVERDUE: Final = timedelta(minutes=5)
#: Age of what is measured every few seconds, at which nobody measures.
_MEASURED: Final = timedelta(minutes=2)
#: Changes of campaigns' numbers that wait to be added up: more than any burst leaves for ten seconds.
_MANY_CHANGES: Final = 1_000_000


@subject.check("workers", "Workers answer.")
def workers(installation: Installation) -> Iterator[Finding]:
    """Ask all workers to say that they live."""
    found = Nodes.of(installation)
    if not found.workers:
        yield failure(
            "No Celery worker answers: nothing is drained, released, counted or posted.",
            "Start `attribution worker`. If one runs, compare its ATTRIBUTION_REDIS_URL and ATTRIBUTION_BROKER_URL with"
            " those here, and look at its log.",
        )
    else:
        count = len(found.workers)
        yield ok(f"{count} {'worker answers' if count == 1 else 'workers answer'}.")


@subject.check("queues", "Each queue has a worker, and workers keep up.")
def served(installation: Installation) -> Iterator[Finding]:
    """Compare the queues with those that workers serve, and count what waits."""
    found = Nodes.of(installation)
    broker = installation.redis(broker_of(installation))
    served = {queue for each in found.queues.values() for queue in each}
    for queue in queues.ALL:
        waiting = sum(int(str(broker.llen(f"{queue}{priority}"))) for priority in queues.PRIORITIES)
        tasks = f"{waiting:,} {'task waits' if waiting == 1 else 'tasks wait'}"
        if found.workers and queue not in served:
            yield failure(
                f"No worker serves the queue {queue}, and {tasks} there.",
                f"Start a worker that does: `attribution worker --queues {queue}`, or without --queues for all.",
            )
        elif not found.workers and waiting:
            yield failure(f"{tasks} in the queue {queue}, and no worker is there.", "Start `attribution worker`.")
        elif waiting > _LONG_QUEUE:
            yield warning(
                f"{tasks} in the queue {queue}: its workers do not keep up.",
                "Raise --concurrency, or start another worker. Flower shows what they are at.",
            )


@subject.check("beat", "Beat ticks.")
def beat(installation: Installation) -> Iterator[Finding]:
    """Ask beat to say that it lives, and look at what only its ticks bring about."""
    found = Nodes.of(installation)
    if not found.beats:
        yield failure(
            "No beat answers: parked events are not looked for again, foreign rows not adopted, campaigns not counted,"
            " no webhook is posted, and the archive is not purged.",
            "Start `attribution beat`, one per installation. If one runs, start it again, for it answers only while it"
            " ticks; if that does not help, compare its settings with those here: it answers through Celery's Redis.",
        )
    elif len(found.beats) > 1:
        yield hint(
            f"{len(found.beats)} beats answer, and one would do. They do no harm.",
            "Leave one, unless this is a deploy in which the new one has begun and the old one not ended.",
        )


@subject.check("ticks", "What beat asks for is done.")
def ticks(installation: Installation) -> Iterator[Finding]:
    """Look at what is left undone where beat's ticks find no worker, or their tasks fail."""
    with installation.engine.connect() as conn:
        late = overdue(conn)
        rows, waited = foreign_rows(conn)
        changes = uncounted_changes(conn, most=_MANY_CHANGES)
    if late > _OVERDUE:
        yield failure(
            f"A parked event should have been looked for {_minutes(late)} ago: no sweep runs, or each fails.",
            "Look whether beat and a worker that serves the queue attribution.maintenance run, and at the worker's log"
            " for sweep_parked.",
        )
    if waited > _OVERDUE:
        yield failure(
            f"{rows:,} tracking row{'s' * (rows != 1)} of another program {'have' if rows != 1 else 'has'} waited for"
            f" {_minutes(waited)} to be adopted: no sweep runs, or each fails, and their events stay parked.",
            "Look whether beat and a worker that serves the queue attribution.maintenance run, and at the worker's log"
            " for sweep_parked.",
        )
    if changes >= _MANY_CHANGES:
        yield warning(
            f"{changes:,} changes and more wait to be added to campaigns' numbers: `attribution stats` is slow, and no"
            " task counts them.",
            "Look at the worker's log for count_campaigns.",
        )


@subject.check("measured", "What operators watch is measured.")
def measured(installation: Installation) -> Iterator[Finding]:
    """Look when the task `measure`, which beat asks for every few seconds, last left its result."""
    client = installation.redis()
    # Wrong bytes there are as good as none: it is measured anew.
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        kept = json.loads(str(client.get(MEASURED) or "{}"))
        age = time.time() - float(kept[MEASURED_AT.name][0][1])
        if age > _MEASURED.total_seconds():
            yield failure(
                f"The task `measure` last left its result {_minutes(timedelta(seconds=age))} ago: the gauges of the"
                " database are of then, and alerts see what was.",
                "Look whether beat and a worker that serves the queue attribution.maintenance run, and at the worker's"
                " log for measure.",
            )


@subject.check("release", "All workers are of this release.")
def release(installation: Installation) -> Iterator[Finding]:
    """Compare the tasks that workers know with each other and with ours."""
    found = Nodes.of(installation)
    ours = set(queues.QUEUE_OF)
    for tasks in {frozenset(tasks) for tasks in found.tasks.values()}:
        older, newer = sorted(ours - tasks), sorted(tasks - ours)
        how_many = sum(known == tasks for known in found.tasks.values())
        which = f"{how_many} worker{'s' * (how_many != 1)}"
        if older:
            yield warning(
                f"{which} of another release {'do' if how_many != 1 else 'does'} not know {', '.join(older)}: such a"
                " task is dropped there.",
                "Deploy beat, workers and mailers together; restart what is left of the old release.",
            )
        elif newer:
            yield hint(
                f"{which} know{'s' * (how_many == 1)} tasks that this release does not have: {', '.join(newer)}.",
                "Upgrade this machine, too, and restart beat.",
            )


def _minutes(duration: timedelta) -> str:
    minutes = duration / timedelta(minutes=1)
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
