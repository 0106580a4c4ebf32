"""Events and send-trackings in any number, the same in every run. Every id and address is made up.

Message ``n`` has the same Message-ID here and in the SQL of benchmarks/seeds.py, so that what PostgreSQL makes for
itself matches what Python sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import md5
from itertools import islice
from typing import Any, Final, TypeVar

import redis
from celery import Celery

from worker.streams import GROUP

_T = TypeVar("_T")

#: Numbers of messages that nobody ever tracks begin here.
UNTRACKED: Final = 1_000_000_000

#: Entries that travel to Redis in one write.
_PIPELINED: Final = 1000

_DELIVERED: Final = (
    '"status":"Delivered","deliveryStatusDetails":{{"statusMessage":"No error.",'
    '"recipientMailServerHostName":"mx1.example.net"}}'
)

#: An engagement report as Event Grid pushes it, of the length that most have: with its brackets, 900 bytes.
_EVENT: Final = (
    '{{"id":"{event_id}","topic":"/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/rg-demo'
    '/providers/microsoft.communication/communicationservices/acs-bench",'
    '"subject":"sender/news@mail.example.com/message/{azure_message_id}",'
    '"data":{{"sender":"news@mail.example.com","recipient":"reader@example.net","messageId":"{azure_message_id}",'
    '"internetMessageId":"{internet_message_id}","userActionTimestamp":"2025-01-10T10:26:40.1234567+00:00",'
    '"engagementContext":"https://www.example.com","userAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64)'
    ' AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36","engagementType":"click"}},'
    '"eventType":"Microsoft.Communication.EmailEngagementTrackingReportReceived",'
    '"dataVersion":"1.0","metadataVersion":"1","eventTime":"2025-01-10T10:26:41.2532364Z"}}'
)


#: The same for the other kinds: an open, and the report of a delivery.
_OPEN: Final = _EVENT.replace('"https://www.example.com"', '""').replace('"click"', '"view"')
_REPORT: Final = (
    _EVENT.replace('"userActionTimestamp"', '"deliveryAttemptTimestamp"')
    .replace(_EVENT[_EVENT.index('"engagementContext"') : _EVENT.index('}},"eventType"')], _DELIVERED)
    .replace("EmailEngagementTrackingReportReceived", "EmailDeliveryReportReceived")
)

#: What twenty events of a campaign are: each mail is delivered, a good third is opened, some are clicked in.
_CAMPAIGN: Final = (_REPORT, _OPEN) * 7 + (_REPORT, _EVENT) * 3


def message_id(number: int) -> str:
    """Return the Message-ID of message ``number``. Neighbours in number are no neighbours in any index."""
    return f"<{_digest(str(number))}@mail.example.com>"


def event_id(number: int) -> str:
    """Return the id of event ``number``."""
    return f"00000000-0000-4000-8000-{number:012x}"


def event(number: int, of_message: int, form: str = _EVENT) -> str:
    """Return event ``number``, of message ``of_message``: a click, unless ``form`` is that of another."""
    azure = _digest(f"azure {of_message}")
    return form.format(
        event_id=event_id(number),
        azure_message_id=f"{azure[:8]}-{azure[8:12]}-{azure[12:16]}-{azure[16:20]}-{azure[20:]}",
        internet_message_id=message_id(of_message),
    )


def events(count: int, *, tracked: int, untracked_every: int | None = None) -> Iterator[str]:
    """Yield ``count`` events of messages scattered over those ``tracked``; each so-many-th is of an untracked one."""
    for number in range(count):
        if untracked_every and number % untracked_every == 0:
            yield event(number, UNTRACKED + number)
        else:
            yield event(number, number * 7919 % tracked)


def campaign_events(count: int, *, tracked: int, first: int = 0, start: int = 0) -> Iterator[str]:
    """Yield ``count`` events of all kinds, as a campaign brings them, numbered from ``start`` on.

    Their messages are scattered over ``tracked`` ones, those from ``first`` on.
    """
    for number in range(start, start + count):
        yield event(number, first + number * 7919 % tracked, _CAMPAIGN[number % len(_CAMPAIGN)])


def event_bodies(made: Iterable[str], per_request: int) -> Iterator[bytes]:
    """Yield requests of Event Grid, each an array of ``per_request`` events."""
    for group in in_groups(made, per_request):
        yield f"[{','.join(group)}]".encode()


def tracking(number: int, campaign: int | None = None) -> dict[str, Any]:
    """Return the send-tracking of message ``number``, as a mailer on SMTP knows it; its campaign is one of fifty."""
    return {
        "internet_message_id": message_id(number),
        "campaign_id": 1 + number % 50 if campaign is None else campaign,
        "subscriber_id": 1 + number,
        "sent_at": "2025-01-10T10:26:32Z",
    }


def tracking_bodies(numbers: Iterable[int], per_call: int, campaign: int | None = None) -> Iterator[bytes]:
    """Yield calls of a mailer, each an array of ``per_call`` send-trackings, of one ``campaign`` or of fifty."""
    for group in in_groups(numbers, per_call):
        yield json.dumps([tracking(number, campaign) for number in group]).encode()


def fill_stream(client: redis.Redis, stream: str, bodies: Iterable[bytes]) -> int:
    """Make ``stream`` anew, the drain's group at its beginning, append ``bodies``, and return how many they were."""
    client.delete(stream)
    client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    count = 0
    for group in in_groups(bodies, _PIPELINED):
        pipeline = client.pipeline(transaction=False)
        for body in group:
            pipeline.xadd(stream, {"body": body})
        pipeline.execute()
        count += len(group)
    return count


def fill_queue(client: redis.Redis, broker_url: str, queue: str, task: str, arguments: Iterable[list[Any]]) -> int:
    """Send ``task`` by name for each of ``arguments``, have all appear on ``queue`` at one moment, and return how many.

    They are sent to a queue that nobody reads, which is a list in Redis, and which is then renamed.
    """
    filling = f"{queue}.filling"
    sent = 0
    with Celery("bench-mailer", broker=broker_url, set_as_current=False) as mailer:
        mailer.conf.task_ignore_result = True
        with mailer.producer_or_acquire() as producer:
            for each in arguments:
                mailer.send_task(task, args=each, queue=filling, producer=producer)
                sent += 1
    client.rename(filling, queue)
    return sent


def in_groups(items: Iterable[_T], size: int) -> Iterator[Sequence[_T]]:
    """Yield ``items`` in tuples of ``size``; the last may be shorter."""
    iterator = iter(items)
    while group := tuple(islice(iterator, size)):
        yield group


def _digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
