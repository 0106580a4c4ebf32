"""What a worker makes sure of before it takes any work."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import celeryd_init
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from db.migrate import DatabaseNotMigrated, require_current
from worker.errors import AttributionError
from worker.redis_checks import require_safe_redis
from worker.settings import WorkerSettings
from worker.telemetry.logs import configure_logs

_log = logging.getLogger(__name__)


def check_servers(settings: WorkerSettings) -> None:
    """Refuse a Redis that may lose what it acknowledged, and a database that this release cannot work on.

    Raises:
        RedisUnsafe: says what to change.
        DatabaseNotMigrated: says what to run.
        redis.exceptions.RedisError, sqlalchemy.exc.SQLAlchemyError: a server is away.
    """
    if not settings.allow_unsafe_redis:
        for url in {settings.redis_url, settings.broker_url or settings.redis_url}:
            require_safe_redis(url.get_secret_value())
    require_current(settings.database_url.get_secret_value())


@celeryd_init.connect
def refuse_to_start(**_signal: Any) -> None:
    """Check both servers as a worker starts. One that is away is waited for: the drain processes check again."""
    try:
        settings = WorkerSettings.read()
        configure_logs(settings.log_format, settings.log_level)
        check_servers(settings)
    except (AttributionError, DatabaseNotMigrated) as error:
        raise SystemExit(f"The worker does not start. {error}") from None
    except (RedisError, SQLAlchemyError) as error:
        _log.warning("a server is away as the worker starts (%s); it goes on trying", type(error).__name__)
