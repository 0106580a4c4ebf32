"""An upgrade under traffic: the release before on the new schema, both side by side, and the way back.

The release before is the commit before the newest migration, from this repository's history, with the packages of
today. What it and this checkout have in common is the database and Redis.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from simulator import listmonk
from tests.acceptance.conftest import EVENT_SECRET, MESSAGE_SECRET, assert_ready, assert_said
from tests.acceptance.programs import ROOT, Program, free_port
from tests.acceptance.releases import Traffic, check_out, release_before_the_newest_migration, to
from tests.tasks.streams import backlog
from tests.waiting import eventually
from worker.streams import EVENTS


class Release:
    """The programs of one release, on the servers that it shares with the other."""

    def __init__(self, checkout: Path, folder: Path, database_url: str, redis_url: str) -> None:
        self.checkout = checkout
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._environment = {
            "ATTRIBUTION_DATABASE_URL": database_url,
            "ATTRIBUTION_REDIS_URL": redis_url,
            "ATTRIBUTION_EVENT_SECRETS": EVENT_SECRET,
            "ATTRIBUTION_MESSAGE_SECRETS": MESSAGE_SECRET,
            "ATTRIBUTION_PORT": str(self._port),
            "ATTRIBUTION_CLAIM_AFTER": "2",
            # Of its own, as in a container: what is tidied up where others run is not ours to test.
            "TMPDIR": str(folder / f"temporary-{self._port}"),
        }
        (folder / f"temporary-{self._port}").mkdir()
        self.running: dict[str, Program] = {}

    def run(self, name: str, *options: str) -> Program:
        """Run one of its programs."""
        return Program(name, *options, environment=self._environment, folder=self._folder, checkout=self.checkout)

    def migrate(self, *options: str) -> int:
        """Run its migrations, and return the exit code."""
        migration = self.run("migrate", *options)
        try:
            return migration.process.wait(60)
        finally:
            migration.end()

    def start(self) -> None:
        """Start receiver, worker and beat, and wait until they are ready."""
        names = {"receiver": "", "worker": f"worker-{self._port}@%h", "beat": ""}
        for name, hostname in names.items():
            self.running[name] = self.run(name, *([f"--hostname={hostname}"] if hostname else []))
        eventually(lambda: assert_said(self.running["worker"], "ready."), within=40)
        eventually(lambda: assert_ready(self.url), within=40)
        assert Path(f"/proc/{self.running['worker'].drain_pids()[0]}/cwd").resolve() == self.checkout.resolve()

    def stop(self) -> None:
        """Stop them as a deploy does, and wait until they have ended."""
        for program in self.running.values():
            program.process.send_signal(signal.SIGTERM)
        for name, program in self.running.items():
            code = program.stop()
            assert code in (0, -signal.SIGTERM), f"{name} ended with {code}: {program.log[-2000:]}"
        self.running.clear()

    def end(self) -> None:
        """Kill what is left."""
        for program in self.running.values():
            program.end()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have its drain processes stand still: what is drained meanwhile, the other release has drained."""
        drains = self.running["worker"].drain_pids()
        for pid in drains:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in drains:
                os.kill(pid, signal.SIGCONT)


def assert_each_once(database_url: str, client: redis.Redis, traffic: Traffic) -> None:
    """Look at every event and every view: each there once, with the campaign and the reader of its message."""
    expected = {f"e{number}": to(number) for number in range(traffic.sent)}
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT event_id, state, campaign_id, subscriber_id FROM azure_engagement_events"
        ).fetchall()
        views = connection.execute("SELECT campaign_id, subscriber_id FROM campaign_views").fetchall()
        quarantined = connection.execute("SELECT count(*) FROM attribution_quarantine").fetchone()
    assert len(rows) == len(expected)
    assert {event_id: (state, campaign, reader) for event_id, state, campaign, reader in rows} == {
        event_id: ("attributed", *target) for event_id, target in expected.items()
    }
    assert sorted(views) == sorted(expected.values())
    assert quarantined == (0,)
    assert backlog(client) == (0, 0)


@pytest.mark.timeout(300)
def test_an_upgrade_and_the_way_back_under_traffic_lose_nothing_and_count_nothing_twice(
    tmp_path: Path, empty_database_url: str, redis_url: str, redis_client: redis.Redis
) -> None:
    commit = release_before_the_newest_migration()
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        listmonk.install(connection, campaigns=100, subscribers=1000)
    old = Release(check_out(commit, tmp_path / "old"), tmp_path, empty_database_url, redis_url)
    new = Release(ROOT, tmp_path, empty_database_url, redis_url)
    traffic = Traffic([old.url])

    def settled() -> None:
        try:
            eventually(lambda: assert_each_once(empty_database_url, redis_client, traffic), within=60, every=0.2)
        except AssertionError as error:
            logs = [program.log[-3000:] for release in (old, new) for program in release.running.values()]
            raise AssertionError("\n".join([str(error), str(redis_client.xinfo_groups(EVENTS)), *logs])) from error

    with ExitStack() as running:
        running.callback(traffic.close)
        running.callback(old.end)
        running.callback(new.end)

        assert old.migrate() == 0
        assert new.migrate("--check") == 1, "the release before must not know the newest migration"
        old.start()
        traffic.send(50)
        settled()

        with traffic.going_on():
            before = traffic.sent
            assert new.migrate() == 0
        assert traffic.sent > before
        assert (old.migrate("--check"), new.migrate("--check")) == (0, 0)
        traffic.send(50)
        settled()

        with traffic.going_on():
            new.start()
        traffic.receivers.append(new.url)
        traffic.send(50)
        settled()
        for release in (old, new):
            with release.frozen():
                traffic.send(20)
                settled()

        traffic.receivers.remove(old.url)
        with traffic.going_on():
            old.stop()
        settled()

        with traffic.going_on():
            old.start()
        traffic.receivers[:] = [old.url]
        with traffic.going_on():
            new.stop()
        traffic.send(50)
        settled()
