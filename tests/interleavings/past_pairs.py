"""Pairs in which an operator brings in or corrects the past, beside what comes over the streams: in any database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from tests.interleavings.mails import AT, A, B, C, Mail, clicked, delivered, opened, tracking
from tests.interleavings.pairs import Pair
from tests.interleavings.stage import Work
from tests.interleavings.truth import Truth, fate
from tests.interleavings.works import (
    archived,
    backfill,
    bring_in,
    drain,
    logged,
    make_due,
    purge,
    repair,
    replay,
    sql,
    sweep,
    track,
    undo,
)

_ROWS = [(A.internet, A.azure), (B.internet, B.azure)]
_LOST = [opened(A, "1"), clicked(B, "2"), delivered(A, "3"), delivered(B, "4")]
_MAILS = [tracking(A, azure=True), tracking(B, azure=True)]
_ALL = {"1": fate(A), "2": fate(B), "3": fate(A), "4": fate(B)}
_ACTS: dict[str, Any] = {"views": {11: 1}, "clicks": {12: 1}}


def _replaced(*mails: Mail) -> Work:
    """Have mails tracked by the replaced system, which wrote down an id of its own in place of Azure's."""
    return sql(
        *(
            "INSERT INTO azure_message_tracking (azure_message_id, campaign_id, subscriber_id, tracked_via)"
            f" VALUES ('{mail.internet[1:37]}', {mail.campaign}, {mail.subscriber}, 'imported')"
            for mail in mails
        )
    )


def _stored(mail: Mail, seconds: float, *, credited_to: Mail | None = None, internet: bool = False) -> Work:
    """Have a view that the replaced system stored without a word of which event it is, and perhaps guessed wrong."""
    whose = credited_to or mail
    message_id = f"'{mail.internet}'" if internet else "NULL"
    return sql(
        "INSERT INTO azure_engagement_events (internet_message_id, azure_message_id, campaign_id, subscriber_id,"
        " engagement_type, event_timestamp, state, matched_by)"
        f" VALUES ({message_id}, '{mail.azure}', {whose.campaign}, {whose.subscriber}, 'view',"
        f" '{AT + timedelta(seconds=seconds)}', 'attributed', 'replaced_system')"
    )


#: The replaced system sent its mails with a Message-ID made of its own id.
_OLD_A, _OLD_B = (mail._replace(internet=f"<{UUID(int=UUID(mail.azure).int + 256)}@listmonk>") for mail in (A, B))
_OLD_ROWS = [(mail.internet, mail.internet[1:37]) for mail in (_OLD_A, _OLD_B)]
_OLD = [opened(_OLD_A, "1"), clicked(_OLD_B, "2"), delivered(_OLD_A, "3"), delivered(_OLD_B, "4")]
#: Views whose rows the replaced system dated to the microsecond, and to the millisecond.
_DATED = [opened(A, "1", seconds=0.5), opened(B, "2", seconds=0.123456)]


def _adopted(first: str, second: str) -> list[Pair]:
    """Return the pair of an import and a drain that bring the same events, which the replaced system has stored."""
    events = [opened(A, first, seconds=0.5), opened(B, second, seconds=0.123456)]
    fates = {first: fate(A), second: fate(B)}
    return [
        Pair(
            f"import and drain, of events {first} and {second} that the replaced system stored",
            before=[track(*_MAILS), _stored(A, 0.5), _stored(B, 0.123), logged(*events)],
            one=bring_in,
            other=drain(*events),
            truth=[
                Truth(fates, tracked=_ROWS, untold=["1", "2"]),
                # The drain was first, and knows nothing of adoption.
                Truth(fates, tracked=_ROWS, nameless=[fate(A), fate(B)], views={11: 1, 12: 1}),
            ],
            passing=["55P03", "23505"],
        )
    ]


