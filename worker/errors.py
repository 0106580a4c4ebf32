"""What can go wrong in the runtime. A class names the state that broke; its docstring is the default message."""

from __future__ import annotations

import inspect


class AttributionError(Exception):
    """The attribution worker failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))


class SettingsInvalid(AttributionError):
    """A setting is missing or cannot be used."""


class StreamUnavailable(AttributionError):
    """Redis did not confirm the append in time. Nothing was acknowledged."""


class DatabaseAway(AttributionError):
    """PostgreSQL does not answer, or takes no writes. What needs it was not begun, and is asked for again."""


class RedisUnsafe(AttributionError):
    """This Redis may lose what it acknowledged."""
