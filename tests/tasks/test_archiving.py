"""Bodies packed into one value and back."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tasks.archive_dictionary import DICTIONARIES
from tasks.archiving import ArchiveUnreadable, pack, unpack
from tasks.batch import Body
from tests.tasks.payloads import RECEIVED_AT, body_of, delivery, engagement

BODIES = [
    Body(body_of(engagement("e1"), delivery("d1")), "1768040400000-0", RECEIVED_AT),
    Body(b"\xff\x00 no JSON at all", None, RECEIVED_AT - timedelta(seconds=3)),
    Body(b"", "1768040400002-0", RECEIVED_AT + timedelta(microseconds=1)),
]


def test_bodies_come_back_as_they_were_in_their_order() -> None:
    packed = pack(BODIES)
    assert unpack(packed.content) == BODIES
    assert packed[:4] == (
        BODIES[1].received_at,
        BODIES[2].received_at,
        3,
        sum(len(body.body) for body in BODIES),
    )


@given(st.lists(st.builds(Body, st.binary(), st.none() | st.text(), st.just(RECEIVED_AT)), min_size=1))
def test_any_bytes_come_back(bodies: list[Body]) -> None:
    assert unpack(pack(bodies).content) == bodies


def test_the_samples_make_a_single_event_half_as_large() -> None:
    body = json.dumps([engagement("8a1f0c52-3b77-4d19-9e02-6c5f21d0ab47")], separators=(",", ":")).encode()
    packed = pack([Body(body, "1768040400000-0", RECEIVED_AT)])
    assert 2 * len(packed.content) < len(zstandard.ZstdCompressor(level=1).compress(body))


def test_the_dictionaries_that_archives_are_packed_with_never_change() -> None:
    assert {number: sha256(samples).hexdigest()[:16] for number, samples in DICTIONARIES.items()} == {
        1: "60286d31b67ebf68",
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"\xff" + content[1:],
        lambda content: content[:-1],
        lambda content: content + b"!",
        lambda content: content[:99] + bytes([content[99] ^ 1]) + content[100:],
        lambda content: content[:1] + b"no frame",
        lambda content: content[:1] + zstandard.ZstdCompressor().compress(b"no MessagePack"),
        # A frame that does not say how much it becomes.
        lambda content: content[:1] + zstandard.ZstdCompressor(write_content_size=False).compress(b"\x90" * 100),
    ],
    ids=["empty", "later release", "cut off", "too long", "one bit", "no frame", "no bodies", "no size"],
)
def test_what_is_damaged_is_refused(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(ArchiveUnreadable):
        unpack(damage(pack(BODIES).content))


def test_what_would_become_too_large_is_refused_before_it_does() -> None:
    bomb = pack([Body(b"\0" * 1_000_000, None, RECEIVED_AT)])
    assert len(bomb.content) < 1000
    with pytest.raises(ArchiveUnreadable, match="more than 999999 bytes"):
        unpack(bomb.content, max_bytes=999_999)