PAIRS = [
    Pair(
        "replay and drain, of the same events",
        before=[archived(*_LOST, trackings=_MAILS)],
        one=replay,
        other=drain(*reversed(_LOST)),
        truth=Truth(_ALL, tracked=_ROWS, **_ACTS),
    ),
    Pair(
        "replay and track",
        before=[archived(*_LOST)],
        one=replay,
        other=track(*reversed(_MAILS)),
        truth=Truth(_ALL, tracked=_ROWS, **_ACTS),
    ),
    Pair(
        "replay and replay",
        rare=True,
        before=[archived(*_LOST, trackings=_MAILS)],
        one=replay,
        other=replay,
        truth=Truth(_ALL, tracked=_ROWS, **_ACTS),
    ),
    Pair(
        "replay and sweep",
        rare=True,
        before=[drain(*_LOST[:2]), archived(*_LOST, trackings=_MAILS), make_due],
        one=replay,
        other=sweep,
        truth=Truth(_ALL, tracked=_ROWS, **_ACTS),
    ),
    Pair(
        "replay and purge, of the same bodies",
        before=[archived(*_LOST, trackings=_MAILS)],
        one=replay,
        other=purge,
        truth=[Truth(_ALL, tracked=_ROWS, **_ACTS), Truth({}, tracked=_ROWS), Truth({}, tracked=[])],
    ),
    *_adopted("1", "2"),
    *_adopted("2", "1"),
    Pair(
        "import and import, of the same log",
        rare=True,
        before=[track(*_MAILS), _stored(B, 0.123), _stored(A, 0.5), logged(*_DATED, delivered(A, "3"))],
        one=bring_in,
        other=bring_in,
        truth=Truth({"1": fate(A), "2": fate(B), "3": fate(A)}, tracked=_ROWS, untold=["1", "2"]),
        passing=["55P03"],
    ),
    Pair(
        "import and backfill, of the same log",
        rare=True,
        before=[track(*_MAILS), _stored(B, 0.123), _stored(A, 0.5), logged(*_DATED)],
        one=bring_in,
        other=backfill,
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=_ROWS, untold=["1", "2"]),
        passing=["55P03", "23505"],
    ),
    Pair(
        "backfill and drain, of mails whose ids the log tells",
        before=[_replaced(_OLD_B, _OLD_A), drain(*_OLD[:2]), logged(*_OLD)],
        one=backfill,
        other=drain(*reversed(_OLD)),
        truth=Truth(_ALL, tracked=_OLD_ROWS, **_ACTS),
        passing=["55P03"],
    ),
    Pair(
        "backfill and sweep",
        before=[_replaced(_OLD_B, _OLD_A), drain(*_OLD), logged(*_OLD), make_due],
        one=backfill,
        other=sweep,
        truth=Truth(_ALL, tracked=_OLD_ROWS, **_ACTS),
        passing=["55P03"],
    ),
    Pair(
        "backfill and track, of other mails",
        before=[_replaced(_OLD_A), drain(*_OLD[::2], opened(B, "5")), logged(*_OLD)],
        one=backfill,
        other=track(tracking(B), tracking(C)),
        truth=Truth(
            {"1": fate(A), "3": fate(A), "5": fate(B)},
            tracked=[_OLD_ROWS[0], (B.internet, None), (C.internet, None)],
            views={11: 1, 12: 1},
        ),
        passing=["55P03"],
    ),
    Pair(
        "backfill and replay",
        rare=True,
        before=[_replaced(_OLD_B, _OLD_A), drain(*_OLD[:2]), logged(*_OLD), archived(*reversed(_OLD))],
        one=backfill,
        other=replay,
        truth=Truth(_ALL, tracked=_OLD_ROWS, **_ACTS),
        passing=["55P03"],
    ),
    Pair(
        "repair and drain, of events of the same mails",
        before=[track(*_MAILS), _stored(A, 1, credited_to=C), _stored(B, 2, credited_to=C), _stored(A, 3)],
        one=repair,
        other=drain(*_LOST),
        truth=Truth(_ALL, tracked=_ROWS, nameless=[fate(A), fate(B), fate(A)], **_ACTS),
        passing=["55P03"],
    ),
    Pair(
        "undoing of a repair and drain",
        before=[track(*_MAILS), _stored(A, 1, credited_to=C), _stored(B, 2, credited_to=C), repair],
        one=undo,
        other=drain(*_LOST),
        truth=Truth(_ALL, tracked=_ROWS, nameless=[fate(C), fate(C)], **_ACTS),
        passing=["55P03"],
    ),
]
