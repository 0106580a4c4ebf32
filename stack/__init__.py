"""PostgreSQL and Redis of our own, and the processes of `attribution up`. Knows nothing of the pipeline."""
