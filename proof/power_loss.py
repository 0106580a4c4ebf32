"""``python -m proof.power_loss``: what Redis loses of what it acknowledged, by its fsync policy and by what happens.

The figures of docs/reliability.md are from here. Servers are private and new; takes about a minute.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from proof.power import Disk
from proof.ptrace import CannotTrace
from stack.redis_server import RedisServer
from stack.services import remove
from stack.state import StateFolder

_STREAM: Final = "power"
_BODY: Final = b"x" * 500
_ANSWER_SECONDS = 10


@dataclass(frozen=True)
class Outcome:
    """What was acknowledged before the end, what of it was missing afterwards, and since when.

    ``oldest_seconds`` is how long before the end the first of the lost was acknowledged.
    """

    acknowledged: int
    lost: int
    oldest_seconds: float
    only_the_last: bool


class Load:
    """Clients that append to a stream, each waiting for its answer, until Redis is gone or `stop` is called."""

    def __init__(self, url: str, clients: int) -> None:
        self._url = url
        self._stopping = threading.Event()
        #: When each acknowledged entry was acknowledged, by the monotonic clock.
        self.acknowledged: dict[bytes, float] = {}
        self._threads = [threading.Thread(target=self._append) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Return when the last client has had its answer, or none."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _append(self) -> None:
        with (
            suppress(redis.RedisError),
            redis.Redis.from_url(self._url, protocol=2, retry=None, socket_timeout=_ANSWER_SECONDS) as client,
        ):
            while not self._stopping.is_set():
                entry_id: bytes = client.xadd(_STREAM, {"body": _BODY})
                self.acknowledged[entry_id] = time.monotonic()


def cut_power(server: RedisServer, *, load_seconds: float, stall_seconds: float = 0.0, clients: int = 8) -> Outcome:
    """Append for ``load_seconds``, then let the disk stall, if it is to, and the power go; count what is missing."""
    disk = Disk(server)
    load = Load(server.url, clients)
    time.sleep(load_seconds)
    if stall_seconds:
        disk.slow_down()
        time.sleep(stall_seconds)
    ended_at = time.monotonic()
    disk.cut_power()
    return _count(server, load, ended_at)


def kill_during_stall(
    server: RedisServer, *, load_seconds: float, stall_seconds: float = 1.5, clients: int = 8
) -> Outcome:
    """Append, let the disk stall, and kill Redis while it does, the machine staying up; count what is missing."""
    disk = Disk(server)
    load = Load(server.url, clients)
    time.sleep(load_seconds)
    disk.slow_down()
    time.sleep(stall_seconds)
    ended_at = time.monotonic()
    server.kill()
    disk.detach()
    return _count(server, load, ended_at)


def rate(server: RedisServer, *, seconds: float = 3.0, clients: int = 8) -> tuple[float, float]:
    """Return the appends a second of an untraced Redis, and the mean seconds that one took."""
    load = Load(server.url, clients)
    time.sleep(seconds)
    load.stop()
    each = len(load.acknowledged) / seconds
    return each, clients / each


def _count(server: RedisServer, load: Load, ended_at: float) -> Outcome:
    load.stop()
    server.start()
    with redis.Redis.from_url(server.url, protocol=2) as client:
        kept = {entry_id for entry_id, _ in client.xrange(_STREAM)}
    # An answer may have been on its way when Redis died: it counts, for the client has it.
    lost = sorted(load.acknowledged.keys() - kept, key=_order)
    last_kept = max(kept, key=_order, default=b"0-0")
    return Outcome(
        acknowledged=len(load.acknowledged),
        lost=len(lost),
        oldest_seconds=max(0.0, ended_at - min(load.acknowledged[each] for each in lost)) if lost else 0.0,
        only_the_last=not lost or _order(lost[0]) > _order(last_kept),
    )


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


@contextmanager
def private_redis(policy: str) -> Iterator[RedisServer]:
    """Have a new Redis with ``appendfsync`` as given; it and its data are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="attribution-power-"))
    state = StateFolder(folder)
    try:
        with state.owned():
            server = RedisServer(state, {"appendfsync": policy, "auto-aof-rewrite-percentage": "0"})
            server.start()
            try:
                yield server
            finally:
                server.stop()
    finally:
        remove(folder)


def main() -> None:
    """Print the table."""
    moments = random.Random(4)
    print(f"{'appendfsync':12}{'what happens':34}{'acknowledged':>13}{'lost':>7}  the first of them before the end")
    for policy in ("always", "everysec"):
        for _ in range(3):
            for what, stall_seconds in (("the power goes", 0.0), ("the disk stalls 1.5 s, power goes", 1.5)):
                with private_redis(policy) as server:
                    load_seconds = moments.uniform(1.5, 3.5)
                    _print(policy, what, cut_power(server, load_seconds=load_seconds, stall_seconds=stall_seconds))
            with private_redis(policy) as server:
                outcome = kill_during_stall(server, load_seconds=moments.uniform(1.5, 3.5))
                _print(policy, "the disk stalls 1.5 s, kill -9", outcome)
    for policy in ("always", "everysec"):
        with private_redis(policy) as server:
            appends, seconds = rate(server)
            print(f"{policy:12}{appends:,.0f} appends/s by 8 clients, {seconds * 1000:.2f} ms each")


def _print(policy: str, what: str, outcome: Outcome) -> None:
    since = f"{outcome.oldest_seconds:.2f} s" if outcome.lost else ""
    print(f"{policy:12}{what:34}{outcome.acknowledged:13,}{outcome.lost:7,}  {since}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except CannotTrace as error:
        sys.exit(f"Power cannot be cut here: {error}.")
