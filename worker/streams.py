"""The Redis streams between the receiver and the drain.

Every key of ours in Redis:

``attribution:events``    stream; an entry is one request of Event Grid. Fields: ``body``, the request's bytes as sent;
                          ``request``, the request's id; ``subscription``, the Event Grid subscription it came
                          through, if it said so; ``traceparent``, the request's span, if it is traced.
``attribution:messages``  stream; an entry is one call of a mailer. Fields: ``body``, JSON: one send-tracking, an array
                          of them, or one a line; of what the receiver writes ``request`` and ``traceparent``, too. Any
                          mailer that has a Redis client may write it.
``attribution:told:…``    strings; each says that an incident, or a scheduled task's run, was told to Sentry, so that no
                          other process tells it again. They expire after a minute or an hour.
``attribution:probe``     string; written once a second to learn whether Redis takes writes. It expires a minute after
                          the last receiver stopped. Nobody reads it.
``attribution:measured``  string, JSON; what the task `measure` found last, for the metrics.

Both streams have the one consumer group ``attribution`` with the one consumer ``drain``, shared by every drain process.
A constant name means that no consumer is ever dead: what a killed process had read is still the group's, and is claimed
once it has been idle for long enough. An entry's id carries the time at which Redis took it, so no field repeats it.

A reader asks for the fields it knows, and leaves others aside: so releases may differ, either way. Only ``body`` is
always there.

No ``MAXLEN``: it would drop entries that nobody has read. The receiver's backlog limit bounds the streams instead.
"""

from __future__ import annotations

from typing import Final

#: Requests of Event Grid.
EVENTS: Final = "attribution:events"
#: Send-trackings of mailers.
MESSAGES: Final = "attribution:messages"
#: The consumer group of both streams.
GROUP: Final = "attribution"
#: The one consumer of the group, shared by every drain process.
CONSUMER: Final = "drain"
#: The receiver's trial write.
PROBE: Final = "attribution:probe"
#: What was measured for the metrics.
MEASURED: Final = "attribution:measured"
#: Where it is said what was told already, with a name behind it.
TOLD: Final = "attribution:told:"
