"""Calling the public address as Event Grid does: no ``Accept``, no redirects followed, no proxy of this machine's."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import httpx

from cli.doctor.findings import Missing, failure

#: Seconds for each step of a call, and for an answer as a whole. Event Grid waits for thirty.
_STEP_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 20
#: Most bytes of an answer that are looked at.
_ANSWER_BYTES: Final = 64 * 1024

#: How TLS's own codes for a certificate that is not trusted read, and what to do.
_CERTIFICATE: Final = {
    9: ("is not valid yet", "Look at the clock of whoever issued it, and of this machine."),
    10: ("has expired", "Renew it, and have it renewed by itself."),
    18: ("is signed by nobody but itself", "Get one from a public authority, such as Let's Encrypt."),
    19: ("is signed by an authority that nobody knows", "Get one from a public authority, such as Let's Encrypt."),
    20: (
        "is signed by an authority that is not known here, or its intermediate certificate is not sent along",
        "Have the proxy send the full chain; or get one from a public authority, such as Let's Encrypt.",
    ),
    21: ("comes without its intermediate certificate", "Have the proxy send the full chain."),
    23: ("was revoked", "Get a new one."),
    62: ("is for another name", "Get one for the name that Event Grid calls, or call the name that it is for."),
    64: ("is for another address", "Get one for the name that Event Grid calls, or call the name that it is for."),
}


class Answer(NamedTuple):
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def said(self) -> object:
        """Return the body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class NoAnswer(Exception):
    """A call was not answered. The text finishes a sentence that begins with the address."""


@dataclass(frozen=True)
class Endpoint:
    """The public address, which was reached once."""

    parts: SplitResult
    #: When its certificate ends, in seconds since 1970; None without TLS.
    certificate_ends: float | None

    @property
    def given_secret(self) -> bool:
        """Whether the address has a secret of its own."""
        return any(name == "code" for name, _ in parse_qsl(self.parts.query))

    def address(self, *, secret: str | None = None, bare: bool = False) -> str:
        """Return the address: with another secret, or ``bare``, without any."""
        query = [(name, value) for name, value in parse_qsl(self.parts.query, keep_blank_values=True)]
        if secret is not None or bare:
            query = [(name, value) for name, value in query if name != "code"]
        if secret is not None:
            query.append(("code", secret))
        return self.parts._replace(query=urlencode(query, quote_via=quote), fragment="").geturl()

    def beside(self, path: str) -> str:
        """Return the address of another path of the same host."""
        return self.parts._replace(path=path, query="", fragment="").geturl()


def reach(url: str) -> Endpoint:
    """Connect to the address and, with TLS, make sure of whom it leads to.

    Raises:
        Missing: it is none, or leads nowhere, or to somebody who cannot prove to be it.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise _unreachable("is none", "Write it as in the subscription: https://events.example.com/eventgrid.")
    try:
        with socket.create_connection((parts.hostname, port), timeout=_STEP_SECONDS) as connection:
            if parts.scheme == "http":
                return Endpoint(parts, None)
            with trusting().wrap_socket(connection, server_hostname=parts.hostname) as tls:
                ends = str((tls.getpeercert() or {})["notAfter"])
                return Endpoint(parts, float(ssl.cert_time_to_seconds(ends)))
    except ssl.SSLCertVerificationError as error:
        meaning, fix = _CERTIFICATE.get(error.verify_code, ("is not sound", "Look at it with openssl s_client."))
        fix = f"{fix} Event Grid calls nothing else."
        raise _unreachable(f"cannot be trusted: its certificate {meaning}", fix) from None
    except ssl.SSLError:
        raise _unreachable(
            "does not speak TLS of today, or none at all",
            "Have the proxy speak TLS 1.2 or 1.3 on this port.",
        ) from None
    except socket.gaierror:
        raise _unreachable("has a host whose name cannot be resolved", "Correct it, or DNS.") from None
    except TimeoutError:
        raise _unreachable(
            "does not answer", "Look at firewalls, and whether the proxy listens on this port."
        ) from None
    except OSError:
        raise _unreachable("leads to a port where nothing listens", "Start the proxy, or correct the port.") from None


def _unreachable(how: str, fix: str) -> Missing:
    return Missing("the public address cannot be reached", failure(f"The public address {how}.", fix))


def trusting() -> ssl.SSLContext:
    """Return whom to trust: the authorities that this machine does, and those that browsers do."""
    context = httpx.create_ssl_context()
    context.load_default_certs()
    return context


def call(method: str, address: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """Send a request and return the answer, or the beginning of a long one.

    Raises:
        NoAnswer: there was none, or none in time.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    with httpx.Client(verify=trusting(), trust_env=False, timeout=_STEP_SECONDS) as client:
        del client.headers["accept"]
        try:
            with client.stream(method, address, headers=dict(headers or {}), content=body) as response:
                received = b""
                for part in response.iter_raw():
                    received += part
                    if len(received) > _ANSWER_BYTES:
                        break
                    if time.monotonic() > deadline:
                        raise NoAnswer("drips its answer for longer than Event Grid waits")
                return Answer(response.status_code, {**response.headers}, received)
        except httpx.TimeoutException:
            raise NoAnswer("does not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(f"breaks off ({type(error).__name__})") from None


def validation(headers: Mapping[str, str] | None = None) -> tuple[str, dict[str, str], bytes]:
    """Return a validation code, and headers and body of the handshake that Event Grid makes with it."""
    code = secrets.token_hex(16)
    event = {
        "id": secrets.token_hex(16),
        "topic": "/subscriptions/00000000-0000-0000-0000-000000000000",
        "subject": "",
        "data": {"validationCode": code, "validationUrl": "https://eventgrid.example.com/validate"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "metadataVersion": "1",
        "dataVersion": "1",
    }
    sent = {
        "content-type": "application/json; charset=utf-8",
        "aeg-event-type": "SubscriptionValidation",
        "aeg-subscription-name": "ATTRIBUTION-DOCTOR",
        "aeg-delivery-count": "0",
        "aeg-data-version": "1",
        "aeg-metadata-version": "1",
        **(headers or {}),
    }
    return code, sent, json.dumps([event]).encode()


def granted(answer: Answer, code: str) -> bool:
    """Tell whether an answer grants the handshake."""
    said = answer.said()
    return answer.status == 200 and isinstance(said, dict) and said.get("validationResponse") == code
