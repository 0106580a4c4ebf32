"""docker-compose.yml as Compose reads it: what its tests ask of it, and its services to run without Docker."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
#: Those that run our image, and those that run somebody else's.
OURS: Final = {name: service for name, service in SERVICES.items() if "build" in service}
OTHERS: Final = {name: service for name, service in SERVICES.items() if "build" not in service}

#: Where Compose mounts the secrets of a service.
MOUNTED: Final = "/run/secrets"

#: ``${NAME:-value}`` may be set in .env. There is no other way in which the file asks for a value.
OPTIONAL: Final = re.compile(r"\$\{(\w+):-([^}]*)\}")


def strings(value: object) -> Iterator[str]:
    """Return every string in a part of the file."""
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def interpolated(text: object) -> str:
    """Return a value as Compose passes it on where .env says nothing."""
    return OPTIONAL.sub(lambda match: match[2], str(text)).replace("$$", "$")


def size(text: object) -> int:
    """Return a size such as ``512m`` in bytes."""
    matched = re.fullmatch(r"(\d+)([mg])b?", interpolated(text))
    assert matched, text
    return int(matched[1]) << {"m": 20, "g": 30}[matched[2]]


def memory_limit(name: str) -> int:
    """Return the memory that a service may use, in bytes."""
    return size(SERVICES[name]["deploy"]["resources"]["limits"]["memory"])


def redis_flags() -> dict[str, str]:
    """Return the settings that the command line gives to Redis."""
    server, configuration, *flags = SERVICES["redis"]["command"]
    assert (server, configuration) == ("valkey-server", f"{MOUNTED}/redis.conf")
    names, values = flags[::2], flags[1::2]
    assert all(name.startswith("--") for name in names)
    return {name.removeprefix("--"): interpolated(value) for name, value in zip(names, values, strict=True)}


def mounts(name: str) -> dict[str, str]:
    """Return what a service mounts, by where it finds it."""
    return {target: source for source, target, *_ in (each.split(":") for each in SERVICES[name].get("volumes", []))}
