"""Pairs that play in listmonk's database alone: beside its pixel and redirect, and beside its deletions."""

from __future__ import annotations

from tests.interleavings.mails import OF_ANOTHER, OFFER, A, B, clicked, delivered, opened, tracking
from tests.interleavings.pairs import Pair
from tests.interleavings.truth import PARKED, Truth, fate
from tests.interleavings.works import count, drain, make_due, pixel, redirect, sql, sweep, track, watch

_ROWS = [(A.internet, None), (B.internet, None)]
_TRACKED = track(tracking(A), tracking(B))
_OTHER_URL = "https://www.example.com/other"
_DELETE_CAMPAIGN = sql(f"DELETE FROM campaigns WHERE id = {OF_ANOTHER.campaign}")
_DELETE_SUBSCRIBER = sql(f"DELETE FROM subscribers WHERE id = {OF_ANOTHER.subscriber}")
_FOREIGN = (
    "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, subscriber_id)"
    f" VALUES ('{OF_ANOTHER.internet}', {OF_ANOTHER.campaign}, {OF_ANOTHER.subscriber})"
)

PAIRS = [
    Pair(
        "native pixel and drain, of the same views",
        before=[_TRACKED],
        one=pixel(B, A, seconds=1),
        other=drain(opened(A, "1"), opened(B, "2")),
        afterwards=[watch],
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=_ROWS, views={11: 1, 12: 1}),
    ),
    Pair(
        "native redirect and drain, of the same click on a new link",
        before=[_TRACKED],
        one=redirect(A, OFFER, seconds=1),
        other=drain(clicked(A, "1"), clicked(B, "2", _OTHER_URL)),
        afterwards=[watch],
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=_ROWS, clicks={11: 1, 12: 1}),
    ),
    Pair(
        "native pixel and track, of a view that waits",
        before=[drain(opened(A, "1"), opened(B, "2"))],
        one=pixel(A, seconds=-1),
        other=_TRACKED,
        afterwards=[watch],
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=_ROWS, views={11: 1, 12: 1}),
    ),
    Pair(
        "native pixel and watch",
        before=[_TRACKED, drain(opened(A, "1"), opened(B, "2"))],
        one=pixel(A, B, seconds=1),
        other=watch,
        afterwards=[watch],
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=_ROWS, views={11: 1, 12: 1}),
    ),
    Pair(
        "watch and drain, of acts that change hands",
        before=[_TRACKED, drain(opened(A, "1", seconds=4), opened(B, "2")), pixel(A, B, seconds=2)],
        one=watch,
        other=drain(opened(A, "3", seconds=-2), opened(B, "4", seconds=6)),
        truth=Truth({"1": fate(A), "2": fate(B), "3": fate(A), "4": fate(B)}, tracked=_ROWS, views={11: 2, 12: 2}),
    ),
    Pair(
        "watch and sweep",
        before=[
            _TRACKED,
            drain(opened(A, "1")),
            drain(opened(OF_ANOTHER, "2")),
            sql(_FOREIGN),
            pixel(A, OF_ANOTHER, seconds=1),
            make_due,
        ],
        one=watch,
        other=sweep,
        truth=Truth(
            {"1": fate(A), "2": fate(OF_ANOTHER)},
            tracked=[*_ROWS, (OF_ANOTHER.internet, None)],
            views={11: 1, 15: 1},
        ),
    ),
    Pair(
        "watch and watch",
        before=[_TRACKED, drain(opened(A, "1"), opened(B, "2")), pixel(B, A, seconds=1)],
        one=watch,
        other=watch,
        truth=Truth({"1": fate(A), "2": fate(B)}, tracked=_ROWS, views={11: 1, 12: 1}),
    ),
    Pair(
        "drain and track, which both teach a message and count its views natively",
        before=[drain(delivered(A, "1"), opened(A, "2")), pixel(A, seconds=1), pixel(A, seconds=21)],
        one=drain(delivered(A, "3"), opened(A, "4", seconds=20)),
        other=track(tracking(A)),
        truth=Truth(
            {"1": fate(A), "2": fate(A), "3": fate(A), "4": fate(A)}, tracked=[(A.internet, A.azure)], views={11: 2}
        ),
    ),
    Pair(
        "drain and track, which both teach a message and add a link",
        before=[drain(delivered(A, "1"), clicked(A, "2"))],
        one=drain(delivered(A, "3"), clicked(A, "4")),
        other=track(tracking(A)),
        truth=Truth(
            {"1": fate(A), "2": fate(A), "3": fate(A), "4": fate(A)}, tracked=[(A.internet, A.azure)], clicks={11: 2}
        ),
    ),
    Pair(
        "drain and drain, of the first clicks on the same links",
        before=[_TRACKED],
        one=drain(clicked(A, "1"), clicked(B, "2", _OTHER_URL)),
        other=drain(clicked(A, "3", _OTHER_URL), clicked(B, "4")),
        truth=Truth({"1": fate(A), "2": fate(B), "3": fate(A), "4": fate(B)}, tracked=_ROWS, clicks={11: 2, 12: 2}),
    ),
    Pair(
        "deletion of a campaign and drain, of a report that teaches",
        before=[track(tracking(OF_ANOTHER), tracking(A))],
        one=_DELETE_CAMPAIGN,
        other=drain(delivered(OF_ANOTHER, "1"), opened(OF_ANOTHER, "2"), opened(A, "3")),
        truth=[
            Truth({"3": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
            Truth({"1": PARKED, "2": PARKED, "3": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
        ],
        passing=["23503"],
    ),
    Pair(
        "deletion of a subscriber and drain, of a report that teaches",
        before=[track(tracking(OF_ANOTHER), tracking(A))],
        one=_DELETE_SUBSCRIBER,
        other=drain(delivered(OF_ANOTHER, "1"), opened(OF_ANOTHER, "2"), opened(A, "3")),
        truth=[
            Truth({"3": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
            Truth({"3": fate(A)}, tracked=[(A.internet, None)], views={11: 1, None: 1}),
            Truth({"1": PARKED, "2": PARKED, "3": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
        ],
        passing=["23503"],
    ),
    Pair(
        "deletion of a campaign and track",
        before=[drain(opened(OF_ANOTHER, "1"), opened(A, "2"))],
        one=_DELETE_CAMPAIGN,
        other=track(tracking(OF_ANOTHER), tracking(A)),
        truth=[
            Truth({"2": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
            Truth({"1": PARKED, "2": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
            Truth({"1": PARKED, "2": fate(A)}, tracked=[(A.internet, None)], views={11: 1}, quarantined=1),
        ],
        passing=["23503"],
    ),
    Pair(
        "deletion of a campaign and sweep",
        before=[drain(delivered(OF_ANOTHER, "1"), opened(OF_ANOTHER, "2")), sql(_FOREIGN), make_due],
        one=_DELETE_CAMPAIGN,
        other=sweep,
        truth=[Truth({}, tracked=[]), Truth({"1": PARKED, "2": PARKED}, tracked=[])],
        passing=["23503"],
    ),
    Pair(
        "deletion of a campaign and count",
        before=[track(tracking(OF_ANOTHER), tracking(A)), drain(delivered(OF_ANOTHER, "1"), opened(A, "2"))],
        one=_DELETE_CAMPAIGN,
        other=count,
        truth=Truth({"2": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
    ),
    Pair(
        "deletion of a campaign and watch",
        before=[
            track(tracking(OF_ANOTHER), tracking(A)),
            drain(opened(OF_ANOTHER, "1"), opened(A, "2")),
            pixel(A, OF_ANOTHER, seconds=1),
        ],
        one=_DELETE_CAMPAIGN,
        other=watch,
        afterwards=[watch],
        truth=Truth({"2": fate(A)}, tracked=[(A.internet, None)], views={11: 1}),
    ),
]
