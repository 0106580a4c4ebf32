"""The way from Azure to the receiver: both handshakes, and what a proxy or a firewall on it may do to requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from cli.doctor.calling import Answer, Endpoint, NoAnswer, call, granted, reach, validation
from cli.doctor.distance import Distance, distance_of
from cli.doctor.findings import Finding, Missing, Subject, failure, hint, ok, warning
from cli.doctor.installation import Installation

subject: Final = Subject("handshake", "Public address")

#: The receiver's paths for Event Grid; the second is the replaced system's.
_PATHS: Final = ("/eventgrid", "/webhooks/service/azure")
#: What is left of a certificate where it should have been renewed, and where somebody has to be called.
_RENEWED: Final = timedelta(days=14)
_URGENT: Final = timedelta(days=3)
#: The origin that Event Grid names in the CloudEvents handshake.
_ORIGIN: Final = "eventgrid.azure.net"

#: What it means where something else than the handshake's answer comes back, and what to do.
_MEANINGS: Final = {
    401: (
        "something in front of the receiver asks who is there",
        "Let this path through without a login of the proxy's: the receiver makes sure of callers itself.",
    ),
    403: (
        "something in front of the receiver refuses it",
        "Look at the log of the firewall: a request without an Accept header, as Event Grid's, is often one it stops.",
    ),
    404: (
        "the receiver does not know the secret, or the proxy not the path",
        "Compare the secret with ATTRIBUTION_EVENT_SECRETS of the receivers that run, and the path with the proxy's.",
    ),
    405: ("something in front of the receiver does not take POST here", "Have the proxy pass POST and OPTIONS."),
    411: ("something in front of the receiver wants a Content-Length", "Have the proxy pass requests as they are."),
    413: ("the body is too large for something in front", "Allow bodies of 8 MiB there."),
    429: ("something in front of the receiver counts requests", "Do not limit how often Event Grid may post."),
    502: ("the proxy does not reach the receiver", "Start the receiver, or correct where the proxy looks for it."),
    503: (
        "the receiver takes nothing now, or the proxy has none",
        "GET /readyz of the receiver says why: Redis is away, or too much waits.",
    ),
    504: ("the receiver does not answer the proxy in time", "Look whether it runs, and at its log."),
}


@subject.check("address", "The public address is one that Event Grid can call.")
def address(installation: Installation) -> Iterator[Finding]:
    """Look at the address itself."""
    try:
        parts = urlsplit(installation.url)
    except Missing as missing:
        yield missing.finding
        return
    if parts.scheme == "http":
        if distance_of(parts.netloc.rpartition("@")[2]) is Distance.HERE:
            yield hint(
                "This is not the public address: it leads to this machine, without TLS.", "Give the one that Azure has."
            )
        else:
            yield failure(
                "The public address begins with http://: Event Grid calls nothing but https://, and the secret can be"
                " read along.",
                "Put a proxy with a certificate in front of the receiver.",
            )
    if not parts.path.endswith(_PATHS):
        yield warning(
            "The public address does not end in /eventgrid, where the receiver takes events.",
            "Add it, unless the proxy does.",
        )


@subject.check("reachable", "The public address leads to somebody who proves to be it.")
def reachable(installation: Installation) -> Iterator[Finding]:
    """Connect to the address, and verify its certificate."""
    _ = installation.url
    try:
        endpoint_of(installation)
    except Missing as missing:
        yield missing.finding


@subject.check("certificate", "The certificate will last.")
def certificate(installation: Installation) -> Iterator[Finding]:
    """Look when the certificate ends."""
    ends = endpoint_of(installation).certificate_ends
    if ends is None:
        return
    left = timedelta(seconds=ends - time.time())
    if left < _RENEWED:
        sentence = f"The certificate of the public address ends in {_left(left)}: Event Grid will not call after that."
        fix = "Renew it, and find out why it was not renewed by itself."
        yield failure(sentence, fix) if left < _URGENT else warning(sentence, fix)
    else:
        yield ok(f"The certificate lasts for {_left(left)} more.")


def _left(duration: timedelta) -> str:
    days = duration / timedelta(days=1)
    return f"{days:.0f} days" if days >= 2 else f"{duration / timedelta(hours=1):.0f} hours"


@subject.check("eventgrid", "Event Grid's own handshake is granted, with each secret.")
def eventgrid(installation: Installation) -> Iterator[Finding]:
    """Make the handshake in Event Grid's own schema, with each secret that is valid here."""
    endpoint = endpoint_of(installation)
    addresses = _addresses(installation, endpoint)
    refused = [finding for address in addresses if (finding := _try(address)) is not None]
    if refused and len(refused) < len(addresses):
        yield warning(
            f"{len(refused)} of {len(addresses)} secrets of ATTRIBUTION_EVENT_SECRETS are not taken by the receivers"
            " that run.",
            "Restart them: they read the setting as they start.",
        )
    else:
        yield from refused[:1]


