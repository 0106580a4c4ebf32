"""Named queries: every SQL statement of the system stands in a ``.sql`` file of this folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

from sqlalchemy import TextClause, text

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")


def load_queries(filename: str, **names: str) -> Mapping[str, TextClause]:
    """Return the named queries of a file in this folder.

    A query runs from its ``-- name: verb_noun`` line to the next one. ``{events}`` and the like are replaced from
    ``names``, which lets one text serve both event tables. Comments are dropped, because `sqlalchemy.text` would take
    ``:word`` inside one for a parameter. Whoever listens to an engine finds the name as the execution option ``query``.

    Raises:
        ValueError: two queries share a name.
    """
    _, *parts = _NAME.split(files(__name__).joinpath(filename).read_text(encoding="utf-8"))
    queries: dict[str, TextClause] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in queries:
            raise ValueError(f"{filename} has two queries named {name}.")
        statement = _COMMENT.sub("", body)
        for placeholder, replacement in names.items():
            statement = statement.replace(f"{{{placeholder}}}", replacement)
        queries[name] = text(statement.strip().rstrip(";")).execution_options(query=name)
    return queries
