"""Points in time as people write them, and as every command prints them: ISO 8601, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

_SPAN: Final = re.compile(r"(\d{1,9})\s*(s|min|h|d|w)")
_UNITS: Final = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_instant(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    """Return the instant that an option names; None if it was not given. It is the callback of such an option.

    It is a date, a date with a time, or a span before now such as ``7d``. What names no zone is in UTC.
    """
    if value is None:
        return None
    text = value.strip()
    try:
        if span := _SPAN.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no point in time. Write a date (2026-01-31), a date with a time (2026-01-31T09:30:00Z), or a"
            " span before now: 90s, 30min, 24h, 7d, 2w."
        ) from None


since_option = click.option(
    "--since",
    metavar="WHEN",
    callback=read_instant,
    help="Only what happened since: a date, a date with a time, or a span such as 7d or 24h. UTC unless it says so.",
)


def instant(at: datetime) -> str:
    """Return ``at`` in ISO 8601, in UTC, with a ``Z`` behind it."""
    return at.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def minute(at: datetime | None) -> str:
    """Return ``at`` for a table, to the minute; nothing for None."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%MZ}"
