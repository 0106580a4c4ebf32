"""Events out of files of JSON, whatever their size and layout."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.imports import json_stream
from tasks.imports.json_stream import read_parts
from tasks.imports.source import SourceUnreadable

#: Objects whose strings hold what matters to nesting.
_TEXT = st.text(alphabet='{}[]",\\\n é1')
_OBJECTS = st.lists(st.dictionaries(_TEXT, _TEXT | st.lists(_TEXT) | st.none(), min_size=1), min_size=1, max_size=5)


def parts(content: bytes) -> list[bytes]:
    return list(read_parts(io.BytesIO(content)))


def until_it_ends(content: bytes) -> tuple[list[bytes], str]:
    """Return the parts, and why there were no more."""
    found: list[bytes] = []
    with pytest.raises(SourceUnreadable) as raised:
        found.extend(part for part in read_parts(io.BytesIO(content)))
    return found, str(raised.value)


@pytest.mark.parametrize("chunk", [1, 2, 7, 200, 1 << 20])
@given(objects=_OBJECTS, indent=st.sampled_from([None, 2]), mark=st.booleans())
def test_every_layout_yields_the_same_objects_wherever_a_read_ends(
    chunk: int, objects: list[dict[str, Any]], indent: int | None, mark: bool
) -> None:
    array = json.dumps(objects, indent=indent)
    behind_one_another = "\n".join(json.dumps(each, indent=indent) for each in objects)
    arrays = "\n".join(json.dumps([each], indent=indent) for each in objects)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_CHUNK", chunk)
        for layout in (array, behind_one_another, arrays, f"\r\n {array} \n"):
            content = (b"\xef\xbb\xbf" if mark and chunk > 2 else b"") + layout.encode()
            if chunk <= 4 and layout[0].isspace():
                continue  # a first read of space alone is an empty file, which a mebibyte of space may be, too
            assert [json.loads(part) for part in parts(content)] == objects


def test_bytes_are_left_as_they_are() -> None:
    assert parts(b'[ {"a" : 1.50} ,\n{"b":"\\u002B"}]') == [b'{"a" : 1.50}', b'{"b":"\\u002B"}']


@pytest.mark.parametrize(
    ("broken", "place"),
    [(broken, place) for broken in ('{"id": "1", "data": {', '{"id": "1"', '{"a": "}') for place in (0, 1, 2)]
    + [(broken, place) for broken in ("garbage", "[1, 2") for place in (1, 2)],
)
def test_a_broken_line_harms_no_other(broken: str, place: int) -> None:
    lines = ['{"id": "2"}', '{"id": "3"}', '{"id": "4"}']
    lines.insert(place, broken)
    found = parts("\n".join(lines).encode() + b"\n")
    assert [part for part in found if part.startswith(b'{"id": "') and part.endswith(b'"}')] == [
        b'{"id": "2"}',
        b'{"id": "3"}',
        b'{"id": "4"}',
    ]
    assert broken.encode() in b"".join(found)


_PRETTY = '{\n  "id": "2",\n  "data": {\n    "a": "}"\n  }\n}'


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize(
    "layout",
    [
        '{"id": "1"}\n' + _PRETTY,
        _PRETTY + '\n{"id": "1"}',
        '[{"id": "1"}]\n[\n' + _PRETTY + "\n]",
        '{"id": "1"},\n{"id": "2", "data": {"a": "}"}}',
        '[\n{"id": "1"}\n,\n' + _PRETTY + "\n]",
        '\n\n{"id": "1"}\n{"id": "2",\n"data": {"a": "}"}}',
    ],
)
def test_one_whole_line_beside_a_value_of_many_lines_does_not_make_lines_of_the_rest(layout: str, end: str) -> None:
    found = sorted((json.loads(part) for part in parts((layout + end).encode())), key=lambda event: str(event["id"]))
    assert found == [{"id": "1"}, {"id": "2", "data": {"a": "}"}}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("content", ['{"id": "1"}', '[{"id": "1"}]'])
def test_of_utf_16_it_is_said_what_it_is_and_what_to_do(content: str, encoding: str) -> None:
    assert until_it_ends(content.encode(encoding)) == ([], "it is UTF-16; save it as UTF-8")
    assert until_it_ends(b"\xfe\xff" + content.encode("utf-16-be")) == ([], "it is UTF-16; save it as UTF-8")


def test_a_line_may_hold_an_array_and_lines_may_be_blank() -> None:
    assert parts(b'[{"a":1},{"b":2}]\r\n\n{"c":3}\n\n[]\n') == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_what_stands_in_the_place_of_an_event_is_a_part_too() -> None:
    assert parts(b'[\n{"a":1}, 17, "b,", {"c":2}, null]') == [b'{"a":1}', b'17, "b,"', b'{"c":2}', b"null"]
    assert parts(b'[[{"a":1}]]') == [b'[{"a":1}]']


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'[{"a":1},{"b":', [b'{"a":1}']),
        (b'[{"a":1},{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'[{"a":1},{"b":"2', [b'{"a":1}']),
        (b'{"a":1}\n{"b":2}\n{"c', [b'{"a":1}', b'{"b":2}']),
        (b'{\n"a":1,\n', []),
    ],
)
def test_a_file_that_is_cut_off_yields_what_is_whole(content: bytes, found: list[bytes]) -> None:
    assert until_it_ends(content) == (found, "it ends in the middle of an event")


@pytest.mark.parametrize("content", [b"", b" \n ", b"\xff\xfe{\0", b"\x89PNG", b"id,data\n1,2\n", b'"text"'])
def test_what_is_no_json_of_events_is_refused_at_once(content: bytes) -> None:
    assert until_it_ends(content)[0] == []


class _Endless(io.BytesIO):
    """A large file, made as it is read."""

    def __init__(self, first: bytes, filler: bytes, times: int) -> None:
        super().__init__()
        self._pieces = self._make(first, filler, times)

    def _make(self, first: bytes, filler: bytes, times: int) -> Iterator[bytes]:
        yield first
        for _ in range(times):
            yield filler

    def read(self, size: int | None = -1) -> bytes:
        return next(self._pieces, b"")


def test_an_array_of_any_length_is_read_in_little_memory() -> None:
    event = b'{"id":"' + b"x" * 900 + b'"},'
    file = _Endless(b"[", event * 1000, 200)  # 180 MB
    tracemalloc.start()
    try:
        assert sum(1 for _ in islice(read_parts(file), 200_000)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("first", [b'{"a":"', b'[{"a":"', b'{"a":1}\n{"b":"'])
def test_a_part_that_never_ends_is_refused(first: bytes) -> None:
    with pytest.raises(SourceUnreadable, match="more than 16 MiB"):
        list(read_parts(_Endless(first, b"x" * (1 << 20), 1024)))
