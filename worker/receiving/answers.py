"""What the receiver answers, and what Event Grid makes of each status (its retries are the reason for all of them)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import JSONResponse, PlainTextResponse, Response

from worker.messages import MOST_TRACKINGS, Problem, Warned

_CLOSE = {"Connection": "close"}  # the rest of the body is not going to be read

#: Stored, or nothing to store. Success.
OK: Final = Response()
#: A caller that proved nothing gets what a path gets that does not exist. Event Grid tries again for a day, so that a
#: secret rotated in the wrong order loses no event; after 401 or 403 it would drop them.
NOT_FOUND: Final = PlainTextResponse("Not Found", 404)
#: The body came too slowly. Tried again after two minutes.
TOO_SLOW: Final = JSONResponse({"error": "the body did not arrive in time"}, 408, headers=_CLOSE)
#: Never tried again, so it is only for what no retry can cure.
TOO_LARGE: Final = JSONResponse({"error": "the body is larger than this receiver takes"}, 413, headers=_CLOSE)
#: To a mailer, which can read: what it sends is as large as it may be, and too many at once.
TOO_MANY: Final = JSONResponse({"error": f"more than {MOST_TRACKINGS} trackings in one call; send fewer at once"}, 413)
#: Tried again, should a proxy in between have compressed the body by mistake.
ENCODED: Final = JSONResponse({"error": "the body is compressed; send it as it is"}, 415, headers=_CLOSE)
#: Not now. Tried again after thirty seconds.
UNAVAILABLE: Final = JSONResponse({"error": "not now; send it again"}, 503, headers={"Retry-After": "30"})

#: Most items that an answer names: it must not grow far beyond the request.
_NAMED = 1000


def accepted(count: int, warnings: Sequence[Warned]) -> Response:
    """Say that ``count`` trackings are on the stream, and which of them will probably never match anything."""
    answer: dict[str, Any] = {"accepted": count}
    if warnings:
        answer["warned"] = len(warnings)
        answer["warnings"] = [
            {"index": each.index, "field": each.field, "sentence": each.sentence} for each in warnings[:_NAMED]
        ]
    return JSONResponse(answer, 202)


def invalid(problems: Sequence[Problem]) -> Response:
    """Say which items are no send-trackings, and that none of the call was stored."""
    named = [{"index": each.index, "field": each.field, "error": each.sentence} for each in problems[:_NAMED]]
    return JSONResponse({"accepted": 0, "refused": len(problems), "errors": named}, 422)


class Refused(Exception):
    """The request ends here, with ``answer``."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer
