"""The runtime: settings, receiver, streams, Celery application. Knows Redis, HTTP and Celery; no SQL."""
