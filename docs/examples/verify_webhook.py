"""Receive attributed events: verify each post, and store each event once.

A program by itself: it needs nothing but Python, and `standardwebhooks` if you let that library verify. Libraries for
other languages are listed at https://www.standardwebhooks.com.

    WEBHOOK_SECRET=whsec_... python verify_webhook.py --port 9000
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import sqlite3
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

#: How far the two clocks may be apart. An older post is one that somebody has recorded and plays again.
TOLERANCE_SECONDS = 300

_TABLE = "CREATE TABLE IF NOT EXISTS events (event_key text PRIMARY KEY, occurred_at text, event text)"


class Refused(Exception):
    """This post is not from the sender that has our secret, or is not new."""


def verify_by_library(secret: str, headers: Mapping[str, str], body: bytes) -> Any:
    """Return the payload of a post that is genuine; let the library raise for any other."""
    from standardwebhooks import Webhook  # noqa: PLC0415 - whoever verifies by hand need not have it

    return Webhook(secret).verify(body, dict(headers))


def verify_by_hand(secret: str, headers: Mapping[str, str], body: bytes) -> Any:
    """The same without a library, for languages that have none. The body has to be the bytes as they came."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise Refused("its timestamp is missing, or too far from our clock")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((webhook_id.encode(), timestamp.encode(), body))
    expected = hmac.digest(key, signed, hashlib.sha256)
    # One signature for each of the sender's secrets: any will do. Compared in constant time.
    for signature in headers.get("webhook-signature", "").split():
        version, _, encoded = signature.partition(",")
        try:
            given = base64.b64decode(encoded)
        except binascii.Error:
            continue
        if version == "v1" and hmac.compare_digest(expected, given):
            return json.loads(body)
    raise Refused("no signature is ours")


def store(database: Path, payload: Mapping[str, Any]) -> None:
    """Store each event under its key, and only once, in one transaction: a post may come twice."""
    rows = [(event["event_key"], event["occurred_at"], json.dumps(event)) for event in payload["data"]["events"]]
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(_TABLE)
        connection.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", rows)
    connection.close()


def stored(database: Path) -> int:
    """Return how many events there are."""
    connection = sqlite3.connect(database)
    with connection:
        connection.execute(_TABLE)
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return int(count)


def main() -> None:
    """Serve on the loopback address; put a proxy with TLS in front."""
    options = argparse.ArgumentParser(description="Receive attributed events.")
    options.add_argument("--port", type=int, default=9000)
    options.add_argument("--database", type=Path, default=Path("events.sqlite"))
    given = options.parse_args()
    secret = os.environ["WEBHOOK_SECRET"]

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                payload = verify_by_hand(secret, {name.lower(): value for name, value in self.headers.items()}, body)
            except Refused:
                self.send_error(401)
                return
            store(given.database, payload)
            # Answer only when it is stored: what is answered 2xx is never sent again.
            self.send_response(204)
            self.end_headers()

    with HTTPServer(("127.0.0.1", given.port), Receiver) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
