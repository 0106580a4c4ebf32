"""Track a message by one XADD, from any program that reaches the stream's Redis.

    pip install redis
    export ATTRIBUTION_REDIS_URL=redis://:password@redis.internal:6379/0
    python track_by_redis.py --campaign 7 --subscriber 12 '<c7.6f1d@mail.example.com>'

What this door guarantees: once Redis has answered the XADD, the tracking is as durable as that Redis is. With
``appendfsync always``, which this system asks for, it is on the disk. If the answer does not come, do it again: a
repetition is harmless. Nothing is checked at the door: a tracking that cannot be read is quarantined, where the
operator sees it, but the mailer is not told.

Call it before the mail is sent. Then no open can arrive before its message is known.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

import redis

#: The stream that every mailer may append to. Never with MAXLEN: that would drop what nobody has read yet.
STREAM = "attribution:messages"


def main() -> None:
    """Track the message that the command line names."""
    options = argparse.ArgumentParser(description="Track a message by XADD.")
    options.add_argument("internet_message_id", help="the Message-ID header of the mail: <local@domain>")
    options.add_argument("--campaign", type=int, required=True, help="id of the campaign it belongs to")
    options.add_argument("--subscriber", type=int, help="id of the subscriber it goes to, if it goes to one only")
    given = options.parse_args()
    tracking: dict[str, object] = {
        "internet_message_id": given.internet_message_id,
        "campaign_id": given.campaign,
    }
    if given.subscriber is not None:
        tracking["subscriber_id"] = given.subscriber
    url = os.environ.get("ATTRIBUTION_REDIS_URL", "redis://127.0.0.1:6379/0")
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            # The one line that matters. The body may be one object, an array of them, or one a line.
            entry_id = client.xadd(STREAM, {"body": json.dumps(tracking)})
    except redis.RedisError as error:
        sys.exit(f"Not known to be tracked: {error}")
    print(f"tracked by entry {entry_id.decode() if isinstance(entry_id, bytes) else entry_id}")


if __name__ == "__main__":
    main()
