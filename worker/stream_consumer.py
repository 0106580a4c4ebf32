"""The drain's side of the Redis streams: take entries, acknowledge them, take over what a dead process left."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import redis
from redis.exceptions import RedisError, ResponseError

from worker.receiving.request_id import is_sane
from worker.streams import CONSUMER, GROUP

_log = logging.getLogger(__name__)

_Reply = TypeVar("_Reply")

#: Seconds Redis has to answer, beyond the time a read may block. Without it a half-open connection hangs for minutes.
_ANSWER_SECONDS = 5
#: Size at which a write of several entries is sent: well within the time that Redis has to answer.
_WRITE_BYTES = 4 * 1024 * 1024
#: What an entry takes in a write beside its body, about.
_ENTRY_BYTES = 256
#: Size of bodies at which a read ends.
_READ_BYTES = 4 * 1024 * 1024
#: Most entries of a stream in one reply, which nothing else bounds: each may be as large as the receiver takes.
_REPLY_ENTRIES = 64
#: Most abandoned entries taken over at once that were handed out once already, twice, and more often: one of them may
#: have ended its process, and must not take its neighbours with it.
_CLAIMED_ENTRIES = (_REPLY_ENTRIES, 32, 2, 1)
#: How many of the entries that are idle for long are looked at in one go.
_PENDING_PAGE = 1000
#: Fields that say where an entry came from, and stay with its parts when it is taken apart.
_ORIGIN = (b"request", b"subscription", b"traceparent")


class Entry(NamedTuple):
    """One entry of a stream: its id, its body, and how often it has been handed out, this time included.

    ``fields`` are all it holds, names and values in turn, as Redis answered them: of thousands few are looked at.
    """

    stream: str
    entry_id: str
    body: bytes
    deliveries: int
    fields: Sequence[bytes] = ()

    @property
    def received_at(self) -> datetime:
        """When Redis took it, which is what an entry's id begins with, in milliseconds."""
        return _instant(self.entry_id[: self.entry_id.index("-")])

    @property
    def request(self) -> str | None:
        """The id of the request that brought it, if the receiver wrote it."""
        found = field_of(self.fields, b"request")
        # Any mailer may write what it likes there, and it is told in logs.
        return found.decode() if found and is_sane(found) else None

    @property
    def origin(self) -> dict[bytes, bytes]:
        """What is to be told of whatever becomes of it: the fields beside the body that say where it came from."""
        found = ((name, field_of(self.fields, name)) for name in _ORIGIN)
        return {name: value for name, value in found if value is not None}


