"""A process that owns a stack until it is told to end.

Its arguments are the folder and, if Redis alone is to be started, the address of a PostgreSQL.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from stack.services import services

if __name__ == "__main__":
    folder, *database_url = sys.argv[1:]
    environment = {"ATTRIBUTION_DATABASE_URL": "".join(database_url)}
    with services(Path(folder), postgres_settings={"fsync": "off"}, environment=environment):
        print("ready", flush=True)
        while True:
            signal.pause()
