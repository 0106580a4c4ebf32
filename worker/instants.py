"""Which instants are believed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

#: ACS's e-mail did not exist before; what lies later is a mistake, and PostgreSQL and Python disagree on it.
#: No clock of ours takes part: by one that is behind, whatever is sound would be refused as coming from the future.
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def is_believed(instant: datetime) -> bool:
    """Say whether ``instant``, which has a zone, can be when something happened.

    Raises:
        OverflowError: it cannot be told in UTC.
    """
    return EARLIEST <= instant < LATEST
