"""Addresses of PostgreSQL with one host and with several."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from db.address import parse_address
from db.engine import create_engine
from db.errors import Fault, fault_of


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("one,two", "one,two", "5432,5432"),
        ("one:5433,two", "one,two", "5433,5432"),
        ("one.example.com:1,two.example.com:2,three:3", "one.example.com,two.example.com,three", "1,2,3"),
        ("[::1]:5433,[fe80::1]", "::1,fe80::1", "5433,5432"),
    ],
)
def test_several_hosts_are_told_as_libpq_wants_them(written: str, host: str, port: str) -> None:
    url, arguments = parse_address(f"postgresql://user:p%40ss@{written}/name?target_session_attrs=read-write")
    assert arguments == {"host": host, "port": port}
    assert (url.username, url.password, url.host, url.database) == ("user", "p@ss", None, "name")
    assert url.query == {"target_session_attrs": "read-write"}


@pytest.mark.parametrize("url", ["postgresql://user:a,b@host:5/name", "postgres://host/name?options=-c%20x%3D1,2"])
def test_a_comma_elsewhere_makes_no_second_host(url: str) -> None:
    parsed, arguments = parse_address(url)
    assert arguments == {}
    assert parsed.host == "host"


@pytest.mark.parametrize("hosts", ["one,", ",one", "one:port,two", "one:1:2,two", "[::1,two"])
def test_hosts_that_cannot_be_read_are_refused_without_repeating_them(hosts: str) -> None:
    with pytest.raises(ValueError, match="cannot be read") as caught:
        parse_address(f"postgresql://user:s3cret@{hosts}/name")
    assert "s3cret" not in str(caught.value)
    assert hosts not in str(caught.value)


@pytest.mark.parametrize("dead_first", [True, False])
def test_a_host_that_is_down_is_passed_over(database_url: str, dead_first: bool) -> None:
    parts = urlsplit(database_url)
    user, _, host = parts.netloc.rpartition("@")
    hosts = f"127.0.0.1:1,{host}" if dead_first else f"{host},127.0.0.1:1"
    url = parts._replace(netloc=f"{user}@{hosts}", query="target_session_attrs=read-write").geturl()
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as conn:
        assert conn.execute(sa.text("SELECT 1")).scalar_one() == 1


def test_a_connection_to_what_has_become_a_standby_is_not_used_again(database_url: str) -> None:
    """A failover that cuts no connection leaves the pool full of those to the old primary, which only reads now."""
    engine = create_engine(database_url, pool_size=1, for_batches=True)
    with engine.connect() as conn:
        old = conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        conn.execute(sa.text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
        conn.commit()
        with pytest.raises(sa.exc.DBAPIError) as caught:
            conn.execute(sa.text("DELETE FROM azure_engagement_events"))
        assert fault_of(caught.value) is Fault.TRANSIENT
    with engine.begin() as conn:
        assert conn.execute(sa.text("SELECT pg_backend_pid()")).scalar_one() != old
        conn.execute(sa.text("DELETE FROM azure_engagement_events"))
    engine.dispose()
