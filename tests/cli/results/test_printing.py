"""What strangers wrote steers no terminal, is no formula, and is exact in a file."""

from __future__ import annotations

import io
import json
import sys

import pytest

from cli import formats
from cli.formats import as_cell, printable


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_a_cell_that_a_spreadsheet_would_calculate_is_text(text: str) -> None:
    assert as_cell(text) == f"'{text}"
    assert as_cell(f"x{text}") == f"x{text}"


@pytest.mark.parametrize(
    "steering", ["\x1b[31m", "\x9b31m", "\n", "\r", "\x7f", "\u2028", "\u202e", "\U000e0041", "\udc9b"]
)
def test_what_steers_a_terminal_is_not_printed_and_is_exact_elsewhere(
    steering: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"ü{steering}x"
    assert printable(text) == f"ü\N{REPLACEMENT CHARACTER}{steering[1:]}x"
    assert as_cell(text, on_terminal=True) == printable(text)
    assert as_cell(text) == text
    formats.write_document({"id": text})
    formats.write_rows("json", ["id"], [[text]])
    shown = capsys.readouterr().out
    assert "ü" in shown
    assert shown.replace("\n", "").isprintable()
    document, row = shown.rsplit("\n", 2)[:2]
    assert json.loads(document) == json.loads(row) == {"id": text}


@pytest.mark.parametrize("on_terminal", [True, False])
def test_csv_is_printable_on_a_terminal_and_exact_in_a_file(monkeypatch: pytest.MonkeyPatch, on_terminal: bool) -> None:
    written = io.StringIO()
    monkeypatch.setattr(written, "isatty", lambda: on_terminal)
    monkeypatch.setattr(sys, "stdout", written)
    formats.write_rows("csv", ["url"], [["https://www.example.com/\x1b[31m"]])
    assert ("\x1b" in written.getvalue()) is not on_terminal
    assert "https://www.example.com/" in written.getvalue()
