"""How far away a server is, by its name or number alone: that decides what a connection in plain text may cost."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import Final

#: Endings of names that resolve within a network only.
_PRIVATE: Final = (".local", ".internal", ".svc", ".lan", ".home.arpa", ".intranet", ".private")
_PORT: Final = re.compile(r":\d*$")


class Distance(StrEnum):
    """Who is on the way to a server."""

    #: Nobody: it is this machine.
    HERE = "here"
    #: Whoever is in the same network.
    NETWORK = "network"
    #: Anybody.
    WORLD = "world"


def distance_of(host: str) -> Distance:
    """Return how far ``host`` is away; it may have a port, and brackets around it. None at all is a socket here."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else _PORT.sub("", host)
    name = name.casefold().rstrip(".")
    if not name or name.startswith(("/", "%2f")) or name == "localhost":
        return Distance.HERE
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        # One word is a service of Compose or Kubernetes, or another machine of a site.
        return Distance.NETWORK if "." not in name or name.endswith(_PRIVATE) or ".svc." in name else Distance.WORLD
    if address.is_loopback:
        return Distance.HERE
    return Distance.NETWORK if address.is_private else Distance.WORLD