def _try(address: str) -> Finding | None:
    code, headers, body = validation()
    try:
        answer = call("POST", address, headers, body)
    except NoAnswer as error:
        return failure(f"The public address {error}.", "Look at the proxy's log, and at the receiver's.")
    if granted(answer, code):
        return None
    said = answer.said()
    if answer.status == 200:
        if isinstance(said, dict) and "validationResponse" in said:
            return failure(
                "The handshake is answered with another code than was sent: something in front keeps answers, or makes"
                " them up.",
                "Have the proxy cache nothing here.",
            )
        return failure(
            "The handshake is answered 200 without its code: something in front takes off the header `aeg-event-type`,"
            " or changes the answer, or is not this receiver.",
            "Have the proxy pass headers and answers as they are.",
        )
    return _explain(answer)


def _explain(answer: Answer) -> Finding:
    status = answer.status
    if 300 <= status < 400:
        return failure(
            f"The handshake is answered {status}, which leads elsewhere, and Event Grid follows no redirect.",
            "Give Event Grid the address that it leads to (most often another host, https, or a slash at the end).",
        )
    if 200 <= status < 300:
        return failure(
            f"The handshake is answered {status}, and Event Grid takes 200 alone.",
            "Have the proxy pass the receiver's answer as it is.",
        )
    meaning, fix = _MEANINGS.get(
        status, ("that is no answer of the receiver's to it", "Look at the proxy's log, and at the receiver's.")
    )
    return failure(f"The handshake is answered {status}: {meaning}.", fix)


@subject.check("header", "A secret in a header comes through.")
def header(installation: Installation) -> Iterator[Finding]:
    """Make the handshake with the secret in a header, as delivery attributes send it."""
    endpoint = endpoint_of(installation)
    secrets = _secrets(installation)
    if not secrets or _try(endpoint.address(secret=secrets[0])) is not None:
        return  # told of above
    code, headers, body = validation({"x-attribution-secret": secrets[0]})
    try:
        came_through = granted(call("POST", endpoint.address(bare=True), headers, body), code)
    except NoAnswer:
        came_through = False
    if not came_through:
        yield warning(
            "A secret in `?code=` is taken, and the same in the header x-attribution-secret is not: something in front"
            " takes off headers that it does not know.",
            "Have the proxy pass all headers, if the subscription's delivery attributes are to carry the secret.",
        )


@subject.check("cloudevents", "The CloudEvents handshake is granted.")
def cloudevents(installation: Installation) -> Iterator[Finding]:
    """Make the handshake that Event Grid makes where a subscription is in the CloudEvents schema."""
    endpoint = endpoint_of(installation)
    headers = {"webhook-request-origin": _ORIGIN, "webhook-request-rate": "120"}
    try:
        answer = call("OPTIONS", endpoint.address(), headers)
    except NoAnswer as error:
        yield failure(f"To OPTIONS the public address {error}.", "Have the proxy pass OPTIONS.")
        return
    origin = answer.headers.get("webhook-allowed-origin", "")
    if answer.status == 200 and origin in (_ORIGIN, "*") and "webhook-allowed-rate" in answer.headers:
        return
    if answer.status == 200 and not origin:
        yield warning(
            "OPTIONS is answered 200 without WebHook-Allowed-Origin: something in front answers it itself, or takes off"
            " headers of the answer. A subscription in the CloudEvents schema cannot be made.",
            "Have the proxy pass OPTIONS and all headers; look at ATTRIBUTION_WEBHOOK_ORIGINS.",
        )
    else:
        yield warning(
            f"OPTIONS is answered {answer.status}, which grants nothing: a subscription in the CloudEvents schema"
            " cannot be made. One in Event Grid's own can.",
            "Have the proxy pass OPTIONS as it is.",
        )


def endpoint_of(installation: Installation) -> Endpoint:
    """Return the public address, which answers.

    Raises:
        Missing: it was not given, or does not.
    """
    return installation.once("endpoint", lambda: reach(installation.url))


def _addresses(installation: Installation, endpoint: Endpoint) -> list[str]:
    """Return what to call so that the receiver knows us: once for each secret.

    Raises:
        Missing: we have none.
    """
    if endpoint.given_secret:
        return [endpoint.address()]
    if secrets := _secrets(installation):
        return [endpoint.address(secret=secret) for secret in secrets]
    if installation.receiver.insecure:
        return [endpoint.address()]
    raise Missing("the receiver takes tokens of Entra alone, and the doctor has none", hint(""))


def _secrets(installation: Installation) -> list[str]:
    return [secret.get_secret_value() for secret in installation.receiver.event_secrets]
