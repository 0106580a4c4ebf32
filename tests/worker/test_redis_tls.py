"""rediss:// means the same to the receiver's own connection as to redis-py's client."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import uvloop
from redis.asyncio.connection import parse_url

from tests.worker.certificates import write_certificate
from tests.worker.receiving import ServeReceiver, entries
from worker.errors import StreamUnavailable
from worker.receiving.redis_connection import open_connection
from worker.redis_checks import require_safe_redis
from worker.streams import EVENTS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tls_url(redis_url: str, certificate: tuple[Path, Path]) -> Iterator[str]:
    """The tests' Redis behind something that speaks TLS for it."""
    host, port = (options := parse_url(redis_url))["host"], options["port"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    loop = asyncio.new_event_loop()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(copy(reader, redis_writer), copy(redis_reader, writer))

    async def start() -> asyncio.Server:
        return await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)

    async def stop() -> None:
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.wait([task])

    server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"rediss{redis_url.removeprefix('redis').rpartition(':')[0]}:{server.sockets[0].getsockname()[1]}/0"
    asyncio.run_coroutine_threadsafe(stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def ping(url: str) -> bytes:
    async def scenario() -> bytes:
        connection = await open_connection(parse_url(url), timedelta(seconds=5))
        try:
            return bytes(await connection.call(b"PING"))
        finally:
            connection.close("the test is over")
            await connection.lost

    return uvloop.run(scenario())


def test_event_is_stored_through_tls(
    serve: ServeReceiver, tls_url: str, certificate: tuple[Path, Path], redis_client: redis.Redis
) -> None:
    caller = serve(f"{tls_url}?ssl_ca_certs={certificate[0]}")

    assert caller.post_events(b"[]").status == 200
    assert entries(redis_client, EVENTS) == [{b"body": b"[]"}]


def test_certificate_nobody_vouches_for_is_refused(tls_url: str) -> None:
    with pytest.raises(StreamUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        ping(tls_url)
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        require_safe_redis(tls_url)


def test_certificate_of_another_host_is_refused(tls_url: str, certificate: tuple[Path, Path]) -> None:
    url = tls_url.replace("127.0.0.1", "localhost")
    with pytest.raises(StreamUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        ping(f"{url}?ssl_ca_certs={certificate[0]}")


def test_verification_can_be_switched_off(tls_url: str) -> None:
    assert ping(f"{tls_url}?ssl_cert_reqs=none") == b"PONG"
