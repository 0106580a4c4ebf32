"""Endpoints that are dead, slow, endless or that nobody vouches for hold up one run, and no more."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.outbox import count_unsent
from tasks import webhook
from tests.tasks.webhook.conftest import Configure
from tests.tasks.webhook.sending import fill, kept, make_due, only, run
from tests.tasks.webhook_endpoint import WebhookEndpoint, serving
from tests.worker.certificates import write_certificate
from worker.webhook_post import ANSWER_LIMIT_BYTES


def test_a_dead_endpoint_costs_one_attempt_a_run_however_much_there_is_to_send(
    engine: Engine, configure: Configure
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    configure(url, webhook_batch=1)
    fill(engine, 20)
    assert run() == "failed 1"
    assert only(engine).last_error == "no answer (ConnectionRefusedError)"
    make_due(engine)
    assert run() == "failed 1"
    assert len(kept(engine)) == 1


def test_a_failure_in_the_middle_ends_the_run(engine: Engine, endpoint: WebhookEndpoint, configure: Configure) -> None:
    configure(endpoint.url, webhook_batch=1)
    fill(engine, 50)
    endpoint.reply = lambda number: (204 if number < 10 else 500, {})
    run()
    assert 11 <= len(endpoint.calls) <= 10 + webhook.SENDERS
    failed = len(endpoint.calls) - 10
    assert len(kept(engine)) == failed
    with engine.begin() as conn:
        assert count_unsent(conn).events == 40 - failed


def test_an_endpoint_that_is_slow_is_left_when_its_time_is_up(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure
) -> None:
    configure(endpoint.url, webhook_timeout=timedelta(seconds=0.3))
    released = threading.Event()

    def hang(_number: int) -> tuple[int, dict[str, str]]:
        released.wait(30)
        return 204, {}

    endpoint.reply = hang
    fill(engine)
    try:
        assert run() == "failed 1"
    finally:
        released.set()
    assert only(engine).last_error == "no answer within 0.3 s"


def test_an_endpoint_that_trickles_its_answer_is_left_when_its_time_is_up(engine: Engine, configure: Configure) -> None:
    """Each byte comes well within any limit on a single read; the whole never ends."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        configure(f"http://127.0.0.1:{server.getsockname()[1]}/", webhook_timeout=timedelta(seconds=0.5))

        def trickle() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"y")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        fill(engine)
        try:
            assert run() == "failed 1"
        finally:
            stop.set()
            thread.join()
    assert only(engine).last_error == "no answer within 0.5 s"


def test_an_answer_without_end_is_a_success_and_is_not_read(engine: Engine, configure: Configure) -> None:
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as server:
        configure(f"http://127.0.0.1:{server.getsockname()[1]}/")

        def flood() -> None:
            nonlocal sent
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
                try:
                    while True:
                        sent += connection.send(bytes(65536))
                except OSError:
                    return

        thread = threading.Thread(target=flood)
        thread.start()
        fill(engine)
        assert run() == "delivered 1, events 1"
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert sent < 200 * ANSWER_LIMIT_BYTES  # what fits into the sockets' buffers


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_its_issuer_is_named(
    engine: Engine, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = write_certificate(tmp_path)
    with serving(certificate) as endpoint:
        configure(endpoint.url)
        fill(engine)
        assert run() == "failed 1"
        assert only(engine).last_error == "no answer (SSLCertVerificationError)"
        assert endpoint.calls == []
        make_due(engine)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert run() == "delivered 1, events 1"
