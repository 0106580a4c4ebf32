"""What `attribution why` is asked and what it says, and changes that it is to tell of."""

from __future__ import annotations

import json
import re
from typing import Any

from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from cli.main import main
from db.parking import release
from db.results import Results
from db.tracking import message_ids
from tests.db.listmonk.acts import track

LATE = "<late@example.com>"


def settle(engine: Engine, *messages: Any) -> None:
    track(engine, *messages)
    with engine.begin() as conn:
        release(conn, message_ids(messages), Results())


def execute(engine: Engine, statement: str, **values: Any) -> None:
    with engine.begin() as conn:
        conn.execute(text(statement), values)


def row_of(engine: Engine, event_id: str, table: str = "azure_engagement_events") -> int:
    with engine.begin() as conn:
        row: int = conn.execute(text(f"SELECT id FROM {table} WHERE event_id = :id"), {"id": event_id}).scalar_one()
        return row


def why(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["why", *arguments])


def said(*arguments: str) -> str:
    """Return what it says, in one line without repeated spaces."""
    result = why(*arguments)
    assert result.exit_code == 0, result.output
    assert not re.search(r"reader\d+@", result.output), "no address"
    return re.sub(r"\s+", " ", result.stdout)


def timeline(event_id: str) -> dict[str, str]:
    """Return what it says at each step, by the stable names of JSON."""
    result = why("--event", event_id, "--format", "json")
    assert result.exit_code == 0, result.output
    (event,) = json.loads(result.stdout)["events"]
    return {each["step"]: each["says"] for each in event["timeline"]}
