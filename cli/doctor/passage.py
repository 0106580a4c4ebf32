"""What comes through to the receiver by the public address, and should not; and what does not, and should."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.calling import Endpoint, NoAnswer, call, granted, validation
from cli.doctor.findings import Finding, Missing, failure, hint, warning
from cli.doctor.handshake import endpoint_of
from cli.doctor.handshake import subject as subject
from cli.doctor.installation import Installation

#: Bytes of a body such as Event Grid may send, larger than what many proxies take by default.
_LARGE_BODY: Final = 1_500_000


@subject.check("stranger", "Whoever has no secret is turned away.")
def stranger(installation: Installation) -> Iterator[Finding]:
    """Make the handshake without a secret."""
    endpoint = endpoint_of(installation)
    if _takes_strangers(installation, endpoint):
        yield failure(
            "The handshake is granted without any secret: whoever knows the address can make events up.",
            "Set ATTRIBUTION_EVENT_SECRETS for the receivers, and remove ATTRIBUTION_INSECURE; or have the proxy add no"
            " secret of its own.",
        )


@subject.check("body", "Bodies as large as Event Grid's come through.")
def large_body(installation: Installation) -> Iterator[Finding]:
    """Post a large body without a secret: the receiver turns it away, unless something in front does so before."""
    endpoint = endpoint_of(installation)
    if _takes_strangers(installation, endpoint):
        raise Missing("strangers are let in, and it would be stored", hint(""))
    try:
        answer = call("POST", endpoint.address(bare=True), {"content-type": "application/json"}, b" " * _LARGE_BODY)
    except NoAnswer as error:
        yield warning(
            f"Given a body of {_LARGE_BODY:,} bytes, the public address {error}.",
            "Allow bodies of 8 MiB in the proxy, and thirty seconds for them.",
        )
        return
    if answer.status == 413:
        yield failure(
            f"A body of {_LARGE_BODY:,} bytes is answered 413 by something in front. Event Grid, which sends such where"
            " events are batched, never tries again after a 413: these events would be lost.",
            "Allow bodies of 8 MiB there: client_max_body_size 8m in nginx.",
        )
    elif answer.status in (400, 401, 403):
        yield failure(
            f"A body of {_LARGE_BODY:,} bytes is answered {answer.status} by something in front, after which Event Grid"
            " never tries again: these events would be lost.",
            "Have the firewall let bodies of 8 MiB through to this path without looking into them.",
        )


@subject.check("metrics", "Metrics are not for the world.")
def metrics(installation: Installation) -> Iterator[Finding]:
    """Ask the public address for the receiver's metrics."""
    endpoint = endpoint_of(installation)
    try:
        answer = call("GET", endpoint.beside("/metrics"))
    except NoAnswer:
        return
    if answer.status == 200 and b"attribution_" in answer.body:
        yield warning(
            "The receiver's /metrics is open to whoever knows the public address.",
            "Have the proxy pass /eventgrid alone, and /messages if a mailer is outside.",
        )


def _takes_strangers(installation: Installation, endpoint: Endpoint) -> bool:
    def look() -> bool:
        code, headers, body = validation()
        try:
            return granted(call("POST", endpoint.address(bare=True), headers, body), code)
        except NoAnswer:
            return False

    return installation.once("strangers", look)
