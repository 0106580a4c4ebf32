"""Statements that have each written half of their rows: a third transaction holds the row between the halves."""

from __future__ import annotations

from uuid import UUID

import pytest

from tasks.eventgrid import event_key
from tests.interleavings.mails import TWISTED, A, B, C, Mail, clicked, delivered, opened, tracking
from tests.interleavings.pairs import Pair, perform
from tests.interleavings.stage import Player, Stage, Work
from tests.interleavings.truth import PARKED, Truth, fate
from tests.interleavings.works import drain, track
from tests.tasks.payloads import SOURCE

pytestmark = pytest.mark.timeout(300)


def _hold(statement: str, *values: object) -> Work:
    """Lock what a statement locks or writes, and take it back when the others have come to wait."""

    def hold(player: Player) -> None:
        with player.elsewhere() as connection:
            connection.execute(statement.encode(), values)
            connection.execute("SELECT 1")  # the gate to be held at
            connection.rollback()

    return hold


def _hold_message(mail: Mail) -> Work:
    return _hold(
        "INSERT INTO azure_message_tracking (internet_message_id, campaign_id, subscriber_id) VALUES (%s, 7, 11)",
        mail.internet,
    )


_TWISTED_A, _TWISTED_B = TWISTED[A], TWISTED[B]
#: Between the two by its Message-ID.
_BETWEEN = Mail("<aa@example.com>", C.azure, C.campaign, C.subscriber)
_TWISTED_ROWS = [(A.internet, B.azure), (B.internet, A.azure)]
_BY_AZURE_ALONE = track(
    tracking(_TWISTED_A, internet=False, azure=True), tracking(_TWISTED_B, internet=False, azure=True)
)
#: Ids of events, in the order of their event keys, in which they are written.
_FIRST, _MIDDLE, _LAST = sorted("123", key=lambda event_id: event_key(SOURCE, event_id))
_URLS = [f"https://www.example.com/{name}" for name in "abc"]

PAIRS = [
    (
        Pair(
            "drain and drain, of the same events",
            one=drain(*(opened(A, event_id) for event_id in "123")),
            other=drain(*(opened(A, event_id) for event_id in "321")),
            truth=Truth({"1": PARKED, "2": PARKED, "3": PARKED}, tracked=[]),
        ),
        _hold(
            "INSERT INTO azure_engagement_events (event_key, engagement_type, event_timestamp, state)"
            " VALUES (%s, 'view', now(), 'parked')",
            UUID(bytes=event_key(SOURCE, _MIDDLE)),
        ),
    ),
    (
        Pair(
            "track and track, of the same messages",
            one=track(tracking(A), tracking(B), tracking(C)),
            other=track(tracking(C), tracking(B), tracking(A)),
            truth=Truth({}, tracked=[(mail.internet, None) for mail in (A, B, C)]),
        ),
        _hold_message(B),
    ),
    (
        Pair(
            "track and track, by ids whose orders differ",
            one=track(*(tracking(mail, azure=True) for mail in (_TWISTED_A, _BETWEEN, _TWISTED_B))),
            other=_BY_AZURE_ALONE,
            truth=Truth({}, tracked=[*_TWISTED_ROWS, (_BETWEEN.internet, C.azure)]),
            passing=["55P03"],
        ),
        _hold_message(_BETWEEN),
    ),
    (
        Pair(
            "drain and track, which learn Azure's ids in orders that differ",
            before=[track(tracking(_TWISTED_A)), track(tracking(C)), track(tracking(_TWISTED_B))],
            one=drain(delivered(_TWISTED_A, "1"), delivered(C, "2"), delivered(_TWISTED_B, "3")),
            other=_BY_AZURE_ALONE,
            truth=[
                Truth({"1": fate(A), "2": fate(C), "3": fate(B)}, tracked=[*_TWISTED_ROWS, (C.internet, C.azure)]),
                # The mailer was first, and tracked the same mails under another id.
                Truth(
                    {"1": fate(A), "2": fate(C), "3": fate(B)},
                    tracked=[
                        *((mail.internet, None) for mail in (A, B)),
                        *((None, mail.azure) for mail in (A, B)),
                        (C.internet, C.azure),
                    ],
                ),
            ],
            passing=["55P03"],
        ),
        _hold("SELECT FROM azure_message_tracking WHERE internet_message_id = %s FOR UPDATE", C.internet),
    ),
]
LISTMONK_PAIRS = [
    (
        Pair(
            "drain and drain, of the first clicks on the same links",
            before=[track(tracking(A), tracking(B))],
            one=drain(*(clicked(A, str(number), url) for number, url in enumerate(_URLS))),
            other=drain(*(clicked(B, str(number + 3), url) for number, url in enumerate(reversed(_URLS)))),
            truth=Truth(
                {str(number): fate(A if number < 3 else B) for number in range(6)},
                tracked=[(A.internet, None), (B.internet, None)],
                clicks={11: 3, 12: 3},
            ),
        ),
        _hold("INSERT INTO links (uuid, url) VALUES (gen_random_uuid(), %s)", _URLS[1]),
    ),
]


def _named(pairs: list[tuple[Pair, Work]]) -> list[str]:
    return [pair.name for pair, _ in pairs]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["one first", "other first"])
@pytest.mark.parametrize(("pair", "hold"), PAIRS, ids=_named(PAIRS))
def test_halves_of_two_statements_never_wait_for_each_other(
    stage: Stage, pair: Pair, hold: Work, order: tuple[int, int]
) -> None:
    meet_half_way(stage, pair, hold, order)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["one first", "other first"])
@pytest.mark.parametrize(("pair", "hold"), LISTMONK_PAIRS, ids=_named(LISTMONK_PAIRS))
def test_nor_do_they_in_listmonks_tables(listmonk_stage: Stage, pair: Pair, hold: Work, order: tuple[int, int]) -> None:
    meet_half_way(listmonk_stage, pair, hold, order)


def meet_half_way(stage: Stage, pair: Pair, hold: Work, order: tuple[int, int]) -> None:
    """Have the first come to wait for what is held, then the second, and then let go."""
    stage.set_scene(*pair.before)
    first, second = order
    actors = perform(
        stage,
        pair,
        [pair.one, pair.other, hold],
        [(2, 2), (first, None), (second, None), (2, None)],
        looks_later=True,
    )
    assert any(actor.waited for actor in actors), "nobody has come to wait for what is held"
