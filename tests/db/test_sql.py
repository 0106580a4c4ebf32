"""Named queries are found, and only in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import sql
from db.sql import load_queries


def test_every_query_file_loads_and_no_query_is_empty() -> None:
    files = sorted(path.name for path in Path(sql.__file__).parent.glob("*.sql"))
    assert len(files) >= 6
    for file in files:
        for name, query in load_queries(file).items():
            assert str(query).strip(), (file, name)
            assert "--" not in str(query)


def test_two_queries_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice.sql").write_text("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n")
    monkeypatch.setattr(sql, "files", lambda _package: tmp_path)
    with pytest.raises(ValueError, match="two queries named a"):
        load_queries("twice.sql")
