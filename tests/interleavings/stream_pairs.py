"""Pairs of what comes over the streams and what beat and operators run: in any database."""

from __future__ import annotations

from tests.interleavings.mails import TWISTED, A, B, C, D, clicked, delivered, opened, tracking
from tests.interleavings.pairs import Pair
from tests.interleavings.truth import EXPIRED, PARKED, Truth, fate
from tests.interleavings.works import age, alarm, count, drain, expire, make_due, post, purge, retry, sql, sweep, track

_BOTH_ROWS = [(A.internet, A.azure), (B.internet, B.azure)]
#: One mail is known by its Message-ID, the other by Azure's id; the reports of each know both.
_HALF_KNOWN = [track(tracking(A)), track(tracking(B, internet=False, azure=True))]
_TWISTED_A, _TWISTED_B = TWISTED[A], TWISTED[B]
_FOREIGN = (
    "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, subscriber_id) VALUES"
    f" ('{B.internet}', {B.campaign}, {B.subscriber}), ('{A.internet}', {A.campaign}, {A.subscriber})"
)
_MISSPELT = (
    "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, subscriber_id) VALUES"
    f" ('b@EXAMPLE.com', {B.campaign}, {B.subscriber}), ('a@EXAMPLE.com', {A.campaign}, {A.subscriber})"
)

