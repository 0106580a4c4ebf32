"""What Celery's own loggers may say: no bodies of messages, and not every tick."""

from __future__ import annotations

import logging

#: Loggers that tell at INFO what Flower shows, for every task and every tick of beat; and each tick that came too late,
#: thousands of them after an hour without PostgreSQL.
_CHATTY = ("celery.app.trace", "celery.worker.strategy", "celery.worker.request", "celery.beat")

#: Where Celery logs a message that it cannot run, with its whole body.
_CONSUMER = "celery.worker.consumer.consumer"
#: The first words of such lines, and what stands in their place.
_SENTENCES = {
    "Received and deleted unknown message": "dropped something on a broker queue that is no task message",
    "Received unregistered task": "dropped a message for a task that this version does not have",
    "Received invalid task message": "dropped a task message that does not follow Celery's protocol",
    "Can't decode message body": "dropped a task message that is not JSON",
}


def restrain_celery(level: str) -> None:
    """Keep Celery's loggers to what an operator may and wants to read; at DEBUG, to what they may."""
    logging.getLogger(_CONSUMER).addFilter(_hide_body)
    if level != "DEBUG":
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)


def _hide_body(record: logging.LogRecord) -> bool:
    for words, sentence in _SENTENCES.items():
        if str(record.msg).startswith(words):
            record.msg, record.args, record.exc_info = sentence, (), None
    return True
