"""Flower's settings, which it reads itself, as its ``--conf``: of a task it shows what an operator asks first."""

from __future__ import annotations

from typing import Any

#: The columns of its list of tasks; its own default leaves the result out.
tasks_columns = "name,state,result,received,runtime,retries,worker"

#: Seconds after which a worker that has gone is left out.
purge_offline_workers = 600


def format_task(task: Any) -> Any:
    """Show a result as the words that it is: `released 1`, not `'released 1'`."""
    if isinstance(task.result, str):
        task.result = task.result.strip("'")
    return task
