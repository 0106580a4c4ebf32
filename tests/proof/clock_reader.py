"""A program that answers each line of its input with one of its output: what it knows of time and of waiting."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import datetime
import json
import queue
import select
import socket
import sys
import threading
import time
from collections.abc import Callable

import uvloop

#: Seconds that each wait is told to last.
WAIT = 0.3
#: Waits on a condition, as of a thread for the interpreter.
CONDITION_WAITS = 20

_CLOCK_MONOTONIC = 1


def read() -> dict[str, float]:
    return {
        "time": time.time(),
        "datetime": datetime.datetime.now(datetime.UTC).timestamp(),
        "clock_gettime": time.clock_gettime(time.CLOCK_REALTIME),
        "monotonic": time.monotonic(),
        "loop": uvloop.new_event_loop().time(),
    }


def wait() -> dict[str, float]:
    """Return how long each way of waiting lasted."""
    held = threading.Lock()
    held.acquire()
    condition = threading.Condition()
    one, _other = socket.socketpair()
    one.settimeout(WAIT)
    worker = threading.Thread(target=time.sleep, args=(60,), daemon=True)
    worker.start()
    ways: dict[str, Callable[[], object]] = {
        "sleep": lambda: time.sleep(WAIT),
        "event": lambda: threading.Event().wait(WAIT),
        "lock": lambda: held.acquire(timeout=WAIT),
        "condition": lambda: condition.wait(WAIT),
        "queue": lambda: queue.Queue[int]().get(timeout=WAIT),
        "join": lambda: worker.join(WAIT),
        "select": lambda: select.select([one], [], [], WAIT),
        "socket": lambda: one.recv(1),
        "asyncio": lambda: asyncio.run(asyncio.sleep(WAIT)),
        "uvloop": lambda: uvloop.run(asyncio.sleep(WAIT)),
    }
    lasted = {}
    with condition:
        for name, way in ways.items():
            began = time.monotonic()
            with contextlib.suppress(queue.Empty, TimeoutError):
                way()
            lasted[name] = time.monotonic() - began
    return lasted


def wait_on_conditions() -> dict[str, float]:
    """Return how long some waits on a condition last that are by the monotonic clock, as those for the interpreter."""
    library = ctypes.CDLL(None)
    attributes, condition, mutex = (ctypes.create_string_buffer(128) for _ in range(3))
    library.pthread_condattr_init(attributes)
    library.pthread_condattr_setclock(attributes, _CLOCK_MONOTONIC)
    library.pthread_cond_init(condition, attributes)
    library.pthread_mutex_init(mutex, None)
    library.pthread_mutex_lock(mutex)
    began = time.monotonic()
    for _ in range(CONDITION_WAITS):
        until = time.monotonic_ns() + 5_000_000
        deadline = (ctypes.c_long * 2)(*divmod(until, 1_000_000_000))
        library.pthread_cond_timedwait(condition, mutex, deadline)
    return {"all": time.monotonic() - began}


_ANSWERS = {"read": read, "wait": wait, "wait on conditions": wait_on_conditions}

if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_ANSWERS[line.strip()]()), flush=True)
