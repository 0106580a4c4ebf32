"""How the doctor works whatever it meets, and how it says what it has found."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.doctor.catalogue import SUBJECTS
from cli.doctor.examination import examine
from cli.doctor.findings import Finding, Level, Missing, Subject, failure, hint
from cli.doctor.installation import Installation
from cli.main import main
from proof import clock
from stack.services import remove
from stack.state import StateFolder
from tests.cli.doctor.conftest import NOWHERE, Diagnose, random_secret
from tests.conftest import MakePostgres
from tests.faults.standby import make_standby

needs_clocks = pytest.mark.skipif(not clock.available(), reason="clocks cannot jump here")

#: Everything the command is documented to write.
KEYS = {"healthy", "checked_at", "version", "counts", "ignored", "findings"}


def told(*options: str, **environment: str) -> Result:
    variables = {f"ATTRIBUTION_{name.upper()}": value for name, value in environment.items()}
    return CliRunner().invoke(main, ["doctor", *options], env=variables)


def test_an_exception_in_a_check_is_a_finding_without_its_text_and_ends_no_other() -> None:
    broken = Subject("broken", "Broken")

    @broken.check("first", "It works.")
    def first(_: Installation) -> Iterator[Finding]:
        yield hint("Something was seen before.")
        raise RuntimeError("postgresql://user:password@host/name")

    @broken.check("second", "It works.")
    def second(_: Installation) -> Iterator[Finding]:
        yield from ()

    with Installation() as installation:
        found = examine(installation, [broken], {"broken-first", "broken-second"})
    assert [(each.check.name, each.level, each.sentence) for each in found] == [
        ("broken-first", Level.HINT, "Something was seen before."),
        ("broken-first", Level.FAILURE, "This could not be looked at: RuntimeError."),
        ("broken-second", Level.OK, "It works."),
    ]


def test_a_check_that_hangs_is_left_behind_and_other_subjects_are_told() -> None:
    hanging, other = Subject("hanging", "Hanging"), Subject("other", "Other")
    released = threading.Event()

    @hanging.check("check", "It ends.")
    def hang(_: Installation) -> Iterator[Finding]:
        released.wait(30)
        yield from ()

    @hanging.check("next", "It comes.")
    def never(_: Installation) -> Iterator[Finding]:
        yield from ()

    @other.check("check", "All is well.")
    def well(_: Installation) -> Iterator[Finding]:
        yield from ()

    try:
        with Installation() as installation:
            names = {"hanging-check", "hanging-next", "other-check"}
            found = examine(installation, [hanging, other], names, longest=timedelta(seconds=0.2))
    finally:
        released.set()
    assert [(each.check.name, each.level) for each in found] == [
        ("hanging-check", Level.FAILURE),
        ("hanging-next", Level.FAILURE),
        ("other-check", Level.OK),
    ]
    assert found[0].sentence == "This was not answered within 0.2 seconds."


def test_what_is_missing_is_made_once_and_told_to_each_who_asks() -> None:
    made = []

    def make() -> str:
        made.append(1)
        raise Missing("it is away", failure("It is away.", "Bring it back."))

    with Installation() as installation:
        for _ in range(3):
            with pytest.raises(Missing, match="it is away"):
                installation.once("something", make)
    assert made == [1]


def test_the_keys_of_the_json_are_those_of_the_page(diagnose: Diagnose) -> None:
    document = diagnose(only="settings").document
    assert document.keys() == KEYS
    assert document["counts"].keys() == {level.value for level in Level}
    assert {frozenset(found) for found in document["findings"]} == {
        frozenset({"check", "subject", "level", "sentence", "fix"})
    }


def test_each_check_has_a_name_of_its_own_and_a_sentence() -> None:
    checks = [check for subject in SUBJECTS for check in subject.checks]
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.meaning.endswith(".") for check in checks)


def test_people_are_told_what_is_wrong_and_what_to_do_and_each_reason_once() -> None:
    done = told(database_url=f"postgresql://user:word@{NOWHERE}/name", redis_url=f"redis://:word@{NOWHERE}/0")
    assert done.exit_code == 1
    assert "✗  database-reachable  PostgreSQL cannot be used: nothing listens on its port." in done.output
    assert "Start it, or correct host and port in ATTRIBUTION_DATABASE_URL." in done.output
    assert done.output.count("Not looked at, because PostgreSQL cannot be used: database-version") == 1
    assert "settings-claim" not in done.output, "what is in order is not shown"
    assert "word" not in done.output.replace("password", "")
    assert "Traceback" not in done.output


def test_no_secret_is_in_what_it_says_however_much_is_wrong(redis_url: str, database_url: str) -> None:
    mark = "changeme-Zq7"  # weak, and shared, so that there is much to say of it
    host = redis_url.rpartition("@")[2]
    environment = {
        "event_secrets": f"{mark}{mark},{mark}{mark}1",
        "message_secrets": f"{mark}{mark}",
        "recipient_key": mark * 3,
        "webhook_url": f"https://hooks.example.com/{mark}",
        "webhook_secrets": "whsec_" + base64.b64encode(mark.encode() * 2).decode(),
        "flower_auth": f"{mark}:{mark}",
        "sentry_dsn": f"https://{mark}@sentry.example.com/1",
        "redis_url": f"redis://{mark}:{mark}@{host}",
        "broker_url": f"redis://:{mark}@db.{mark}.example.com:6379/0",
        "database_url": database_url.replace("attribution:", f"{mark}:{mark}", 1),
    }
    url = f"--url=https://events.example.com:1/eventgrid?code={mark}"
    for option in ("--json", "--all"):
        done = told(url, option, "--only=settings", "--only=secrets", "--only=encryption", "--only=handshake-address",
                    "--only=database", "--only=redis", "--only=celery", **environment)  # fmt: skip
        assert done.exit_code == 1
        assert "Zq7" not in done.output
        assert "can be guessed" in done.output
        assert "refuses the password" in done.output


def test_what_is_in_order_is_shown_on_request() -> None:
    done = told("--all", "--only", "settings-worker", database_url=f"postgresql://{NOWHERE}/name")
    assert "✓  settings-worker  The worker's settings can be used." in done.output
    assert done.output.endswith("1 of 1 checks found all in order; nothing else.\n")
    assert done.exit_code == 0


def test_warnings_count_where_that_is_asked_for() -> None:
    settings = {"event_secrets": random_secret(), "memory_limit_percent": "95"}
    assert told("--only=settings", **settings).exit_code == 0
    done = told("--only=settings", "--strict", **settings)
    assert done.exit_code == 1
    assert "!  settings-memory-limit" in done.output


def test_a_check_that_there_is_not_is_a_usage_error() -> None:
    for option in ("--only", "--ignore"):
        done = told(option, "redis-memroy")
        assert done.exit_code == 2
        assert f"Invalid value for {option}: there is no check 'redis-memroy'" in done.output


@needs_clocks
def test_clocks_that_have_drifted_apart_are_found(database_url: str, redis_url: str, tmp_path: Path) -> None:
    made = clock.Clock(tmp_path / "clock")
    try:
        environment = {
            "PATH": os.environ["PATH"],
            "ATTRIBUTION_DATABASE_URL": database_url,
            "ATTRIBUTION_REDIS_URL": redis_url,
            **made.environment(),
        }
        made.jump(-3600)
        done = subprocess.run(
            [sys.executable, "-m", "cli", "doctor", "--json", "--only=database-clock", "--only=redis-clock"],
            cwd=Path(__file__).parents[3],
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
        )
    finally:
        made.remove()
    assert done.returncode == 1, done.stderr
    sentences = {found["check"]: found["sentence"] for found in json.loads(done.stdout)["findings"]}
    assert sentences["database-clock"].startswith("The clock of PostgreSQL is 3,6")
    assert sentences["redis-clock"].startswith("The clock of Redis is 3,6")
    assert all("seconds ahead of this machine's" in sentence for sentence in sentences.values())


@pytest.mark.timeout(120)
def test_a_standby_is_found(
    private_postgres: MakePostgres, tmp_path_factory: pytest.TempPathFactory, diagnose: Diagnose
) -> None:
    primary = private_postgres()
    folder = tmp_path_factory.mktemp("standby")
    state = StateFolder(folder)
    try:
        with state.owned():
            standby = make_standby(state, primary)
            try:
                diagnosis = diagnose(only="database", database_url=standby.url)
                following = diagnose(only="database-durability", database_url=primary.url)
            finally:
                standby.stop()
    finally:
        remove(folder)
    assert diagnosis.one("database-writable")[:2] == (
        "failure",
        "ATTRIBUTION_DATABASE_URL leads to a standby, which is read-only: nothing can be recorded.",
    )
    unlooked = [sentence for check, _, sentence in diagnosis.bad() if "could not be looked at" in sentence]
    assert unlooked == [], "every question can be asked of a standby"
    assert following.one("database-durability")[1].startswith("fsync is off"), "as for all servers of tests"
