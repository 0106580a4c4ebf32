"""How much of a body is taken apart, and of bodies is taken together: what keeps memory and time in bounds."""

from __future__ import annotations

import pytest

from tasks.drain import batches_of
from tests.hostile.bad_events import LARGEST_BODY, MEBIBYTE
from tests.tasks.payloads import body_of, engagement
from worker.json_parts import MOST_PARTS, holds_more_parts, split_parts
from worker.messages import Problem, parse_trackings, split_trackings
from worker.stream_consumer import Entry
from worker.streams import EVENTS, MESSAGES

SMALL = b'{"campaign_id":7,"internet_message_id":"a"}'


def entries(stream: str, *bodies: bytes) -> list[Entry]:
    return [Entry(stream, f"{number}-0", body, 1) for number, body in enumerate(bodies, 1)]


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"[]", 1),
        (b"[1]", 1),
        (b"[1,2,3]", 3),
        (b"[1,2,3", 2),
        (b' [ "a,b" , {"c": [1,2]} ]', 2),
        (b'["a,b,c', 0),
        (b"1,2,3", 0),
        (b"{}", 0),
        (b",,,", 0),
    ],
)
def test_parts_are_counted_as_far_as_they_go(body: bytes, parts: int) -> None:
    assert [holds_more_parts(body, most) for most in range(4)] == [most < parts for most in range(4)]


@pytest.mark.parametrize("quotes", [b'\\"', b'"', b'",', b'"\\\\', b'{"'])
def test_a_string_without_end_is_split_in_time(quotes: bytes) -> None:
    """Looked for at each quotation mark again, its end would take days: the square of some millions of steps."""
    body = b'["' + quotes * (LARGEST_BODY // len(quotes))
    assert split_parts(body) == [body]


def test_a_batch_of_tiny_elements_is_cut_where_one_of_events_is_not() -> None:
    events = body_of(*(engagement(f"e{number}") for number in range(1000)))
    tiny = b"[" + b",".join([b"1"] * (len(events) // 2)) + b"]"
    most = 4 * len(events)
    assert [len(batch.entries) for batch in batches_of(entries(EVENTS, *[events] * 4), max_bytes=most)] == [4]
    assert [len(batch.entries) for batch in batches_of(entries(EVENTS, *[tiny] * 4), max_bytes=most)] == [1, 1, 1, 1]


def test_a_call_of_more_items_than_its_bytes_can_hold_is_one_problem() -> None:

    for body in (b"[" + b",".join([b"{}"] * MEBIBYTE) + b"]", b"{}\n" * MEBIBYTE, b"{}\r" * MEBIBYTE):
        (problem,) = parse_trackings(body)
        assert isinstance(problem, Problem)
        assert (problem.index, problem.body) == (0, body)


def test_a_mailer_at_another_door_may_send_any_number_of_trackings_at_once() -> None:

    for body in (b"[" + b",".join([SMALL] * 4 * MOST_PARTS) + b"]", b"\n".join([SMALL] * 4 * MOST_PARTS)):
        assert len(parse_trackings(body)) == len(split_trackings(body)) == 4 * MOST_PARTS
        assert len(batches_of(entries(MESSAGES, body), max_bytes=4 * MEBIBYTE)) == 1
