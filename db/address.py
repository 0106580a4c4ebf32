"""The address of PostgreSQL, as libpq reads it: with one host, or with several for a primary and its standbys."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

#: ``scheme://user:password@`` and the hosts behind it, of which there are several. The password's own @ is written %40.
_SEVERAL_HOSTS = re.compile(r"(?P<before>[^:/?#]+://(?:[^@/?#]*@)?)(?P<hosts>[^@/?#]*,[^@/?#]*)(?P<after>[/?].*)?")
#: An address in brackets or a name, and perhaps a port.
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>\d+))?")
_PORT = "5432"


def parse_address(database_url: str) -> tuple[URL, dict[str, Any]]:
    """Return the URL for SQLAlchemy, and what it cannot hold: hosts and ports, where there are several.

    ``postgresql://user:password@one:5432,two:5432/name?target_session_attrs=read-write`` leads to whichever of the two
    takes writes when a connection is made.

    Raises:
        ValueError: it cannot be read. The text does not repeat it.
    """
    several = _SEVERAL_HOSTS.fullmatch(database_url)
    hosts = several["hosts"].split(",") if several else []
    if several:
        database_url = several["before"] + (several["after"] or "")
    try:
        url = make_url(database_url)
        arguments = _arguments(hosts)
    except (sa.exc.ArgumentError, ValueError):
        raise ValueError(
            "the database URL cannot be read; write postgresql://user:password@host:5432/name, and several hosts with "
            "commas between them"
        ) from None
    if "@" in (url.host or ""):  # the rest of a password, which a failed look-up of the host would spell out
        raise ValueError("the database URL holds more than one @; write the one in the password as %40")
    return url, arguments


def _arguments(hosts: list[str]) -> dict[str, Any]:
    if not hosts:
        return {}
    found = [_HOST.fullmatch(host) for host in hosts]
    if not all(found):
        raise ValueError("no host")
    return {
        "host": ",".join(unquote(each["ipv6"] or each["name"]) for each in found if each),
        "port": ",".join(each["port"] or _PORT for each in found if each),
    }
