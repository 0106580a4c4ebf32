"""Track a message by HTTP, with nothing but Python's standard library.

    export ATTRIBUTION_URL=https://attribution.example.com
    export ATTRIBUTION_MESSAGE_SECRET=...
    python track_by_http.py --campaign 7 --subscriber 12 '<c7.6f1d@mail.example.com>'

What this door guarantees: answered 202, the tracking is on Redis's disk and will be recorded, whatever crashes next.
422 means that it is invalid and was not stored. After any other answer, or none, it may or may not have arrived: send
the same again. A repetition is harmless.

Call it before the mail is sent. Then no open can arrive before its message is known.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

#: Waits between attempts, in seconds. After the last one the caller is told.
WAITS = (0.5, 1, 2, 4, 8, 15, 30)


class NotTracked(Exception):
    """The message is not known to be tracked."""


def track(trackings: Sequence[Mapping[str, object]], *, url: str, secret: str, timeout: float = 10.0) -> None:
    """Track messages: one, or many in one request. Returns once they are durable.

    Raises:
        NotTracked: the receiver called them invalid, or could not be reached for a minute.
    """
    request = urllib.request.Request(  # noqa: S310 - the URL is your own
        f"{url.rstrip('/')}/messages",
        data=json.dumps(list(trackings)).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {secret}"},
    )
    for wait in (*WAITS, None):
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
                if response.status == 202:
                    return
                reason = f"answered {response.status}"
        except urllib.error.HTTPError as error:
            with error:
                reason = f"answered {error.code}: {error.read(2000).decode(errors='replace')}"
            # 422 names what is wrong with which tracking; 404 is a wrong URL or secret. Neither is cured by waiting.
            if error.code < 500 and error.code not in (408, 429):
                break
        except OSError as error:
            reason = f"not reached: {error}"
        if wait is not None:
            time.sleep(wait)
    raise NotTracked(f"The receiver {reason}")


def main() -> None:
    """Track the message that the command line names."""
    options = argparse.ArgumentParser(description="Track a message by HTTP.")
    options.add_argument("internet_message_id", help="the Message-ID header of the mail: <local@domain>")
    options.add_argument("--campaign", type=int, required=True, help="id of the campaign it belongs to")
    options.add_argument("--subscriber", type=int, help="id of the subscriber it goes to, if it goes to one only")
    options.add_argument("--url", default=os.environ.get("ATTRIBUTION_URL", "http://127.0.0.1:8080"))
    given = options.parse_args()
    tracking: dict[str, object] = {
        "internet_message_id": given.internet_message_id,
        "campaign_id": given.campaign,
    }
    if given.subscriber is not None:
        tracking["subscriber_id"] = given.subscriber
    try:
        track([tracking], url=given.url, secret=os.environ.get("ATTRIBUTION_MESSAGE_SECRET", ""))
    except NotTracked as error:
        sys.exit(str(error))
    print("tracked")


if __name__ == "__main__":
    main()
