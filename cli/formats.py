"""How results leave a command: as a table for people, as CSV for spreadsheets, as JSON for programs."""

from __future__ import annotations

import csv
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import click
from rich.console import Console

from cli.failures import Failed
from cli.instants import instant

#: What campaigns and subscribers are named by, in the tables and so on the command line.
NUMBER: Final = click.IntRange(1, 2**31 - 1)

#: Columns of a table that goes into a file or a pipe: nothing is folded there.
_WIDE: Final = 240
#: A cell that begins with one of these is a formula to a spreadsheet, and a clicked URL is a stranger's text.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Categories of characters that steer a terminal or the order of its text, or end its line, and show nothing.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_AS_JSON: Final[Mapping[type, Callable[[Any], object]]] = {datetime: instant, UUID: str, Decimal: float}


def console() -> Console:
    """Return a console on standard output, as wide as its terminal; wide where there is none."""
    return Console(width=None if sys.stdout.isatty() else _WIDE, markup=False, highlight=False)


def printable(text: str) -> str:
    """Return ``text`` for a terminal, on one line: a replacement character for each that would steer the terminal."""
    return _replace_unseen(text, lambda _: "\N{REPLACEMENT CHARACTER}")


def _replace_unseen(text: str, replacement: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(replacement(each) if unicodedata.category(each) in _UNSEEN else each for each in text)


def _encode(value: object, indent: int | None = None) -> str:
    """Return ``value`` in JSON that means the same and steers no terminal: json itself escapes up to U+001F only."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=as_json)
    return _replace_unseen(text, lambda each: each if each == "\n" else json.dumps(each)[1:-1])


def as_json(value: Any) -> Any:
    """Return ``value`` as JSON has it: instants in UTC, UUIDs as text, decimals as numbers."""
    convert = _AS_JSON.get(type(value))
    return convert(value) if convert else value


def as_cell(value: Any, *, on_terminal: bool = False) -> Any:
    """Return ``value`` as CSV has it: None as nothing, and text that a spreadsheet would calculate behind a ``'``.

    In a file or a pipe other text is exact; ``on_terminal`` it is `printable`.
    """
    if type(value) is str:
        value = printable(value) if on_terminal else value
        return f"'{value}" if value.startswith(_FORMULA) else value
    return as_json(value)


def write_document(document: Mapping[str, Any]) -> None:
    """Write one JSON object over several lines."""
    click.echo(encode_document(document))


def encode_document(document: Mapping[str, Any]) -> str:
    """Return one JSON object over several lines, which steers no terminal."""
    return _encode(document, indent=2)


def write_rows(output_format: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write ``rows`` as they come: as "csv", under a line of ``columns``, or as "json", one object a line.

    A reader that has had enough (``| head``) ends the command, quietly and with success.

    Raises:
        Failed: standard output takes no more.
    """
    with _reader_may_leave():
        if output_format == "csv":
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            on_terminal = sys.stdout.isatty()
            writer.writerows([as_cell(value, on_terminal=on_terminal) for value in row] for row in rows)
        else:
            sys.stdout.writelines(f"{_encode(dict(zip(columns, row, strict=True)))}\n" for row in rows)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would be flushed, and fail, once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise click.exceptions.Exit(0) from None
        raise Failed(f"The rows could not be written: {error.strerror}.") from None
