"""Track a message by a Celery task, from a mailer that uses Celery already. It is sent by name: nothing is imported.

    pip install 'celery[redis]'
    export ATTRIBUTION_BROKER_URL=redis://:password@redis.internal:6379/0
    python track_by_celery.py --campaign 7 --subscriber 12 '<c7.6f1d@mail.example.com>'

What this door guarantees: less than the other two. Celery on Redis is not a durable queue. A worker takes a message off
the queue first and notes that it did afterwards; if it dies in between, the message is gone, whatever its settings.
That is rare (16 of 35,530 messages in a test with 40 kills of a busy worker), and the event of a message that was lost
waits, visibly, until its message is tracked again. A repetition is harmless. Prefer HTTP or XADD for what must not be
lost at all.

Call it before the mail is sent. Then few opens can arrive before their message is known.
"""

from __future__ import annotations

import argparse
import os
import sys

import celery
import kombu.exceptions

QUEUE = "attribution.tracking"


def main() -> None:
    """Track the message that the command line names."""
    options = argparse.ArgumentParser(description="Track a message by Celery.")
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
    app = celery.Celery(broker=os.environ.get("ATTRIBUTION_BROKER_URL", "redis://127.0.0.1:6379/0"))
    # Without them a Redis that accepts connections but does not answer would hold the mailer for more than a minute.
    app.conf.broker_transport_options = {"socket_timeout": 3, "socket_connect_timeout": 2}
    app.conf.task_ignore_result = True
    try:
        # For many at once, a list of such objects: app.send_task("track_messages", args=[trackings], queue=QUEUE)
        task = app.send_task("track_message", kwargs=tracking, queue=QUEUE)
    except kombu.exceptions.OperationalError as error:
        sys.exit(f"Not known to be tracked: {error}")
    print(f"handed to task {task.id}")


if __name__ == "__main__":
    main()
