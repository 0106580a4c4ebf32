"""What actors do: the transactions of the product, called as production calls them, and those of its neighbours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from db.archive import Window, keep
from db.journal import Undone
from db.outbox import note_delivered, take
from db.parking import EVENT_TABLES, expire_now, retry_now
from simulator import listmonk
from tasks import counting, parked, purging, rewrites
from tasks.archiving import pack
from tasks.backfill import Backfilled, begin_reading
from tasks.backfill import backfill as backfill_batches
from tasks.batch import Body, work
from tasks.imports.importing import Imported, import_sources
from tasks.imports.webhook_logs import WebhookLogs
from tasks.repair import begin, plan
from tasks.repair import repair as repair_batches
from tasks.repair import undo as undo_batches
from tasks.replay import Replayed
from tasks.replay import replay as replay_batches
from tasks.runs import begin_run, conclude
from tasks.webhook import LEASE
from tests.interleavings.mails import AT, Mail
from tests.interleavings.stage import Player, Work
from tests.tasks.payloads import body_of
from worker.streams import EVENTS, MESSAGES

_RECEIVED_AT = AT + timedelta(minutes=4)


def drain(*events: Mapping[str, Any]) -> Work:
    """Drain a batch of events, each a request of its own."""
    return lambda player: work(player.ctx.pipelines[EVENTS], player.ctx.engine, _bodies(events))


def track(*trackings: Mapping[str, Any]) -> Work:
    """Track messages, through the stream."""
    bodies = [Body(json.dumps(tracking).encode(), None, _RECEIVED_AT) for tracking in trackings]
    return lambda player: work(player.ctx.pipelines[MESSAGES], player.ctx.engine, bodies)


def _bodies(events: Sequence[Mapping[str, Any]]) -> list[Body]:
    return [Body(body_of(event), None, _RECEIVED_AT) for event in events]


def sweep(_player: Player) -> None:
    """Do what beat has done every two seconds."""
    parked.sweep_parked.run()


def watch(_player: Player) -> None:
    """Look at listmonk's native rows, as beat has it done."""
    parked.watch_native.run()


def count(_player: Player) -> None:
    """Add what has changed to the kept counts of campaigns, as beat has it done."""
    counting.count_campaigns.run()


def purge(_player: Player) -> None:
    """Remove old bodies from the archive, as beat has it done."""
    purging.purge_all.run()


def alarm(_player: Player) -> None:
    """Look for replaced Message-IDs, as beat has it done."""
    rewrites.detect_rewrites.run()


def expire(player: Player) -> None:
    """Give up whatever is parked, as an operator may."""
    with player.free_engine.begin() as conn:
        expire_now(conn, event_ids=None, internet_message_id=None)


def retry(player: Player) -> None:
    """Make whatever waits due at once, as an operator may."""
    with player.free_engine.begin() as conn:
        retry_now(conn, event_ids=None, internet_message_id=None)


def make_due(player: Player) -> None:
    """Have the time come for every parked event."""
    with player.ctx.engine.begin() as conn:
        for table in EVENT_TABLES:
            conn.execute(text(f"UPDATE {table} SET next_attempt_at = now() WHERE state = 'parked'"))


def age(player: Player) -> None:
    """Have every parked event be past its deadline, and due."""
    with player.ctx.engine.begin() as conn:
        for table in EVENT_TABLES:
            conn.execute(text(f"UPDATE {table} SET next_attempt_at = now(), created_at = now() - interval '8 days'"))


def post(player: Player) -> None:
    """Post what is in the outbox, batch after batch, until nothing is left."""
    while True:
        with player.ctx.engine.begin() as conn:
            webhook = take(conn, batch=2, lease=LEASE)
        if webhook is None:
            return
        player.told += [event["event_id"] for event in webhook.events]
        with player.ctx.engine.begin() as conn:
            note_delivered(conn, webhook)


def archived(*events: Mapping[str, Any], trackings: Sequence[Mapping[str, Any]] = ()) -> Work:
    """Have bodies in the archive, and nothing of them recorded: what a database restored from a backup may lack."""

    def fill(player: Player) -> None:
        with player.ctx.engine.begin() as conn:
            if events:
                keep(conn, "event", pack(_bodies(events)))
            if trackings:
                bodies = [Body(json.dumps(tracking).encode(), None, _RECEIVED_AT) for tracking in trackings]
                keep(conn, "message", pack(bodies))

    return fill


def replay(player: Player) -> None:
    """Replay the whole archive."""
    window = Window(AT - timedelta(days=1), datetime.now(UTC))
    replayed = Replayed()
    with begin_run(player.ctx.engine, player.ctx.settings, "replay", {}, dry_run=False) as run:
        for _ in replay_batches(player.ctx.engine, run, window, replayed):
            pass
        conclude(run, replayed.summary())


def logged(*events: Mapping[str, Any]) -> Work:
    """Have bodies in the log of the replaced system."""

    def fill(player: Player) -> None:
        with player.ctx.engine.begin() as conn:
            for event in events:
                conn.execute(
                    text("INSERT INTO webhook_logs (webhook_type, request_body) VALUES ('azure', :body)"),
                    {"body": body_of(event).decode()},
                )

    return fill


def bring_in(player: Player) -> None:
    """Import the log of the replaced system."""
    imported = Imported()
    with begin_run(player.ctx.engine, player.ctx.settings, "import", {}, dry_run=False) as run:
        for _ in import_sources(run, {"webhook_logs": WebhookLogs(run.engine)}, imported):
            pass
        conclude(run, imported.summary())


def backfill(player: Player) -> None:
    """Learn from the log of the replaced system."""
    engine = player.free_engine
    journal, _ = begin(engine, "backfill", {})
    done = Backfilled()
    after, until = begin_reading(engine, journal, resumed=False)
    for _ in backfill_batches(engine, journal, player.ctx.results, done, after=after, until=until):
        pass


def repair(player: Player) -> None:
    """Correct what is credited wrongly, as a backfill goes on to do."""
    journal, _ = begin(player.free_engine, "repair", {})
    planned = plan(player.free_engine, player.ctx.results)
    for _ in repair_batches(player.free_engine, journal, planned):
        pass


def undo(player: Player) -> None:
    """Undo the last run."""
    with player.free_engine.begin() as conn:
        run_id = conn.execute(text("SELECT max(id) FROM attribution_runs")).scalar_one()
    for _ in undo_batches(player.free_engine, run_id, Undone()):
        pass


def sql(*statements: str) -> Work:
    """Do what another program does, in one transaction."""

    def execute(player: Player) -> None:
        with player.elsewhere() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    return execute


def pixel(*mails: Mail, seconds: float = 0) -> Work:
    """Count views natively, in one transaction, so many seconds after `AT`."""

    def fire(player: Player) -> None:
        with player.elsewhere() as connection:
            for mail in mails:
                listmonk.view(connection, mail.campaign, mail.subscriber, AT + timedelta(seconds=seconds))

    return fire


def redirect(mail: Mail, url: str, *, seconds: float = 0) -> Work:
    """Register a link and count a click on it natively."""

    def follow(player: Player) -> None:
        with player.elsewhere() as connection:
            link = listmonk.link(connection, url)
            at = AT + timedelta(seconds=seconds)
            listmonk.click(connection, mail.campaign, mail.subscriber, link, at)

    return follow
