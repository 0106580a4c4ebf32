"""Why a server cannot be used, by what it or its library said; without its host, which the operator knows."""

from __future__ import annotations

from typing import Final

from cli.doctor.findings import Finding, failure

#: Words of PostgreSQL or libpq, what they mean, and what to do. The first that are found count.
_POSTGRESQL: Final = (
    ("password authentication failed", "it refuses the password, or knows no such user",
     "Compare user and password in ATTRIBUTION_DATABASE_URL with PostgreSQL's; characters such as @ in it are written"
     " with %, as %40."),
    ("no password supplied", "it wants a password", "Write one into ATTRIBUTION_DATABASE_URL: postgresql://user:password@…"),
    ("no pg_hba.conf entry", "it lets nobody in from this machine, as this user, in this way",
     "Add a line for it to pg_hba.conf, or ask for TLS: ?sslmode=require."),
    ("does not support ssl", "it does not speak TLS, and ATTRIBUTION_DATABASE_URL asks for it",
     "Switch ssl on in PostgreSQL. Only on a private network, take sslmode out of the address."),
    ("certificate", "its certificate cannot be trusted",
     "Name the authority that signed it in the address (?sslrootcert=…), and the server as in its certificate."),
    ("does not exist", "there is no such database, or no such user",
     "Create it, or correct the name in ATTRIBUTION_DATABASE_URL."),
    ("url", "ATTRIBUTION_DATABASE_URL cannot be read",
     "Write postgresql://user:password@host:5432/name; characters such as @ in the password as %40."),
    ("too many", "all its connections are taken", "End what does not need them, or raise max_connections."),
    ("remaining connection slots", "all its connections are taken",
     "End what does not need them, or raise max_connections."),
    ("starting up", "it is starting", "Wait, and look at its log if it does not end."),
    ("shutting down", "it is stopping", "Start it again."),
    ("recovery", "it is recovering", "Wait, and look at its log if it does not end."),
    ("read-only", "each of its hosts is read-only",
     "Promote a standby, or name the primary in ATTRIBUTION_DATABASE_URL."),
    ("translate host name", "the name of its host cannot be resolved",
     "Correct it in ATTRIBUTION_DATABASE_URL, or DNS."),
    ("resolve host", "the name of its host cannot be resolved", "Correct it in ATTRIBUTION_DATABASE_URL, or DNS."),
    ("name or service not known", "the name of its host cannot be resolved",
     "Correct it in ATTRIBUTION_DATABASE_URL, or DNS."),
    ("refused", "nothing listens on its port", "Start it, or correct host and port in ATTRIBUTION_DATABASE_URL."),
    ("timeout", "it does not answer", "Look whether it runs, and whether a firewall is between."),
    ("timed out", "it does not answer", "Look whether it runs, and whether a firewall is between."),
)  # fmt: skip

_REDIS: Final = (
    ("wrongpass", "it refuses the password, or knows no such user",
     "Compare {setting} with Redis's requirepass or ACL; characters such as / in it are written with %, as %2F."),
    ("invalid password", "it refuses the password", "Compare {setting} with Redis's requirepass."),
    ("invalid username-password", "it refuses the password, or knows no such user",
     "Compare {setting} with Redis's requirepass or ACL; characters such as / in it are written with %, as %2F."),
    ("without any password", "it has no password, and {setting} names one", "Set requirepass in Redis, to the same."),
    ("noauth", "it wants a password", "Write it into {setting}: redis://:password@…"),
    ("authentication required", "it wants a password", "Write it into {setting}: redis://:password@…"),
    ("noperm", "its user may not do this", "Give the user what it needs: ACL SETUSER … ~attribution:* +@all."),
    ("no permission", "its user may not do this", "Give the user what it needs: ACL SETUSER … ~attribution:* +@all."),
    ("db index is out of range", "it has no database of this number", "Name another one at the end of {setting}: /0."),
    ("loading", "it is loading its data", "Wait, and look at its log if it does not end."),
    ("certificate", "its certificate cannot be trusted", "Name the authority that signed it: ?ssl_ca_certs=…"),
    ("ssl", "TLS cannot be spoken with it", "Write rediss:// for a Redis with TLS, redis:// for one without."),
    ("name or service not known", "the name of its host cannot be resolved", "Correct it in {setting}, or DNS."),
    ("name resolution", "the name of its host cannot be resolved", "Correct it in {setting}, or DNS."),
    ("refused", "nothing listens on its port", "Start it, or correct host and port in {setting}."),
    ("cannot be read", "{setting} cannot be read", "Write redis://:password@host:6379/0; / and the like in it as %2F."),
    ("max number of clients", "all its connections are taken", "End what does not need them, or raise maxclients."),
    ("timeout", "it does not answer",
     "Look whether it runs, whether a firewall is between, and, with rediss://, whether it speaks TLS."),
    ("timed out", "it does not answer",
     "Look whether it runs, whether a firewall is between, and, with rediss://, whether it speaks TLS."),
    ("closed", "it ends the connection",
     "Perhaps TLS is spoken there: write rediss:// in {setting}. Or look at Redis's log."),
)  # fmt: skip


def explain_postgresql(error: Exception) -> Finding:
    """Say why PostgreSQL cannot be used."""
    return _explain(str(error), _POSTGRESQL, "PostgreSQL", "ATTRIBUTION_DATABASE_URL")


def explain_redis(server: str, error: Exception) -> Finding:
    """Say why a Redis cannot be used. ``server`` is what to call it."""
    return _explain(
        str(error), _REDIS, server, "ATTRIBUTION_REDIS_URL" if server == "Redis" else "ATTRIBUTION_BROKER_URL"
    )


def _explain(text: str, known: tuple[tuple[str, str, str], ...], server: str, setting: str) -> Finding:
    said = text.casefold()
    for words, meaning, fix in known:
        if words in said:
            return failure(f"{server} cannot be used: {meaning.format(setting=setting)}.", fix.format(setting=setting))
    return failure(
        f"{server} cannot be used, for a reason that is not known here.",
        f"Try {setting} with its own client, and look at the server's log.",
    )
