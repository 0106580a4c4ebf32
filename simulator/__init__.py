"""A seeded fake of ACS, Event Grid and a mailer, and the oracle that checks what became of every event.

It imports nothing of the system it tests: it speaks HTTP, Redis, Celery's wire and SQL, like any outsider. The truth is
written down as it happens (`simulator.truth`), never read back from the system.
"""
