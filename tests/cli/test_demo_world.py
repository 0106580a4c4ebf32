"""The demo's world is its own: what the user's servers hold stays as it is."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from cli.demo_world import Unsound, World, await_drain, empty_database, empty_redis
from cli.failures import Failed
from stack.services import Services


def the_users(database_url: str = "", redis_url: str = "") -> Services:
    return Services(database_url=database_url, redis_url=redis_url, postgres=None, redis=None)


def databases(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def end_by(error: BaseException, url: str, made: list[str]) -> None:
    """Have a demo's database made, note its name, and fail."""
    with empty_database(the_users(url)) as demos_url:
        made.append(urlsplit(demos_url).path.lstrip("/"))
        raise error


def test_demo_makes_a_database_of_its_own_and_drops_it(empty_database_url: str) -> None:
    before = databases(empty_database_url)
    with empty_database(the_users(empty_database_url)) as url:
        assert urlsplit(url).path != urlsplit(empty_database_url).path
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
    assert databases(empty_database_url) - before == set()


def test_database_of_an_interrupted_demo_is_dropped(empty_database_url: str) -> None:
    made: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        end_by(KeyboardInterrupt(), empty_database_url, made)
    assert made[0] not in databases(empty_database_url)


def test_database_of_an_unsound_demo_is_kept_and_named(empty_database_url: str) -> None:
    made: list[str] = []
    with pytest.raises(Unsound) as raised:
        end_by(Unsound("An event is off."), empty_database_url, made)
    try:
        assert str(raised.value.message) == f"An event is off. The database {made[0]} is kept."
        assert made[0] in databases(empty_database_url)
    finally:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{made[0]}" WITH (FORCE)')


def test_role_that_may_not_create_databases_is_refused_with_a_sentence(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE attribution_test_humble LOGIN PASSWORD 'humble'")
        try:
            parts = urlsplit(empty_database_url)
            humble = parts._replace(netloc=f"attribution_test_humble:humble@{parts.hostname}:{parts.port}").geturl()
            with pytest.raises(Failed, match="may not create one"), empty_database(the_users(humble)):
                pass
        finally:
            connection.execute("DROP ROLE attribution_test_humble")


def test_redis_that_holds_keys_is_refused_and_left_as_it_is(redis_url: str, redis_client: redis.Redis) -> None:
    redis_client.set("precious", "1")
    with pytest.raises(Failed, match="holds keys"), empty_redis(the_users(redis_url=redis_url)):
        pass
    assert redis_client.get("precious") == b"1"


def test_redis_is_empty_again_after_the_demo(redis_url: str, redis_client: redis.Redis) -> None:
    with empty_redis(the_users(redis_url=redis_url)):
        redis_client.set("of the demo", "1")
    assert redis_client.dbsize() == 0


def test_drain_is_awaited(redis_url: str, redis_client: redis.Redis) -> None:
    with pytest.raises(Failed, match="does not drain"):
        await_drain(redis_url, within=0.1)
    redis_client.xgroup_create("attribution:events", "attribution", id="0", mkstream=True)
    await_drain(redis_url, within=0.1)


def test_processes_take_none_of_the_users_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_PARK_SCHEDULE", "1")
    monkeypatch.setenv("ATTRIBUTION_BROKER_URL", "redis://precious.example.com/0")
    world = World("postgresql://u:p@127.0.0.1:1/demo", "redis://127.0.0.1:1/0", port=1)
    for program in world.programs():
        assert "ATTRIBUTION_PARK_SCHEDULE" not in program.environment
        assert "ATTRIBUTION_BROKER_URL" not in program.environment
        assert program.environment["ATTRIBUTION_DATABASE_URL"] == world.database_url
    assert world.event_secret != world.message_secret


def test_command_of_an_operator_runs_in_the_world(database_url: str) -> None:
    world = World(database_url, "redis://127.0.0.1:1/0", port=1)
    assert world.run("quarantine") == "Nothing is in quarantine.\n"
    with pytest.raises(Failed) as raised:
        world.run("quarantine", "--nonsense")
    assert raised.value.message.startswith("`attribution quarantine --nonsense` ended with 2: ")
    assert "No such option" in raised.value.message
