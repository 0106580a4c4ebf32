"""What a body takes in the archive, by the size of its batch: ``python -m benchmarks.archive_sizes``. No server needed.

Bodies are one event each, as varied as those of a real campaign: reports, views and clicks, readers, programs, links.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

import click
import msgspec
import zstandard

from simulator import wire
from tasks.archive_dictionary import DICTIONARIES
from tasks.archiving import LEVEL, pack
from tasks.batch import Body

BATCHES: Final = (1, 10, 1000, 5000)
LEVELS: Final = (1, 3, 9)

_BEGIN: Final = datetime(2026, 1, 10, 10, tzinfo=UTC)
_PROGRAMS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Desktop",
    "",
)


def bodies(count: int, rng: Random) -> list[Body]:
    """Make ``count`` requests of Event Grid that came some milliseconds apart."""
    made = []
    for number in range(count):
        at = _BEGIN + timedelta(milliseconds=7 * number)
        made.append(Body(_request(rng, at), f"{int(at.timestamp() * 1000)}-0", at))
    return made


def _request(rng: Random, at: datetime) -> bytes:
    message, reader = _uuid(rng), f"{_uuid(rng)[:8]}@mail{rng.randrange(40)}.example.net"
    ids: dict[str, Any] = {
        "azure_message_id": message,
        "internet_message_id": f"<{_uuid(rng)}@mail.example.com>",
        "recipient": reader,
    }
    if rng.random() < 0.4:
        data, kind = wire.delivery("Delivered", at=at, **ids), wire.DELIVERY_REPORT
    else:
        link = f"https://news.example.com/link/{_uuid(rng)}/{_uuid(rng)}/{_uuid(rng)}" if rng.random() < 0.3 else ""
        ids |= {"context": link, "user_agent": rng.choice(_PROGRAMS)}
        data, kind = wire.engagement("click" if link else "view", at=at, **ids), wire.ENGAGEMENT_REPORT
    envelope = {
        "id": _uuid(rng),
        "topic": wire.TOPIC,
        "subject": f"sender/{wire.SENDER}/message/{message}",
        "data": data,
        "eventType": kind,
        "dataVersion": "1.0",
        "metadataVersion": "1",
        "eventTime": wire.seven_digits(at),
    }
    return json.dumps([envelope], separators=(",", ":")).encode()


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))


def _packed(content: bytes, level: int, samples: bytes | None) -> bytes:
    dictionary = samples and zstandard.ZstdCompressionDict(samples, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(level=level, dict_data=dictionary or None, write_checksum=True).compress(content)


def main() -> None:
    """Print bytes for each event, and how fast they are packed."""
    samples = DICTIONARIES[max(DICTIONARIES)]
    click.echo(f"{'events':>6} {'level':>5} {'raw':>6} {'alone':>6} {'with samples':>12} {'MB/s':>6}   bytes an event")
    for count in BATCHES:
        made = bodies(count, Random(count))
        raw = sum(len(body.body) for body in made)
        content = msgspec.msgpack.encode(made)
        for level in LEVELS:
            repeats = max(1, 5000 // count)
            started = time.perf_counter()
            for _ in range(repeats):
                packed = _packed(content, level, samples)
            rate = raw * repeats / (time.perf_counter() - started) / 1e6
            alone = len(_packed(content, level, None)) / count
            click.echo(
                f"{count:>6} {level:>5} {raw / count:>6.0f} {alone:>6.0f} {len(packed) / count:>12.0f} {rate:>6.0f}"
            )
        assert len(pack(made).content) == len(_packed(content, LEVEL, samples)) + 1  # what was measured is what is done


if __name__ == "__main__":
    main()
