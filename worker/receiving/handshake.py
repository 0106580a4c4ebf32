"""The two handshakes by which Event Grid asks whether we want to be called. Pure.

In Event Grid's own schema it posts a code and wants it back. In CloudEvents it sends ``OPTIONS`` and wants its name
repeated. Nothing else proves to Event Grid that we agree, and we never call the ``validationUrl`` it sends along: an
address in a request is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response

#: Longest body that is looked at for a validation code, in bytes. Event Grid's own have about one thousand.
_LONGEST_VALIDATION = 64 * 1024


class _ValidationData(msgspec.Struct):
    validationCode: str


class _ValidationEvent(msgspec.Struct):
    data: _ValidationData


_decode = msgspec.json.Decoder(tuple[_ValidationEvent] | _ValidationEvent).decode


def validation_code(body: bytes) -> str | None:
    """Return the code to send back, or None if ``body`` is not exactly one validation event."""
    if len(body) > _LONGEST_VALIDATION:
        return None
    try:
        event = _decode(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(event, tuple):
        (event,) = event
    return event.data.validationCode or None


def answer_options(headers: Mapping[bytes, bytes], origins: Sequence[str]) -> Response:
    """Grant the CloudEvents handshake to one of ``origins``; anybody else is told which method there is, and no more.

    It asks for no secret: Event Grid does not say that it sends a subscription's headers here. What is granted is only
    to call, and each call has to prove itself.
    """
    origin = headers.get(b"webhook-request-origin", b"").decode("latin-1").strip()
    if origin.lower() not in {allowed.lower() for allowed in origins}:
        return Response(headers={"Allow": "POST"})
    return Response(
        headers={"Allow": "POST", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"},
    )
