"""Work that has grown too large for one statement is done in smaller pieces, and so is always caught up with."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError, OperationalError

from db.listmonk.native import Watched
from db.parking import Swept
from db.results import Results
from tasks import parked
from tasks.context import Context
from tasks.patience import Pieces, patiently, said_of

#: More rows than this take longer than a statement may.
TOO_MANY = 700


def run_for(conn: Connection, rows: int) -> None:
    """Take as long as a statement over so many rows would: longer than it may, if they are too many."""
    conn.execute(text("SET LOCAL statement_timeout = 20"))
    conn.execute(text("SELECT pg_sleep(CASE WHEN :rows > :too_many THEN 10 ELSE 0 END)"), vars_of(rows))


def vars_of(rows: int) -> dict[str, int]:
    return {"rows": rows, "too_many": TOO_MANY}


def over(ctx: Context, tried: list[int]) -> Callable[[int], int]:
    def transaction(rows: int) -> int:
        tried.append(rows)
        with ctx.engine.begin() as conn:
            run_for(conn, rows)
        return rows

    return transaction


@pytest.fixture(autouse=True)
def _unlearnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked, "_sweeping", Pieces())
    monkeypatch.setattr(parked, "_watching", Pieces())


def test_a_transaction_that_is_tried_again_says_so_once_and_why_without_its_statement(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    read_only = ["on", "on", "on", "off"]

    def transaction() -> None:
        with ctx.engine.begin() as conn:
            conn.execute(text(f"SET LOCAL transaction_read_only = {read_only.pop(0)}"))
            conn.execute(text("DELETE FROM attribution_tallies"))

    with caplog.at_level(logging.INFO, logger="tasks.patience"):
        patiently(transaction)
    assert not read_only
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "Retrying a transaction, for 20 s at most: InternalError: (ReadOnlySqlTransaction) cannot execute DELETE in a"
        " read-only transaction (25006)"
    )


def test_what_is_said_of_an_error_holds_no_row_and_no_statement(ctx: Context) -> None:
    with pytest.raises(DataError) as raised, ctx.engine.begin() as conn:
        conn.execute(text("DELETE FROM attribution_tallies WHERE reasons = CAST('a@example.com' AS jsonb)"))
    assert said_of(raised.value) == "DataError: (InvalidTextRepresentation) InvalidTextRepresentation (22P02)"
    assert said_of(OperationalError("SELECT", None, Exception("no a@example.com\nhere"))) == (
        "OperationalError: (builtins.Exception) no [address]"
    )


def test_what_takes_too_long_is_done_in_pieces_whose_size_is_found_soon_and_kept(ctx: Context) -> None:
    tried: list[int] = []
    pieces = Pieces()
    assert pieces.run(over(ctx, tried), 5000) == 625
    assert tried == [5000, 625]
    assert pieces.run(over(ctx, tried), 5000) == 88  # a little more was too much
    assert pieces.run(over(ctx, tried), 5000) == 100
    assert tried == [5000, 625, 704, 88, 100]
    assert pieces.run(over(ctx, tried), 50) == 50


def test_when_there_is_time_for_all_again_all_is_done_at_once(ctx: Context) -> None:
    pieces = Pieces()
    pieces.run(over(ctx, []), 1000)
    sizes = [pieces.run(lambda rows: rows, 1000) for _ in range(30)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 1000


def test_where_even_one_row_takes_too_long_it_says_so(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.tasks.test_patience.TOO_MANY", 0)
    tried: list[int] = []
    with pytest.raises(OperationalError, match="statement timeout"):
        Pieces().run(over(ctx, tried), 10)
    assert tried == [10, 1]


def test_any_other_failure_is_not_for_the_number_of_rows(ctx: Context) -> None:
    def fail(_rows: int) -> None:
        with ctx.engine.begin() as conn:
            conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(OperationalError):
        Pieces().run(fail, 4)


def test_a_watch_that_has_fallen_behind_catches_up(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    left = 3000

    def watch_native(_results: Results, conn: Connection, *, limit: int) -> Watched:
        nonlocal left
        run_for(conn, min(limit, left))
        taken = min(limit, left)
        left -= taken
        return Watched(taken, more=left > 0)

    monkeypatch.setattr(Results, "watch_native", watch_native)
    assert parked.watch(ctx) == 3000


def test_a_sweep_that_has_fallen_behind_catches_up(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def sweep(conn: Connection, *, limit: int, **_settings: object) -> Swept:
        run_for(conn, limit)
        return Swept(parked=limit)

    monkeypatch.setattr(parked, "sweep", sweep)
    assert parked.retry_due(ctx).parked == ctx.settings.sweep_limit // 8
