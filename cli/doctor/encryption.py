"""The way to the servers: who could read along, or pass for one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

from cli.doctor.distance import Distance, distance_of
from cli.doctor.findings import Finding, Subject, hint, warning
from cli.doctor.installation import Installation

subject: Final = Subject("encryption", "Encryption")

_READ_ALONG: Final = "the password, and who read what, can be read along"


@subject.check("redis", "The way to Redis is encrypted, or short.")
def redis_encryption(installation: Installation) -> Iterator[Finding]:
    """Look for Redis in plain text over a network, and for TLS that trusts anybody."""
    for server, url in installation.redis_servers.items():
        setting = "ATTRIBUTION_REDIS_URL" if server == "Redis" else "ATTRIBUTION_BROKER_URL"
        parts = urlsplit(url)
        distance = distance_of(parts.netloc.rpartition("@")[2])
        verified = parse_qs(parts.query).get("ssl_cert_reqs", [""])[-1].casefold().removeprefix("cert_")
        if parts.scheme == "rediss":
            if verified != "required":
                yield warning(
                    f"{setting} does not insist on the certificate of the server: Celery trusts any, and so talks to"
                    " whoever is in between.",
                    f"Write ?ssl_cert_reqs=required at the end of {setting}.",
                )
        else:
            yield from _plain(distance, setting, "Write rediss:// for TLS.")


@subject.check("database", "The way to PostgreSQL is encrypted, or short.")
def database_encryption(installation: Installation) -> Iterator[Finding]:
    """Look for PostgreSQL in plain text over a network, and for TLS that trusts anybody."""
    parts = urlsplit(installation.worker.database_url.get_secret_value())
    query = parse_qs(parts.query)
    hosts = [*parts.netloc.rpartition("@")[2].split(","), *(each for each in query.get("host", []) if each)]
    named = [host for host in hosts if host] or [""]
    distance = max((distance_of(host) for host in named), key=list(Distance).index)
    mode = query.get("sslmode", ["prefer"])[-1]
    if mode in ("disable", "allow", "prefer"):
        yield from _plain(
            distance, "ATTRIBUTION_DATABASE_URL", "Write ?sslmode=verify-full, or at least ?sslmode=require."
        )
    elif mode == "require" and "sslrootcert" not in query and distance is Distance.WORLD:
        yield hint(
            "sslmode=require encrypts, and trusts any certificate: whoever is in between can pass for PostgreSQL.",
            "Write sslmode=verify-full, with the authority that signed it in sslrootcert.",
        )


def _plain(distance: Distance, setting: str, fix: str) -> Iterator[Finding]:
    if distance is Distance.WORLD:
        yield warning(f"{setting} leads over the network in plain text: {_READ_ALONG}.", fix)
    elif distance is Distance.NETWORK:
        yield hint(
            f"{setting} leads over a private network in plain text: {_READ_ALONG} by whoever is in it.",
            f"{fix} Where nobody else is in that network, leave it.",
        )
