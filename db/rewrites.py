"""The rewrite alarm: how it looks when ACS has put a Message-ID of its own in the place of a mailer's.

A delivery report names an id that nobody tracked, while a message that was tracked never reports. That is evidence,
kept as an incident for people to look at; no event is ever attributed by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from db.listmonk.tables import find_listmonk
from db.sql import load_queries
from db.suspicion import Candidate, Report, Spans, Suspicion, suspect

#: The kind of these incidents in attribution_incidents.
KIND = "message_id_replaced"

_ELSEWHERE = load_queries(
    "rewrites.sql",
    domain="t.recipient_domain",
    subscribers="",
    domain_again="r.recipient_domain",
    subscribers_again="",
)
_IN_LISTMONK = load_queries(
    "rewrites.sql",
    domain="coalesce(t.recipient_domain, lower(substring(p.email FROM '[^@]*$')))",
    subscribers="LEFT JOIN subscribers AS p ON p.id = t.subscriber_id",
    domain_again="coalesce(r.recipient_domain, lower(substring(p.email FROM '[^@]*$')))",
    subscribers_again="LEFT JOIN subscribers AS p ON p.id = r.subscriber_id",
)


def take_turns(conn: Connection) -> bool:
    """Tell whether this transaction may detect; False if another is at it. Call it first."""
    return bool(conn.execute(_ELSEWHERE["take_turns"]).one()[0])


def find_suspicions(conn: Connection, spans: Spans, *, limit: int) -> list[Suspicion]:
    """Return up to ``limit`` suspicions that are not noted yet, certain ones first.

    Where every report is attributed it looks no further; else it reads a few hours of reports and messages.
    """
    parameters = _parameters(spans) | {"limit": limit}
    found = [
        Suspicion(_report(row), (_candidate(row),), certain=True)
        for row in conn.execute(_ELSEWHERE["find_contradicted"], parameters)
    ]
    reports = [_report(row) for row in conn.execute(_ELSEWHERE["find_unexplained"], parameters)]
    if domains := {each.domain for each in reports if each.is_news and each.internet_message_id}:
        queries = _IN_LISTMONK if find_listmonk(conn).present else _ELSEWHERE
        rows = conn.execute(queries["find_silent"], parameters | {"domains": sorted(filter(None, domains))})
        found += suspect(reports, [(row.domain, _candidate(row)) for row in rows], spans, limit=limit)
    return _mark_used(conn, found[:limit], spans)


def _parameters(spans: Spans) -> dict[str, Any]:
    return {"reach": spans.reach, "patience": spans.patience, "span": spans.before, "slack": spans.slack}


def _report(row: Row[Any]) -> Report:
    return Report(
        row=row.id,
        event_id=row.event_id,
        internet_message_id=row.internet_message_id,
        azure_message_id=row.azure_message_id,
        campaign_id=row.campaign_id,
        domain=row.domain,
        reported_at=row.reported_at,
        is_news=row.is_news,
    )


def _candidate(row: Row[Any]) -> Candidate:
    return Candidate(
        tracking_row=row.tracking_row,
        message_id=row.message_id,
        campaign_id=row.campaign_id,
        sent_at=row.sent_at,
        used_before=row.used_before,
        tracked_again=row.tracked_again,
    )


def _mark_used(conn: Connection, suspicions: list[Suspicion], spans: Spans) -> list[Suspicion]:
    """Find out which of the candidates' ids an earlier mail had."""
    asked = {each.message_id: each.sent_at for suspicion in suspicions for each in suspicion.candidates}
    if not asked:
        return suspicions
    parameters = {"message_ids": list(asked), "sent_ats": list(asked.values()), "slack": spans.slack}
    used = set(conn.execute(_ELSEWHERE["find_used_before"], parameters).scalars())
    return [
        replace(
            suspicion,
            candidates=tuple(
                replace(each, used_before=each.used_before or each.message_id in used) for each in suspicion.candidates
            ),
        )
        for suspicion in suspicions
    ]


def note(conn: Connection, details: Mapping[int, Mapping[str, Any]]) -> int:
    """Keep an incident for each report row in ``details``; return how many are new."""
    if not details:
        return 0
    parameters = {"subject_ids": list(details), "details": [json.dumps(each) for each in details.values()]}
    return conn.execute(_ELSEWHERE["note_replaced"], parameters).rowcount


def withdraw(conn: Connection, spans: Spans) -> int:
    """Withdraw what has turned out otherwise; return how many incidents are gone.

    An incident is gone when its report's id was tracked after all, or when every message it named has reported since.
    """
    tracked = conn.execute(_ELSEWHERE["withdraw_tracked"]).rowcount
    return tracked + conn.execute(_ELSEWHERE["withdraw_reported"], _parameters(spans)).rowcount


def list_incidents(conn: Connection, *, kind: str | None, limit: int) -> Sequence[Row[Any]]:
    """Return up to ``limit`` incidents, of any kind if ``kind`` is None, newest first, with their event's ids."""
    return conn.execute(_ELSEWHERE["list_incidents"], {"kind": kind, "limit": limit}).all()


def count_incidents(conn: Connection) -> dict[str, int]:
    """Count the incidents of each kind."""
    return {row.kind: row.incidents for row in conn.execute(_ELSEWHERE["count_incidents"])}
