"""Event Grid's retry policy, as its documentation has it."""

from __future__ import annotations

import pytest

from simulator import retry

MINUTE, HOUR = 60, 3600


def test_waits_follow_the_documented_schedule() -> None:
    waits = [retry.wait_before(attempt, 500) for attempt in range(2, 14)]
    assert waits == [
        10, 30, MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE,
        HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "shortest"), [(503, 30), (408, 120), (404, 300), (429, 10), (500, 10), (302, 10), (None, 10)]
)
def test_first_wait_is_never_shorter_than_the_answer_asks_for(status: int | None, shortest: int) -> None:
    assert retry.wait_before(2, status) == shortest
    assert retry.wait_before(7, status) == 30 * MINUTE


def test_codes_that_are_success_and_codes_that_are_final() -> None:
    assert sorted(retry.SUCCESS) == [200, 201, 202, 203, 204]
    assert sorted(retry.NEVER_RETRIED) == [400, 401, 403, 413]
