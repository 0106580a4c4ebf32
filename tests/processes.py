"""What the system knows of a process. By psutil, which the embedded servers bring: a bare machine may have no `ps`."""

from __future__ import annotations

import psutil


def status_of(pid: int) -> str:
    """Return what a process does: ``running``, ``sleeping``, …; ``gone`` once it has ended, reaped or not."""
    try:
        status: str = psutil.Process(pid).status()
    except psutil.NoSuchProcess:
        return "gone"
    return "gone" if status == psutil.STATUS_ZOMBIE else status


def lives(pid: int) -> bool:
    """Tell whether a process has not ended."""
    return status_of(pid) != "gone"


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's direct children."""
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


def command_lines() -> list[str]:
    """Return the command line of every process that may be seen."""
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
