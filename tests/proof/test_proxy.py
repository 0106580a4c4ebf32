"""Each misbehaviour of the proxy as the two programs see it between which it stands."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from proof.proxy import Proxies, Proxy
from proof.relay import CHUNK, HELD_BYTES
from stack.state import HOST
from tests.proof.peers import Target, connect, is_quiet, is_reset_at_once, receive, reset, target_on, was_reset
from tests.waiting import eventually


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    with Proxies() as running:
        yield running


@pytest.fixture
def target() -> Iterator[Target]:
    with target_on() as listening:
        yield listening


@pytest.fixture
def proxy(proxies: Proxies, target: Target) -> Proxy:
    return proxies.add("between", target.port)


Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair(proxy: Proxy, target: Target) -> Iterator[Pair]:
    """A connection: the client's end and the target's."""
    with connect(proxy.port) as client, target.connection() as server:
        yield client, server


def assert_passes(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"question")
    assert receive(server, 8) == b"question"
    server.sendall(b"answer")
    assert receive(client, 6) == b"answer"


def test_bytes_pass_both_ways_in_order_and_are_counted(proxy: Proxy, pair: Pair) -> None:
    client, server = pair
    sent = bytes(range(256)) * 40_000  # more than all buffers between hold
    with ThreadPoolExecutor() as pool:
        pool.submit(client.sendall, sent)
        assert receive(server, len(sent)) == sent
        pool.submit(server.sendall, sent)
        assert receive(client, len(sent)) == sent
    assert proxy.connections == 1
    eventually(lambda: _assert_equal(proxy.bytes, 2 * len(sent)))


def test_a_half_close_is_passed_on_and_the_other_half_goes_on(pair: Pair) -> None:
    client, server = pair
    client.sendall(b"all I have to say")
    client.shutdown(socket.SHUT_WR)
    assert receive(server, 100) == b"all I have to say"
    server.sendall(b"answer")
    server.shutdown(socket.SHUT_WR)
    assert receive(client, 100) == b"answer"
    assert receive(server, 1) == b""


def test_a_reset_of_one_end_resets_the_other(proxy: Proxy, target: Target) -> None:
    with connect(proxy.port) as client:
        reset(target.connection())
        assert was_reset(client)
    client = connect(proxy.port)
    with target.connection() as server:
        reset(client)
        assert was_reset(server)


def test_cut_resets_every_connection_at_both_ends_and_new_ones_pass(proxy: Proxy, target: Target) -> None:
    with ExitStack() as sockets:
        pairs = [(sockets.enter_context(connect(proxy.port)), target.connection()) for _ in range(3)]
        assert proxy.cut() == 3
        assert all(was_reset(end) for ends in pairs for end in ends)
    assert proxy.cut() == 0
    with connect(proxy.port) as client:
        assert_passes(client, target.connection())


def test_while_slow_each_chunk_is_held_and_none_overtakes_another(proxy: Proxy, pair: Pair) -> None:
    client, server = pair
    with proxy.slow(0.15, jitter=0.1):
        began = time.monotonic()
        for number in range(20):
            client.sendall(bytes([number]))
        assert receive(server, 20) == bytes(range(20))
        # A lower bound: no load on this machine can make it come sooner.
        assert time.monotonic() - began >= 0.15
        began = time.monotonic()
        server.sendall(b"answer")
        assert receive(client, 6) == b"answer"
        assert time.monotonic() - began >= 0.15


def test_what_is_held_is_delivered_when_slowness_ends(proxy: Proxy, pair: Pair) -> None:
    client, server = pair
    with proxy.slow(3600):
        client.sendall(b"held")
        client.shutdown(socket.SHUT_WR)
        assert is_quiet(server)
    assert receive(server, 100) == b"held"


def test_delays_add_up_where_they_are_nested(proxy: Proxy, pair: Pair) -> None:
    client, server = pair
    with proxy.slow(0.1):
        with proxy.slow(3600):
            assert proxy.delay() == pytest.approx(3600.1)
            client.sendall(b"held")
            assert is_quiet(server)
        assert proxy.delay() == pytest.approx(0.1)
        with proxy.slow(0.2):
            assert proxy.delay() == pytest.approx(0.3)
    assert proxy.delay() == 0
    assert receive(server, 4) == b"held"


@pytest.mark.parametrize("slow", [False, True], ids=["a target that does not read", "a slow line"])
def test_who_sends_more_than_the_other_takes_is_kept_waiting(proxy: Proxy, pair: Pair, slow: bool) -> None:
    client, server = pair
    with ExitStack() as faults:
        if slow:
            faults.enter_context(proxy.slow(3600))
        client.setblocking(False)
        sent = 0
        blocked_since = time.monotonic()
        while time.monotonic() - blocked_since < 0.5:
            try:
                sent += client.send(b"x" * CHUNK)
                blocked_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            # What the kernel holds, of which it says no limit to us, is at most a few of its own buffers.
            assert sent < HELD_BYTES + 64 * 1024 * 1024, "the proxy holds whatever it is sent"
    client.setblocking(True)
    assert len(receive(server, sent)) == sent


def test_while_silent_nothing_passes_and_nothing_is_closed(proxy: Proxy, target: Target, pair: Pair) -> None:
    client, server = pair
    assert_passes(client, server)
    with proxy.silent():
        client.sendall(b"question")
        assert is_quiet(server)
        server.sendall(b"answer")
        assert is_quiet(client)
        with connect(proxy.port) as late:
            late.sendall(b"question")
            assert is_quiet(late)
            assert target.has_none
            silent_client = late.dup()
    assert was_reset(client)
    assert receive_until_reset(server) == b""
    with silent_client:
        assert was_reset(silent_client)
    with connect(proxy.port) as new:
        assert_passes(new, target.connection())


def test_while_silent_neither_end_learns_that_the_other_has_died(proxy: Proxy, pair: Pair) -> None:
    client, server = pair
    with proxy.silent():
        reset(client)
        assert is_quiet(server)
    assert was_reset(server)


def test_what_was_on_its_way_when_silence_fell_is_lost(proxy: Proxy, pair: Pair) -> None:
    client, server = pair
    with proxy.slow(3600):
        client.sendall(b"question")
        assert is_quiet(server)
        silence = proxy.silent()
        silence.__enter__()
    assert is_quiet(server)
    silence.__exit__(None, None, None)
    assert receive_until_reset(server) == b""


def test_while_refusing_connections_are_reset_and_refused_and_the_port_comes_back(
    proxy: Proxy, target: Target, pair: Pair
) -> None:
    client, server = pair
    with proxy.refusing(), proxy.refusing():
        assert was_reset(client)
        assert was_reset(server)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy.port)
    with connect(proxy.port) as new:
        assert_passes(new, target.connection())


def test_while_refusing_nobody_else_gets_the_port(proxy: Proxy) -> None:
    with proxy.refusing(), socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind((HOST, proxy.port))


def test_a_port_that_was_taken_all_the_same_is_waited_for(proxy: Proxy, target: Target) -> None:
    with ExitStack() as thief, ThreadPoolExecutor() as pool:
        refusing = proxy.refusing()
        refusing.__enter__()
        # With the option that the proxy uses itself, the kernel lets two be bound until one listens.
        thief.enter_context(socket.create_server((HOST, proxy.port)))
        leaving = pool.submit(refusing.__exit__, None, None, None)
        with pytest.raises(TimeoutError):
            leaving.result(0.2)
        thief.close()
        leaving.result(30)
    with connect(proxy.port) as client:
        assert_passes(client, target.connection())


def test_a_lost_reply_leaves_the_question_answered_for_nobody(proxy: Proxy, target: Target, pair: Pair) -> None:
    client, server = pair
    with proxy.swallowing_replies():
        client.sendall(b"question")
        assert receive(server, 8) == b"question"
        server.sendall(b"answer")
        server.shutdown(socket.SHUT_WR)
        client.sendall(b"more")
        assert receive(server, 4) == b"more"
        assert is_quiet(client)
    assert receive_until_reset(client) == b""
    assert was_reset(server)
    with connect(proxy.port) as new:
        assert_passes(new, target.connection())


def test_a_target_that_is_down_resets_its_clients_and_may_come_back_on_its_port(proxies: Proxies) -> None:
    with target_on() as first:
        proxy = proxies.add("restarted", first.port)
        client = connect(proxy.port)
        assert_passes(client, first.connection())
    with client:
        assert receive(client, 1) == b""  # the target closed what it had, in order
    assert is_reset_at_once(proxy.port)
    with target_on(first.port) as second, connect(proxy.port) as new:
        assert_passes(new, second.connection())


def test_faults_of_several_threads_at_once_leave_a_line_that_works(proxy: Proxy, target: Target) -> None:
    barrier = threading.Barrier(4)

    def disturb(number: int) -> None:
        barrier.wait()
        for _ in range(10):
            proxy.cut()
            with (proxy.slow(0.001), proxy.silent(), proxy.refusing(), proxy.swallowing_replies())[number]:
                proxy.cut()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(disturb, range(4)))
    with connect(proxy.port) as client:
        assert_passes(client, target.connection())


def test_a_closed_proxy_refuses_and_takes_no_harm_from_orders(target: Target) -> None:
    with Proxies() as proxies:
        proxy = proxies.add("short-lived", target.port)
        client = connect(proxy.port)
        slow = proxy.slow(1)
        slow.__enter__()
    assert was_reset(client)
    client.close()
    slow.__exit__(None, None, None)
    with proxy.silent(), proxy.refusing():
        assert proxy.cut() == 0
    with pytest.raises(ConnectionRefusedError):
        connect(proxy.port)


def receive_until_reset(connection: socket.socket) -> bytes:
    received = b""
    while True:
        try:
            chunk = connection.recv(65536)
        except ConnectionResetError:
            return received
        assert chunk, "closed, not reset"
        received += chunk


def _assert_equal(actual: int, expected: int) -> None:
    assert actual == expected
