"""Who is at Celery's Redis: workers and beats, as they answer for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from cli.doctor.findings import Missing, failure
from cli.doctor.installation import Installation

#: Seconds that workers have to answer. Each answers at once, unless its machine is at its limit.
_ANSWER_SECONDS: Final = 3.0
#: How beat calls itself: see cli/beat.py.
_BEAT: Final = "beat@"


@dataclass(frozen=True)
class Nodes:
    """Who has answered: names of workers and beats, and what each worker serves and knows."""

    workers: list[str]
    beats: list[str]
    queues: dict[str, list[str]]
    tasks: dict[str, set[str]]

    @classmethod
    def of(cls, installation: Installation) -> Nodes:
        """Ask all of them, once for all checks.

        Raises:
            Missing: there is no broker to ask them through.
        """
        _ = installation.worker
        server = broker_of(installation)
        installation.redis(server)
        return installation.once("nodes", lambda: cls._ask(installation.redis_servers[server]))

    @classmethod
    def _ask(cls, broker_url: str) -> Nodes:
        app = Celery("doctor", broker=broker_url, set_as_current=False)
        app.conf.update(
            accept_content=["json"],
            broker_connection_retry=False,
            broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5},
        )
        try:
            # Two beats of one machine have one name.
            names = sorted(name for reply in _ask(app, "ping") for name in reply)
            workers = [name for name in names if not name.startswith(_BEAT)]
            beats = [name for name in names if name.startswith(_BEAT)]
            if not workers:
                return cls(workers, beats, {}, {})
            served = _answers(app, "active_queues")
            known = _answers(app, "registered")
            return cls(
                workers,
                beats,
                {name: [str(queue["name"]) for queue in told] for name, told in served.items()},
                {name: {str(task).partition(" ")[0] for task in told} for name, told in known.items()},
            )
        except (RedisError, OperationalError):
            # It is asked by writing. What keeps it from that is told of among Redis's own checks.
            reason = "Celery's Redis takes no question to workers"
            raise Missing(reason, failure(f"{reason}.", "Look at what is said of Redis.")) from None
        finally:
            app.close()


def _answers(app: Celery, question: str) -> dict[str, list[Any]]:
    """Ask every node for a list, and return each one's; a node that does not know the question has none."""
    return {name: told for reply in _ask(app, question) for name, told in reply.items() if isinstance(told, list)}


def _ask(app: Celery, question: str) -> list[dict[str, Any]]:
    replies: Any = app.control.broadcast(question, reply=True, timeout=_ANSWER_SECONDS)
    return list(replies or ())


def broker_of(installation: Installation) -> str:
    """Return what the Redis of Celery is called in `Installation.redis_servers`."""
    return "Celery's Redis" if "Celery's Redis" in installation.redis_servers else "Redis"
