"""The rule for Message-IDs in SQL and the one in Python are one rule."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.migrate import upgrade
from tests.databases import DatabaseServer
from worker.message_id import LONGEST_MESSAGE_ID, MessageIdInvalid, normalise_message_id


@pytest.fixture(scope="module")
def connection(database_server: DatabaseServer) -> Iterator[psycopg.Connection[Any]]:
    url = database_server.create()
    upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
    database_server.drop(url)


def in_python(text: str) -> str | None:
    try:
        return normalise_message_id(text)
    except MessageIdInvalid:
        return None


def in_sql(connection: psycopg.Connection[Any], texts: list[str]) -> list[str | None]:
    cursor = connection.execute(
        "SELECT attribution_message_id(text) FROM unnest(%s::text[]) WITH ORDINALITY AS t (text, n) ORDER BY n", [texts]
    )
    return [text for (text,) in cursor]


#: Whatever PostgreSQL can store: neither NUL nor half a surrogate pair.
storable = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
blank = st.text(st.sampled_from([chr(n) for n in range(1, sys.maxunicode) if chr(n).isspace()]), max_size=3)
part = st.text(st.sampled_from("aZ.0@<> -_\u00e9\u0130\x7f\x1f\u200b"), max_size=8) | st.text(storable, max_size=8)
near_ids = st.tuples(
    blank, st.sampled_from(["<", ""]), blank, part, st.sampled_from(["@", "", "@@"]), part, blank,
    st.sampled_from([">", ""]), blank,
).map("".join)  # fmt: skip
lengths = st.tuples(
    st.integers(LONGEST_MESSAGE_ID - 15, LONGEST_MESSAGE_ID + 3), st.sampled_from(["{}@Ab", "<{}@Ab>", " <{}> "])
).map(lambda drawn: drawn[1].format("x" * drawn[0]))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(storable, max_size=40) | near_ids | lengths, min_size=1, max_size=50))
def test_sql_and_python_spell_every_message_id_alike(connection: psycopg.Connection[Any], texts: list[str]) -> None:
    assert in_sql(connection, texts) == [in_python(text) for text in texts]


def test_every_character_counts_alike_at_each_end_and_in_the_middle(connection: psycopg.Connection[Any]) -> None:
    characters = [chr(n) for n in range(1, 0x3100) if not 0xD800 <= n < 0xE000]
    texts = [form.format(c) for c in characters for form in ("{}a@b", "a@b{}", "<{}a@b>", "a{}a@b", "a@B{}B", "{}")]
    wrong = [text for text, sql in zip(texts, in_sql(connection, texts), strict=True) if sql != in_python(text)]
    assert wrong == []
