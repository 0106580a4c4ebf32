"""Attributed events are told to the user's webhook: cut from the outbox into batches, posted, and tried again.

The schedule and the leases stand in PostgreSQL (db/outbox.py); Celery's beat asks each second whether anything is due.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from httpx import AsyncClient

from db.outbox import Failure, Webhook, note_delivered, note_failed, only_sender, take
from tasks.context import Context, context
from tasks.patience import patiently
from tasks.webhook_payload import body_of
from worker.app import app
from worker.telemetry import metrics
from worker.webhook_post import Answer, Endpoint, open_client, post

_log = logging.getLogger(__name__)

#: Waits before the second, third, … attempt: the schedule that Standard Webhooks recommends. Then it is given up.
SCHEDULE: Final = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
#: How long nobody else is given a batch. Celery kills a task after a minute: who holds a lease that is over is dead.
LEASE: Final = timedelta(seconds=90)
#: Longest that a run begins new posts. With the longest timeout on top it still ends before Celery's soft limit.
RUN: Final = timedelta(seconds=12)
#: Posts at once.
SENDERS: Final = 4

#: Answers that a batch earns by what it holds. Any other failure would have met any batch.
_REFUSALS: Final = frozenset({400, 409, 413, 415, 422})
_GONE: Final = 410


@app.task(name="send_webhooks")
def send_webhooks() -> str:
    """Send what is due and what is unsent. Safe when run twice at once: the second does nothing."""
    ctx = context()
    endpoint = Endpoint.of(ctx.settings)
    if endpoint is None:
        return "no webhook is configured"
    ctx.require_postgresql()
    with ExitStack() as contexts:
        if not patiently(lambda: contexts.enter_context(only_sender(ctx.engine))):
            return "another sender is at work"
        return Run(ctx, endpoint).send()


@dataclass(slots=True)
class Run:
    """One run of the sender: it ends when nothing is left to send, at the first failure, or when its time is up."""

    ctx: Context
    endpoint: Endpoint
    _outcomes: Counter[str] = field(default_factory=Counter)
    _ends_at: float = field(default_factory=lambda: time.monotonic() + RUN.total_seconds())

    def send(self) -> str:
        """Send what there is; return what came of it, in words."""
        first = patiently(self._take_first)
        if first is None:
            return "nothing due"
        asyncio.run(self._send(*first))
        return ", ".join(f"{outcome} {count}" for outcome, count in self._outcomes.items())

    async def _send(self, first: Webhook, client: AsyncClient) -> None:
        """Send one batch, and if that was taken the others, `SENDERS` at once: a dead endpoint costs one attempt."""
        async with client:
            if await self._send_one(client, first):
                async with asyncio.TaskGroup() as senders:
                    for _ in range(SENDERS):
                        senders.create_task(self._send_others(client))

    async def _send_others(self, client: AsyncClient) -> None:
        while not self._has_failed() and time.monotonic() < self._ends_at:
            webhook = await asyncio.to_thread(patiently, self._take)
            if webhook is None or not await self._send_one(client, webhook):
                return

    def _has_failed(self) -> bool:
        return bool(self._outcomes["failed"] or self._outcomes["given up"])

    async def _send_one(self, client: AsyncClient, webhook: Webhook) -> bool:
        """Send one batch; return whether it was taken.

        Whoever dies after the post and before the commit in `_note` leaves the lease behind. When that is over the
        batch is sent again, by the same id.
        """
        began_at = time.monotonic()
        answer = await self._post(client, webhook)
        metrics.WEBHOOK_SECONDS.observe(time.monotonic() - began_at)
        outcome = await asyncio.to_thread(patiently, lambda: self._note(webhook, answer))
        metrics.WEBHOOKS.labels(outcome.replace(" ", "_")).inc()
        self._outcomes[outcome] += 1
        if answer.is_success:
            metrics.WEBHOOK_EVENTS.inc(len(webhook.events))
            self._outcomes["events"] += len(webhook.events)
        else:
            _log.warning("the webhook did not take a batch: %s", answer.error, extra={"attempts": webhook.attempts})
        return answer.is_success

    async def _post(self, client: AsyncClient, webhook: Webhook) -> Answer:
        """Post one batch. Whatever goes wrong is an attempt that failed: unnoted, it would be tried for ever."""
        try:
            body = body_of(webhook, personal_parameters=self.ctx.settings.personal_parameters)
            return await post(client, self.endpoint, webhook_id=str(webhook.id), body=body)
        except Exception as error:
            return Answer(None, f"no answer ({type(error).__name__})")

    def _take_first(self) -> tuple[Webhook, AsyncClient] | None:
        """Take a batch, and open the client before that is committed: without one nothing is cut, and no lease held."""
        with self.ctx.engine.begin() as conn:
            webhook = take(conn, batch=self.ctx.settings.webhook_batch, lease=LEASE)
            return None if webhook is None else (webhook, open_client())

    def _take(self) -> Webhook | None:
        with self.ctx.engine.begin() as conn:
            return take(conn, batch=self.ctx.settings.webhook_batch, lease=LEASE)

    def _note(self, webhook: Webhook, answer: Answer) -> str:
        with self.ctx.engine.begin() as conn:
            if answer.is_success:
                note_delivered(conn, webhook)
                return "delivered"
            failure = failure_of(answer)
            wait = next_wait(webhook.attempts, failure, answer.retry_after)
            note_failed(conn, webhook, failure=failure, error=answer.error, wait=wait)
            return "failed" if wait else "given up"


def failure_of(answer: Answer) -> Failure:
    """Say what an answer that is no success means."""
    if answer.status == _GONE:
        return Failure.GONE
    return Failure.REFUSED if answer.status in _REFUSALS else Failure.AWAY


def next_wait(attempts: int, failure: Failure, retry_after: timedelta | None) -> timedelta | None:
    """Return the wait after the last of ``attempts`` has failed, or None if the batch is to be given up."""
    if failure is Failure.GONE or attempts > len(SCHEDULE):
        return None
    return max(SCHEDULE[attempts - 1], retry_after or timedelta(0))
