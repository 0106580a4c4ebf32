"""How fast a drain process drains: at full speed, or slowly, while most of what comes cannot be read.

After a bad deploy, or a change of Azure's, every event may be malformed. To quarantine them all at full speed would be
quick, and wrong: they are sound, and the release that can read them comes in the morning. On the stream they keep. So
above a share of such events all drain processes slow down, by an alarm that they share in the database, and speed up
again when the share falls, when an operator says so, or when the events could not wait any longer. docs/drift.md tells
an operator; docs/adr/0024-slow-down-and-alarm.md tells why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from db import drift
from db.drift import DRIFT, POISON, Alarm, Tally
from tasks.alarm_rule import Rule, Verdict, raised_sentence
from tasks.batch import Body, Drained
from tasks.drift import MOST_KEPT, Name, Seen, look
from tasks.eventgrid import Parsed
from worker.settings import WorkerSettings
from worker.telemetry import metrics
from worker.telemetry.error_tracking import report

_log = logging.getLogger(__name__)

#: How often each process tells the others what it has counted, and asks whether there is an alarm.
LOOK_SECONDS: Final = 5.0
#: While there is one: the most entries in a read of the events, their bytes, about, and the pause before the next.
SLOW_ENTRIES: Final = 50
SLOW_BYTES: Final = 64 * 1024
SLOW_SECONDS: Final = 5.0
#: Most names in a log line.
_MOST_SAID: Final = 10


class Pace:
    """Counts what one process drains, and tells how fast it may go on. One for each process.

    `note` and `look` are for the thread that records; any other may ask `slowed` and `limit`.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._rule = Rule(
            settings.alarm_share_percent / 100, settings.alarm_least, settings.alarm_window, settings.alarm_slows_for
        )
        self._seen = Seen()
        self._accepted: set[tuple[str, str]] = set()
        self._learnt: set[Name] = set()
        self._look_at = 0.0
        self.slowed = False

    def limit(self, count: int, max_bytes: int) -> tuple[int, int]:
        """Return how many entries, and bytes of them, may be read where ``count`` and ``max_bytes`` are asked for."""
        if not self.slowed:
            return count, max_bytes
        return min(count, SLOW_ENTRIES), min(max_bytes, SLOW_BYTES)

    def note(self, parsed: Parsed, bodies: Sequence[Body], drained: Drained) -> None:
        """Take notice of a batch of events that is recorded."""
        seen = look(parsed, bodies)
        seen.malformed.update(drained.quarantined)
        recorded = sum(drained.attributed.values()) + drained.parked + drained.duplicates
        seen.events = recorded + drained.ignored + sum(drained.quarantined.values())
        self._seen += seen
        enough = not self.slowed and self._seen.events >= self._rule.least
        if enough and self._seen.share(self._accepted) > self._rule.share:
            self._look_at = 0.0  # at once, before the next batch is read

    def look(self, engine: Engine) -> None:
        """Tell the other processes what was counted, and see how fast to go on. Mostly it is not time yet.

        A transaction of its own, of a few rows. If PostgreSQL is away the pace stays as it is, and no count is lost.
        """
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        told: list[tuple[str, int, str]] = []
        new: list[tuple[str, str]] = []
        raised: list[str] = []
        names = self._seen.names - self._learnt
        try:
            with engine.begin() as conn:
                self._accepted = drift.accepted_names(conn)
                self._keep_tally(conn)
                new = drift.learn_names(conn, names)
                now, alarms = drift.read_alarms(conn)
                for kind, alarm in alarms.items():
                    raised += self._judge(conn, kind, alarm, now, told)
                now, alarms = drift.read_alarms(conn)
        except SQLAlchemyError as error:
            _log.warning("what was drained could not be judged (%s); it will be", type(error).__name__)
            return
        self._learnt = self._learnt | names if len(self._learnt) < MOST_KEPT else names
        self._seen = Seen()
        self._tell(told, new, raised)
        self._heed(alarms, now)

    def _keep_tally(self, conn: Connection) -> None:
        seen = self._seen
        if seen.events:
            unknown = seen.unknown(self._accepted)
            tally = Tally(seen.events, seen.malformed.total(), unknown, seen.engagements, seen.without_id)
            drift.keep_tally(conn, tally, seen.malformed)

    def _judge(
        self, conn: Connection, kind: str, alarm: Alarm | None, now: datetime, told: list[tuple[str, int, str]]
    ) -> list[str]:
        """Raise or end one alarm; return its kind if it was raised, and add to ``told`` what there is to log."""
        rule = self._rule
        since = rule.counts_since(now, alarm)
        is_open = alarm is not None and alarm.ended_at is None
        if alarm is not None and is_open:
            tally = drift.add_up_newest(conn, kind, since, rule.needed(alarm))
        else:
            tally = drift.add_up(conn, since)
        verdict = rule.judge(kind, alarm, tally, now)
        if verdict is Verdict.RAISE:
            reasons = drift.add_up_reasons(conn, since) if kind == POISON else {}
            details = {"since": now.isoformat()} | self._details(kind, tally, reasons, now)
            if drift.open_alarm(conn, kind, alarm.number + 1 if alarm else 1, details):
                told.append((kind, logging.ERROR, raised_sentence(kind, tally, reasons, slows=bool(rule.slows_for))))
                return [kind]
        elif verdict is Verdict.RAISE_AGAIN and alarm is not None:
            details = {"since": now.isoformat(), "ended_at": None, "ended_by": None, "times": alarm.times + 1}
            if drift.open_again(conn, alarm, details):
                told.append((kind, logging.WARNING, f"the alarm {kind} is on again, for the {alarm.times + 1}th time"))
        elif verdict is Verdict.END and alarm is not None:
            details = {"ended_at": now.isoformat(), "ended_by": "itself"}
            if drift.end_alarm(conn, alarm, details):
                told.append((kind, logging.WARNING, f"the alarm {kind} has ended: of the newest events few are such"))
        return []

    def _details(self, kind: str, tally: Tally, reasons: dict[str, int], now: datetime) -> dict[str, Any]:
        """Return what an incident tells: counts, reasons of the closed list, and keys; no value."""
        details: dict[str, Any] = {"events": tally.of(kind), "bad": tally.bad(kind)}
        if kind == POISON:
            details["slows_until"] = (now + self._rule.slows_for).isoformat()
            return details | {"malformed": tally.malformed, "unknown": tally.unknown, "reasons": reasons}
        return details | {"keys": list(self._seen.keys_without_id)}

    def _tell(self, told: list[tuple[str, int, str]], new: list[tuple[str, str]], raised: list[str]) -> None:
        for kind, level, sentence in told:
            _log.log(level, "%s; see `attribution incidents`", sentence, extra={"incident": kind})
            if level == logging.ERROR:
                report(kind, sentence, counts={})
        for kind in raised:
            metrics.INCIDENTS.labels(kind).inc()
        if new:
            metrics.INCIDENTS.labels(DRIFT).inc(len(new))
            keys = sorted(name for kind, name in new if kind.endswith("_key"))
            others = sorted({kind.replace("_", " ") for kind, _ in new if not kind.endswith("_key")})
            words = ([f"keys {', '.join(keys[:_MOST_SAID])}"] if keys else []) + [f"a new {each}" for each in others]
            sentence = f"Azure sends what this release does not know: {'; '.join(words)}"
            _log.error("%s; see `attribution incidents`", sentence, extra={"incident": DRIFT})
            report(DRIFT, sentence, counts={"names": len(new)})

    def _heed(self, alarms: dict[str, Alarm | None], now: datetime) -> None:
        alarm = alarms[POISON]
        is_open = alarm is not None and alarm.ended_at is None
        slowed = alarm is not None and is_open and self._rule.slows(alarm, now)
        metrics.DRAIN_SLOWED.set(slowed)  # each time: who had our place before may have ended while it was slowed
        if slowed != self.slowed:
            self.slowed = slowed
            if slowed:
                _log.warning(
                    "this drain process is slowed to %d entries every %d seconds; the rest waits on the stream",
                    SLOW_ENTRIES, SLOW_SECONDS,
                )  # fmt: skip
            elif is_open:
                _log.error(
                    "the alarm is %s old and nobody has ended it: this drain process goes on at full speed, and what it"
                    " cannot read goes into quarantine, before Event Grid gives up on what it cannot deliver",
                    self._rule.slows_for,
                )
            else:
                _log.warning("this drain process goes on at full speed")
