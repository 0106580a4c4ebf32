"""listmonk's own pixel and redirect: rows as listmonk writes them, and each of them in the ledger."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from simulator import oracle
from simulator.pixel import Firing, Pixel
from simulator.truth import Listmonk, Native, Truth

AT = datetime(2026, 1, 10, 10, tzinfo=UTC)
OFFER = "https://www.example.com/offer"
VIEW = Firing("view", 41, 12, None, AT, "an open")
CLICKS = [Firing("click", 41, 12, OFFER, AT + timedelta(seconds=n), None) for n in range(2)]


def fire(url: str, *firings: Firing, individual_tracking: bool = True) -> Truth:
    truth = Truth()

    async def run() -> None:
        pixel = Pixel(url, truth=truth, individual_tracking=individual_tracking)
        await pixel.fire(firings[:1])
        await pixel.fire(firings[1:])
        await pixel.close()

    asyncio.run(run())
    return truth


@pytest.mark.parametrize("individual_tracking", [True, False])
def test_each_act_has_a_row_and_is_written_down(listmonk_database_url: str, individual_tracking: bool) -> None:
    truth = fire(listmonk_database_url, VIEW, *CLICKS, individual_tracking=individual_tracking)
    assert truth.listmonk == Listmonk(individual_tracking)
    reader = 12 if individual_tracking else None
    assert [(act.what, act.subscriber_id, act.event_id) for act in truth.native] == [
        ("view", reader, "an open"),
        ("click", reader, None),
        ("click", reader, None),
    ]
    with oracle.connect(listmonk_database_url) as connection:
        assert rows(connection, "SELECT id, campaign_id, subscriber_id, NULL, created_at FROM campaign_views") == {
            as_row(act) for act in truth.native[:1]
        }
        assert rows(
            connection,
            "SELECT c.id, campaign_id, subscriber_id, url, c.created_at"
            " FROM link_clicks AS c JOIN links ON links.id = link_id",
        ) == {as_row(act) for act in truth.native[1:]}


def test_pixel_that_never_fires_needs_no_connection() -> None:
    async def run() -> None:
        await Pixel("postgresql://127.0.0.1:1/nowhere", truth=Truth()).close()

    asyncio.run(run())


def rows(connection: psycopg.Connection[Any], query: str) -> set[tuple[object, ...]]:
    return set(connection.execute(query.encode()).fetchall())


def as_row(act: Native) -> tuple[object, ...]:
    return act.row_id, act.campaign_id, act.subscriber_id, act.link, act.at
