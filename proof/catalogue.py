"""All faults that there are: importing their modules puts them into the list."""

from __future__ import annotations

from proof.faults import network, operations, postgres_server, processes, redis_server
from proof.faults.fault import FAULTS

__all__ = ["FAULTS", "network", "operations", "postgres_server", "processes", "redis_server"]
