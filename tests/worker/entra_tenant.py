"""A Microsoft Entra tenant on the loopback address: publishes keys, and signs tokens, good ones and others."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.worker.certificates import rsa_key

TENANT_ID = "11111111-2222-3333-4444-555555555555"
AUDIENCE = "api://attribution.example.com"
EVENT_GRID_APP_ID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"


class Tenant:
    """Its ``authority`` is what the setting names. ``is_down`` makes it answer 500; ``fetches`` counts its callers."""

    def __init__(self, authority: str) -> None:
        self.authority = authority
        self.is_down = False
        self.fetches = 0
        self.delay = threading.Event()
        self.delay.set()
        self._keys: dict[str, RSAPrivateKey] = {}
        self._withdrawn: set[str] = set()
        self.publish("key-1")

    def publish(self, key_id: str) -> RSAPrivateKey:
        """Add a signing key to those that the tenant publishes."""
        self._keys[key_id] = rsa_key()
        return self._keys[key_id]

    def withdraw(self, key_id: str) -> None:
        """Publish a key no longer; it goes on signing."""
        self._withdrawn.add(key_id)

    def key_set(self) -> bytes:
        """Return the keys as Entra publishes them: without ``alg``."""
        published = {
            key_id: key.public_key().public_numbers()
            for key_id, key in self._keys.items()
            if key_id not in self._withdrawn
        }
        keys = [
            {"kid": key_id, "kty": "RSA", "use": "sig", "n": _number(public.n), "e": _number(public.e)}
            for key_id, public in published.items()
        ]
        return json.dumps({"keys": keys}).encode()

    def claims(self, **others: Any) -> dict[str, Any]:
        """Return what a version 1 token for Event Grid says; keywords replace claims, None takes one out."""
        now = int(time.time())
        claims = {
            "iss": f"https://sts.windows.net/{TENANT_ID}/",
            "aud": AUDIENCE,
            "tid": TENANT_ID,
            "appid": EVENT_GRID_APP_ID,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "roles": ["AzureEventGridSecureWebhookSubscriber"],
            "ver": "1.0",
        } | others
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, key_id: str = "key-1", **claims: Any) -> str:
        """Return a token that is good, unless ``claims`` say otherwise."""
        return jwt.encode(self.claims(**claims), self._keys[key_id], "RS256", {"kid": key_id})


def _number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


@contextmanager
def tenant() -> Iterator[Tenant]:
    """Serve a tenant until the block ends."""

    class _Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.fetches += 1
            served.delay.wait(10)
            known = self.path == f"/{TENANT_ID}/discovery/v2.0/keys"
            body = served.key_set()
            self.send_response(500 if served.is_down else 200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    served = Tenant(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.delay.set()
        server.shutdown()
        server.server_close()
        thread.join()