PAIRS = [
    Pair(
        "drain and drain, of the same events",
        before=[track(tracking(A))],
        one=drain(opened(A, "1"), clicked(B, "2"), delivered(A, "3"), delivered(B, "4")),
        other=drain(delivered(B, "4"), delivered(A, "3"), clicked(B, "2"), opened(A, "1")),
        truth=Truth(
            {"1": fate(A), "2": PARKED, "3": fate(A), "4": PARKED}, tracked=[(A.internet, A.azure)], views={11: 1}
        ),
    ),
    Pair(
        "drain and drain, whose reports teach the same messages",
        before=_HALF_KNOWN,
        one=drain(delivered(A, "1"), delivered(B, "2"), opened(A, "5", internet=False)),
        other=drain(delivered(B, "3"), delivered(A, "4"), opened(B, "6")),
        truth=Truth(
            {"1": fate(A), "2": fate(B), "3": fate(B), "4": fate(A), "5": fate(A), "6": fate(B)},
            tracked=_BOTH_ROWS,
            views={11: 1, 12: 1},
        ),
    ),
    Pair(
        "drain and track, the message of an open on its way",
        one=drain(opened(A, "1"), clicked(B, "2"), delivered(B, "3"), opened(C, "4")),
        other=track(tracking(B), tracking(A)),
        truth=Truth(
            {"1": fate(A), "2": fate(B), "3": fate(B), "4": PARKED},
            tracked=[(A.internet, None), (B.internet, B.azure)],
            views={11: 1},
            clicks={12: 1},
        ),
    ),
    Pair(
        "drain and track, a report that teaches what the mailer completes",
        before=_HALF_KNOWN,
        one=drain(delivered(A, "1"), delivered(B, "2")),
        other=track(tracking(B, azure=True), tracking(A, azure=True)),
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=_BOTH_ROWS),
    ),
    Pair(
        "drain and track, which release the same events by different ids",
        before=[drain(opened(B, "1", internet=False)), drain(opened(A, "2"))],
        one=drain(opened(A, "3", internet=False), opened(B, "4", internet=False)),
        other=track(tracking(A, azure=True), tracking(B, internet=False, azure=True)),
        truth=Truth(
            {"1": fate(B), "2": fate(A), "3": fate(A), "4": fate(B)},
            tracked=[(A.internet, A.azure), (None, B.azure)],
            views={11: 2, 12: 2},
        ),
    ),
    Pair(
        "track and track, of the same messages",
        before=[drain(opened(A, "1"), delivered(B, "2"))],
        one=track(tracking(A), tracking(B), tracking(C)),
        other=track(tracking(C), tracking(B), tracking(A)),
        truth=Truth(
            {"1": fate(A), "2": fate(B)},
            tracked=[(A.internet, None), (B.internet, B.azure), (C.internet, None)],
            views={11: 1},
        ),
    ),
    Pair(
        "track and track, before the sending under one id and behind it under both",
        before=[drain(opened(A, "1"), delivered(B, "2"))],
        one=track(tracking(A), tracking(B, internet=False, azure=True), tracking(C)),
        other=track(tracking(C, azure=True), tracking(B, azure=True), tracking(A, azure=True)),
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=[*_BOTH_ROWS, (C.internet, C.azure)], views={11: 1}),
    ),
    Pair(
        "track and track, by ids whose orders differ",
        one=track(tracking(_TWISTED_A, azure=True), tracking(_TWISTED_B, azure=True)),
        other=track(tracking(_TWISTED_A, internet=False, azure=True), tracking(_TWISTED_B, internet=False, azure=True)),
        truth=Truth({}, tracked=[(A.internet, B.azure), (B.internet, A.azure)]),
        passing=["55P03"],
    ),
    Pair(
        "drain and track, which learn Azure's ids of different messages in different orders",
        before=[track(tracking(_TWISTED_A), tracking(_TWISTED_B))],
        one=drain(delivered(_TWISTED_A, "1"), delivered(_TWISTED_B, "2")),
        other=track(tracking(_TWISTED_B, azure=True), tracking(_TWISTED_A, azure=True)),
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=[(A.internet, B.azure), (B.internet, A.azure)]),
        passing=["55P03"],
    ),
    Pair(
        "sweep and track",
        before=[drain(opened(A, "1"), delivered(A, "2"), clicked(B, "3"), opened(C, "4")), make_due],
        one=sweep,
        other=track(tracking(B), tracking(A)),
        truth=Truth(
            {"1": fate(A), "2": fate(A), "3": fate(B), "4": PARKED},
            tracked=[(A.internet, A.azure), (B.internet, None)],
            views={11: 1},
            clicks={12: 1},
        ),
    ),
    Pair(
        "sweep and drain, of what another program has tracked",
        before=[drain(delivered(A, "1"), opened(B, "2")), sql(_FOREIGN), make_due],
        one=sweep,
        other=drain(opened(B, "4"), delivered(B, "3"), delivered(A, "1")),
        truth=Truth({"1": fate(A), "2": fate(B), "3": fate(B), "4": fate(B)}, tracked=_BOTH_ROWS, views={12: 2}),
    ),
    Pair(
        "sweep and sweep, of what another program has tracked",
        before=[drain(delivered(A, "1"), delivered(B, "2"), opened(B, "3")), sql(_FOREIGN), make_due],
        one=sweep,
        other=sweep,
        truth=Truth({"1": fate(A), "2": fate(B), "3": fate(B)}, tracked=_BOTH_ROWS, views={12: 1}),
    ),
    Pair(
        "sweep and track, of ids that another program has misspelt",
        before=[drain(opened(A, "1"), opened(B, "2")), sql(_MISSPELT), make_due],
        one=sweep,
        other=track(tracking(A), tracking(B)),
        truth=[
            Truth({"1": fate(A), "2": fate(B)}, tracked=[(A.internet, None), (B.internet, None)], views={11: 1, 12: 1}),
            # The mailer was first: what the other program wrote is an id that was taken, and is never matched.
            Truth(
                {"1": fate(A), "2": fate(B)},
                tracked=[*((mail, None) for mail in (A.internet, B.internet, "a@EXAMPLE.com", "b@EXAMPLE.com"))],
                views={11: 1, 12: 1},
            ),
        ],
        passing=["23505"],
    ),
    Pair(
        "another program's tracking and drain",
        one=sql(_FOREIGN),
        other=drain(opened(A, "1"), delivered(B, "2"), opened(C, "3")),
        afterwards=[make_due, sweep],
        truth=Truth(
            {"1": fate(A), "2": fate(B), "3": PARKED},
            tracked=[(A.internet, None), (B.internet, B.azure)],
            views={11: 1},
        ),
    ),
    Pair(
        "another program's tracking and sweep",
        before=[drain(opened(A, "1"), delivered(B, "2"), opened(C, "3")), make_due],
        one=sql(_FOREIGN),
        other=sweep,
        afterwards=[make_due, sweep],
        truth=Truth(
            {"1": fate(A), "2": fate(B), "3": PARKED},
            tracked=[(A.internet, None), (B.internet, B.azure)],
            views={11: 1},
        ),
    ),
    Pair(
        "expiry at the deadline and track",
        before=[drain(opened(A, "1"), delivered(A, "2"), opened(B, "3"), opened(C, "4")), age],
        one=sweep,
        other=track(tracking(B), tracking(A)),
        truth=Truth(
            {"1": fate(A), "2": fate(A), "3": fate(B), "4": EXPIRED},
            tracked=[(A.internet, A.azure), (B.internet, None)],
            views={11: 1, 12: 1},
        ),
    ),
    Pair(
        "expiry at the deadline and drain, of the message's first report",
        before=[_HALF_KNOWN[1], drain(opened(B, "1"), opened(C, "4")), age],
        one=sweep,
        other=drain(delivered(B, "2"), opened(B, "3")),
        truth=Truth(
            {"1": fate(B), "2": fate(B), "3": fate(B), "4": EXPIRED}, tracked=[(B.internet, B.azure)], views={12: 2}
        ),
    ),
    Pair(
        "expiry by an operator and track",
        before=[drain(opened(A, "1"), delivered(B, "2"), opened(C, "4"))],
        one=expire,
        other=track(tracking(B), tracking(A)),
        truth=Truth(
            {"1": fate(A), "2": fate(B), "4": EXPIRED},
            tracked=[(A.internet, None), (B.internet, B.azure)],
            views={11: 1},
        ),
    ),
    Pair(
        "expiry by an operator and sweep",
        before=[drain(opened(A, "1"), opened(B, "2"), opened(C, "3")), sql(_FOREIGN), make_due],
        one=expire,
        other=sweep,
        afterwards=[make_due, sweep],
        truth=Truth(
            {"1": fate(A), "2": fate(B), "3": EXPIRED},
            tracked=[(A.internet, None), (B.internet, None)],
            views={11: 1, 12: 1},
        ),
    ),
    Pair(
        "retry by an operator and track, which release the same events by different ids",
        before=[drain(opened(B, "1", internet=False)), drain(opened(A, "2")), drain(opened(C, "3")), expire],
        one=retry,
        other=track(tracking(A, azure=True), tracking(B, internet=False, azure=True)),
        truth=Truth(
            {"1": fate(B), "2": fate(A), "3": PARKED},
            tracked=[(A.internet, A.azure), (None, B.azure)],
            views={11: 1, 12: 1},
        ),
    ),
    Pair(
        "retry by an operator and sweep",
        before=[drain(opened(A, "1"), opened(B, "2")), age, sql(_FOREIGN.split(", (")[0])],
        one=retry,
        other=sweep,
        afterwards=[retry, sweep],
        truth=Truth({"1": EXPIRED, "2": fate(B)}, tracked=[(B.internet, None)], views={12: 1}),
    ),
    Pair(
        "count and drain",
        before=[track(tracking(A), tracking(B)), drain(opened(A, "1"), delivered(A, "2"))],
        one=count,
        other=drain(delivered(B, "4"), opened(A, "3"), opened(A, "1")),
        truth=Truth({"1": fate(A), "2": fate(A), "3": fate(A), "4": fate(B)}, tracked=_BOTH_ROWS, views={11: 2}),
    ),
    Pair(
        "count and sweep",
        before=[drain(opened(A, "1"), delivered(B, "2"), opened(A, "3")), sql(_FOREIGN), make_due],
        one=count,
        other=sweep,
        truth=Truth(
            {"1": fate(A), "2": fate(B), "3": fate(A)},
            tracked=[(A.internet, None), (B.internet, B.azure)],
            views={11: 2},
        ),
    ),
    Pair(
        "count and count",
        before=[track(tracking(A), tracking(B)), drain(opened(A, "1"), delivered(A, "2"), opened(B, "3"))],
        one=count,
        other=count,
        truth=Truth(
            {"1": fate(A), "2": fate(A), "3": fate(B)},
            tracked=[(A.internet, A.azure), (B.internet, None)],
            views={11: 1, 12: 1},
        ),
        passing=["55P03"],
    ),
    Pair(
        "webhook and drain",
        before=[track(tracking(A), tracking(B)), drain(opened(A, "1"), delivered(A, "2"))],
        one=post,
        other=drain(delivered(B, "4"), opened(B, "3")),
        truth=Truth({"1": fate(A), "2": fate(A), "3": fate(B), "4": fate(B)}, tracked=_BOTH_ROWS, views={11: 1, 12: 1}),
    ),
    Pair(
        "webhook and webhook",
        before=[
            track(tracking(A), tracking(B)),
            drain(opened(A, "1"), delivered(A, "2"), opened(B, "3"), delivered(B, "4"), opened(B, "5")),
        ],
        one=post,
        other=post,
        truth=Truth(
            {"1": fate(A), "2": fate(A), "3": fate(B), "4": fate(B), "5": fate(B)},
            tracked=_BOTH_ROWS,
            views={11: 1, 12: 2},
        ),
    ),
    Pair(
        "purge of the archive and drain",
        before=[track(tracking(A)), drain(opened(A, "1"))],
        one=purge,
        other=drain(opened(A, "1"), opened(A, "2")),
        truth=Truth({"1": fate(A), "2": fate(A)}, tracked=[(A.internet, None)], views={11: 2}),
    ),
    Pair(
        "alarm and drain, of a report that its mail is late for",
        before=[drain(delivered(D, "1"))],
        one=alarm,
        other=drain(opened(D, "2"), delivered(D, "1")),
        truth=Truth({"1": PARKED, "2": PARKED}, tracked=[]),
    ),
]
