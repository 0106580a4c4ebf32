"""Celery's settings, loaded when Celery first needs them. Each that is not obvious says which failure it cures."""

from __future__ import annotations

from worker.interval import Interval
from worker.queues import MAINTENANCE, QUEUE_OF
from worker.settings import WorkerSettings

_settings = WorkerSettings.read()
_sweep_seconds = _settings.sweep_interval.total_seconds()

broker_url = (_settings.broker_url or _settings.redis_url).get_secret_value()

# JSON only: a queue that others write to must not be able to run code.
accept_content = ["json"]
task_serializer = "json"

# No result backend: a dead one blocks workers, and what became of an event stands in PostgreSQL.
task_ignore_result = True

task_default_queue = MAINTENANCE
task_create_missing_queues = True
task_routes = {task: {"queue": queue} for task, queue in QUEUE_OF.items()}

# A tracking is acknowledged when it is committed, not when it is taken. A child that dies has its task tried again, but
# no more often than max_retries: task_reject_on_worker_lost alone would loop for ever on a task that kills its child.
task_acks_late = True
task_reject_on_worker_lost = True
task_retry_on_worker_lost = True
task_soft_time_limit = 45
task_time_limit = 60

# What is prefetched and not acknowledged is what a crash delays: take one at a time.
worker_prefetch_multiplier = 1

# Redis may be away for longer than the default hundred attempts.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
worker_cancel_long_running_tasks_on_connection_loss = True

# Without socket timeouts a worker hangs for minutes on a connection whose other end is silently gone. What a dead
# worker had taken is handed out again after the visibility timeout, which must exceed the task time limit.
broker_transport_options = {
    "visibility_timeout": 180,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # Where all of a worker's connections are silently gone, it meets half a dozen of them one after the other.
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}

# A warm shutdown finishes what runs; containers that ignore SIGQUIT get the same within this time.
worker_soft_shutdown_timeout = 20
worker_enable_soft_shutdown_on_idle = True

# Children are replaced now and then, whatever they may have leaked.
worker_max_tasks_per_child = 10_000
worker_max_memory_per_child = 300_000  # KiB

# What Flower shows. Events say how many messages a task was about, never which.
worker_send_task_events = True
task_send_sent_event = True
task_track_started = True
worker_hijack_root_logger = False

# A scheduler that keeps no file: every entry is a plain interval, and a tick too many does nothing.
beat_scheduler = "worker.beat:SteadyScheduler"
# A tick that waited for longer than a few intervals is worthless, and would pile up while no worker runs.
beat_schedule = {
    "drain": {"task": "drain_events", "schedule": Interval(10.0), "options": {"expires": 30.0}},
    "sweep": {"task": "sweep_parked", "schedule": Interval(_sweep_seconds), "options": {"expires": 5 * _sweep_seconds}},
    "count": {"task": "count_campaigns", "schedule": Interval(10.0), "options": {"expires": 30.0}},
    "measure": {"task": "measure", "schedule": Interval(15.0), "options": {"expires": 30.0}},
    "purge": {"task": "purge", "schedule": Interval(3600.0), "options": {"expires": 3600.0}},
    "rewrites": {"task": "detect_rewrites", "schedule": Interval(300.0), "options": {"expires": 600.0}},
    "watch": {"task": "watch_native", "schedule": Interval(_sweep_seconds), "options": {"expires": 5 * _sweep_seconds}},
}
if _settings.webhook_url:
    # A tick each second, for the schedule of attempts begins with seconds. Most find nothing due.
    beat_schedule["webhooks"] = {"task": "send_webhooks", "schedule": Interval(1.0), "options": {"expires": 5.0}}