@lru_cache(maxsize=4096)
def _instant(milliseconds: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # a stranger's own id, not a time
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Entries taken over from a dead process: to be worked, or delivered too often to be worked again."""

    entries: list[Entry]
    exhausted: list[Entry]


def connect(redis_url: str) -> redis.Redis:
    """Return a client for the drain; it connects at its first command.

    A command that fails is not repeated behind our back: the caller knows what may be done twice.
    """
    client = redis.Redis.from_url(
        redis_url,
        protocol=2,
        socket_timeout=_ANSWER_SECONDS,
        socket_connect_timeout=_ANSWER_SECONDS,
        socket_keepalive=True,
        health_check_interval=10,
        retry=None,
    )
    # Thousands of entries a read: take the reply as the parser leaves it, instead of a dictionary per entry.
    for command in ("XREADGROUP", "XCLAIM"):
        client.set_response_callback(command, _as_it_is)
    return client


def _as_it_is(reply: Any, **_options: Any) -> Any:
    return reply


class StreamConsumer:
    """Reads the streams named, in that order, on behalf of the one consumer of the one group.

    Raises:
        redis.exceptions.RedisError: from every method, when Redis cannot be reached or refuses. What was taken and not
            acknowledged stays pending and is claimed later.
    """

    def __init__(self, client: redis.Redis, streams: Sequence[str]) -> None:
        self._client = client
        self._streams = tuple(streams)
        self._has_read = False
        self._held: Sequence[Entry] = ()
        self._entry_bytes = 1

    def read(
        self, *, count: int, block: timedelta | None, max_bytes: int = _READ_BYTES, streams: Sequence[str] | None = None
    ) -> list[Entry]:
        """Take up to ``count`` entries of each stream, or of those of ``streams``, that were never taken before.

        Their bodies have ``max_bytes`` or little more, if they are as large as those before them; however large they
        are, they come in replies that fit into memory. Waits up to ``block`` for the first; with None it returns at
        once. Keep ``block`` well below five seconds: the connection gives up on an answer then.
        """
        taken: list[Entry] = []
        room = max_bytes
        while count > 0:
            most = min(count, _REPLY_ENTRIES, max(1, room // self._entry_bytes))
            try:
                reply = self._read(self._streams if streams is None else streams, most, None if taken else block)
            except RedisError:
                if not taken:
                    raise
                break  # these are worked first; the next read will tell what is wrong
            taken += reply
            if len(reply) < most:
                break
            size = sum(len(entry.body) for entry in reply)
            self._entry_bytes = max(1, size // len(reply))
            count -= most
            room -= size
            if room < self._entry_bytes:
                break
        return taken

    def _read(self, streams: Sequence[str], count: int, block: timedelta | None) -> list[Entry]:
        options: list[Any] = [] if block is None else ["BLOCK", max(1, int(block.total_seconds() * 1000))]
        command = ["XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", count, *options]
        command += ["STREAMS", *streams, *(">" for _ in streams)]
        reply: Any = self._with_group(partial(self._client.execute_command, *command))
        self._has_read = True
        return [
            Entry(stream.decode(), entry_id.decode(), field_of(fields, b"body") or b"", 1, fields)
            for stream, entries in reply or ()
            for entry_id, fields in entries
        ]

    def claim(self, *, min_idle: timedelta, max_deliveries: int, count: int) -> Claimed:
        """Take over up to ``count`` entries that have been pending for ``min_idle`` without being acknowledged.

        ``min_idle`` must be longer than a batch can take. If it is not, two processes work the same entry, which is
        wasteful but harmless: the events' unique key ignores the second copy.

        An entry that ends its process, again and again, must not take its neighbours with it: the more often entries
        were delivered, the fewer are taken at once, down to one, and those delivered least go first. So the counter of
        the culprit alone reaches ``max_deliveries``, and it comes back as exhausted.
        """
        idle_ms = int(min_idle.total_seconds() * 1000)
        claimed = Claimed([], [])
        for stream in self._streams:
            deliveries = self._with_group(partial(self._deliveries, stream, idle_ms, min(count, _PENDING_PAGE)))
            exhausted = [entry_id for entry_id, times in deliveries.items() if times >= max_deliveries]
            fewest = min((times for times in deliveries.values() if times < max_deliveries), default=0)
            most = min(count, _CLAIMED_ENTRIES[min(fewest, len(_CLAIMED_ENTRIES) - 1)])
            chosen = [entry_id for entry_id, times in deliveries.items() if times == fewest][:most]
            claimed.exhausted.extend(self._claim(stream, exhausted[:_REPLY_ENTRIES], idle_ms, deliveries))
            claimed.entries.extend(self._claim(stream, chosen, idle_ms, deliveries))
        return claimed

    @contextmanager
    def holding(self, entries: Sequence[Entry]) -> Iterator[None]:
        """Have `keep_held` keep ``entries`` from being taken for abandoned, while they are worked in the context."""
        self._held = entries
        try:
            yield
        finally:
            self._held = ()

    def keep_held(self) -> None:
        """Tell Redis that what is held is still being worked. Any thread may call it.

        A million events may wait for the messages of one entry: to release them takes longer than an entry is left
        alone. Worked by several processes at once, again and again, it would count as delivered too often.
        """
        pipeline = self._client.pipeline(transaction=False)
        for stream, entry_ids in _by_stream(self._held).items():
            # JUSTID: it is no delivery. What has been acknowledged meanwhile is passed over.
            pipeline.execute_command("XCLAIM", stream, GROUP, CONSUMER, 0, *entry_ids, "JUSTID")  # type: ignore[no-untyped-call]
        pipeline.execute()

    def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Acknowledge ``entries`` and delete them from their streams.

        Call it after the transaction that holds their events has committed. A crash in between redelivers entries that
        we already hold; the reverse order would lose them. Not as MULTI, which a full Redis refuses; and acknowledged
        before deleted, so that a connection cut in between leaves no entry pending without its body.
        """
        pipeline = self._client.pipeline(transaction=False)
        for stream, entry_ids in _by_stream(entries).items():
            pipeline.xack(stream, GROUP, *entry_ids)
            pipeline.xdel(stream, *entry_ids)
        pipeline.execute()

    def append(self, stream: str, bodies: Iterable[bytes], origin: Mapping[bytes, bytes] | None = None) -> None:
        """Put bodies onto a stream, an entry each, to be drained like any others.

        ``origin`` is that of the entry whose parts they are.

        If Redis fails on the way, some of them are there; to append all of them again does no harm. Some go in one
        write, for Redis waits for its disk after each.
        """
        pipeline = self._client.pipeline(transaction=False)
        size = 0
        for body in bodies:
            fields: Any = {b"body": body, **(origin or {})}
            pipeline.xadd(stream, fields)
            size += len(body) + _ENTRY_BYTES
            if size > _WRITE_BYTES:
                pipeline.execute()
                size = 0
        pipeline.execute()

    def give_back(self, entries: Sequence[Entry]) -> None:
        """Hand ``entries`` back unworked, through no fault of theirs: the delivery does not count against them.

        They stay pending and may be claimed at once.
        """
        groups: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        for entry in entries:
            groups[entry.stream, entry.deliveries].append(entry.entry_id)
        pipeline = self._client.pipeline(transaction=False)
        for (stream, deliveries), entry_ids in groups.items():
            pipeline.execute_command(  # type: ignore[no-untyped-call]
                "XCLAIM", stream, GROUP, CONSUMER, 0, *entry_ids,
                "IDLE", 24 * 3600 * 1000, "RETRYCOUNT", deliveries - 1, "JUSTID",
            )  # fmt: skip
        pipeline.execute()

    def _deliveries(self, stream: str, idle_ms: int, count: int) -> dict[str, int]:
        """Return how often each entry was handed out that has been pending for so long, oldest first."""
        pending: Any = self._client.xpending_range(stream, GROUP, "-", "+", count, idle=idle_ms)
        return {row["message_id"].decode(): int(row["times_delivered"]) for row in pending}

    def _claim(self, stream: str, entry_ids: list[str], idle_ms: int, deliveries: dict[str, int]) -> list[Entry]:
        if not entry_ids:
            return []
        reply: Any = self._client.execute_command("XCLAIM", stream, GROUP, CONSUMER, idle_ms, *entry_ids)  # type: ignore[no-untyped-call]
        return [
            Entry(
                stream, entry_id.decode(), field_of(fields, b"body") or b"", deliveries[entry_id.decode()] + 1, fields
            )
            for entry_id, fields in reply
        ]

    def _with_group(self, command: Callable[[], _Reply]) -> _Reply:
        """Run a command that needs the group; where Redis has lost it, make it anew and run the command again."""
        try:
            return command()
        except ResponseError as error:
            # Who waits for entries just when the stream vanishes is told so in other words.
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
        if self._has_read:
            _log.error(
                "the consumer group was there and is gone: somebody has emptied or restored Redis. It is made anew at "
                "the beginning: what is on the streams is drained; what was removed before it was drained is lost"
            )
        self.create_group()
        return command()

    def create_group(self) -> None:
        """Create the group on each stream, at its beginning: at its end, what is there would be skipped."""
        for stream in self._streams:
            try:
                self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise


def _by_stream(entries: Sequence[Entry]) -> dict[str, list[str]]:
    streams: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        streams[entry.stream].append(entry.entry_id)
    return streams


def field_of(fields: Sequence[bytes], name: bytes) -> bytes | None:
    """Return a field of an entry. One without a body is somebody else's; taken as empty, it parses as malformed."""
    for position in range(0, len(fields) - 1, 2):
        if fields[position] == name:
            return fields[position + 1]
    return None
