"""The rewrite alarm, every few minutes: reports of ids that nobody tracked, beside messages that never report."""

from __future__ import annotations

import logging
from typing import Any

from db.rewrites import KIND, find_suspicions, note, take_turns, withdraw
from db.suspicion import Candidate, Spans, Suspicion
from tasks.context import Context, context
from worker.app import app
from worker.message_id import would_be_replaced
from worker.telemetry import metrics
from worker.telemetry.error_tracking import report

_log = logging.getLogger(__name__)

#: Most incidents noted in one run. What a mailer does wrong, it does with every mail; a few tell the tale.
LIMIT = 100
#: Likely causes, the likeliest first.
_CAUSES = ("form", "duplicate", "unknown")


@app.task(name="detect_rewrites")
def detect_rewrites() -> str:
    """Note new incidents, withdraw what turned out otherwise. Run twice at once, the second does nothing."""
    ctx = context()
    ctx.require_postgresql()
    noted, withdrawn = detect(ctx, Spans())
    return ", ".join(f"{name} {count}" for name, count in (("noted", noted), ("withdrawn", withdrawn)) if count) or (
        "nothing suspicious"
    )


def detect(ctx: Context, spans: Spans) -> tuple[int, int]:
    """Look for replaced Message-IDs; return how many incidents were noted and how many withdrawn."""
    with ctx.engine.begin() as conn:
        if not take_turns(conn):
            return 0, 0
        withdrawn = withdraw(conn, spans)
        suspicions = find_suspicions(conn, spans, limit=LIMIT)
        noted = note(conn, {each.report.row: _details(each) for each in suspicions})
    if noted:
        metrics.INCIDENTS.labels(KIND).inc(noted)
        report(KIND, "delivery reports look as if ACS had replaced Message-IDs", counts={"reports": noted})
        _log.warning("%d delivery reports look as if ACS had replaced Message-IDs; see `attribution incidents`", noted)
    if withdrawn:
        _log.info("%d suspicions of a replaced Message-ID turned out otherwise", withdrawn)
    return noted, withdrawn


def cause_of(candidate: Candidate) -> str:
    """Return why ACS would have replaced this message's id: its form, a duplicate, or unknown."""
    if would_be_replaced(candidate.message_id):
        return "form"
    return "duplicate" if candidate.used_before or candidate.tracked_again else "unknown"


def _details(suspicion: Suspicion) -> dict[str, Any]:
    report = suspicion.report
    candidates = [(cause_of(each), each) for each in suspicion.candidates]
    candidates.sort(key=lambda each: _CAUSES.index(each[0]))
    return {
        "report": {
            "event_id": report.event_id,
            "internet_message_id": report.internet_message_id,
            "azure_message_id": str(report.azure_message_id) if report.azure_message_id else None,
            "recipient_domain": report.domain,
            "reported_at": report.reported_at.isoformat(),
        },
        "certain": suspicion.certain,
        "cause": candidates[0][0],
        "candidates": [
            {
                "tracking_row": each.tracking_row,
                "message_id": each.message_id,
                "campaign_id": each.campaign_id,
                "sent_at": each.sent_at.isoformat(),
                "cause": cause,
                "tracked_again": each.tracked_again,
            }
            for cause, each in candidates
        ],
    }
