"""Addresses that lead through a proxy, and connections that a network has forgotten."""

from __future__ import annotations

from urllib.parse import urlsplit

from proof.proxy import Proxies, Proxy
from stack.state import HOST
from tests.waiting import eventually


def through(proxies: Proxies, url: str) -> tuple[Proxy, str]:
    """Put a proxy before the server of ``url``; return it, and the address that leads through it."""
    parts = urlsplit(url)
    assert parts.port is not None
    proxy = proxies.add(parts.scheme, parts.port)
    user, at, _ = parts.netloc.rpartition("@")
    return proxy, parts._replace(netloc=f"{user}{at}{HOST}:{proxy.port}").geturl()


def forget_connections(proxies: Proxies, proxy: Proxy) -> int:
    """Pass nothing more on any connection there is, and close none: new ones work. Return how many there were.

    So a firewall does that has forgotten them. To both ends they look alive, and bytes sent are even acknowledged.
    """

    def forget() -> int:
        for connection in proxy.open_connections:
            connection.fall_silent()
        return len(proxy.open_connections)

    return proxies.call(forget, 0)


def lead_elsewhere(proxy: Proxy, url: str) -> None:
    """Have new connections led to the server of ``url``, as when a name or an address is moved in a failover."""
    port = urlsplit(url).port
    assert port is not None
    proxy.target = (HOST, port)


def assert_connected(proxy: Proxy, at_least: int = 1) -> None:
    assert len(proxy.open_connections) >= at_least


def wait_until_connected(proxy: Proxy, at_least: int = 1) -> None:
    eventually(lambda: assert_connected(proxy, at_least), within=30)
