"""All rows of the hostile corpus. A row's name never changes: docs/reliability.md calls it by that."""

from __future__ import annotations

from typing import Final

from tests.hostile.bad_events import BAD_EVENTS
from tests.hostile.bad_requests import BAD_REQUESTS
from tests.hostile.bad_trackings import BAD_TRACKINGS
from tests.hostile.case import Case

CORPUS: Final[dict[str, Case]] = {case.name: case for case in [*BAD_EVENTS, *BAD_TRACKINGS, *BAD_REQUESTS]}
