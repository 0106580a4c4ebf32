"""What Grafana's own types make of a dashboard. Grafana itself passes over what it does not know."""

from __future__ import annotations

import enum
import inspect
import json
import types
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest


@cache
def _decoder() -> tuple[Any, Any]:
    """Return the type of a dashboard, with the types of every kind of panel registered, and their encoder."""
    why = "grafana-foundation-sdk is not installed: make setup"
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins", reason=why)
    plugins.register_default_plugins()
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason=why)
    return models.Dashboard, pytest.importorskip("grafana_foundation_sdk.cog.encoder", reason=why).JSONEncoder


def complaints(dashboard: dict[str, Any]) -> list[str]:
    """Say, sorted, what of a dashboard's JSON Grafana's types do not know, and what is of another type than theirs."""
    kind, encoder = _decoder()
    decoded = kind.from_json(dashboard)
    return sorted({*_lost(dashboard, json.loads(encoder().encode(decoded)), ""), *_wrong(decoded, "")})


def _lost(written: Any, understood: Any, path: str) -> Iterator[str]:
    """Yield each field that was not understood: decoded and encoded again, it is gone, or is another."""
    if isinstance(written, dict) and isinstance(understood, dict):
        for key, value in written.items():
            if key in understood:
                yield from _lost(value, understood[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is not known"
    elif isinstance(written, list) and isinstance(understood, list) and len(written) == len(understood):
        for number, (one, other) in enumerate(zip(written, understood, strict=True)):
            yield from _lost(one, other, f"{path}[{number}]")
    elif written != understood:
        yield f"{path} is taken for {understood!r}"


def _wrong(value: Any, path: str) -> Iterator[str]:
    """Yield each field whose value is not of the type that it is declared with; the decoder itself looks at none."""
    if isinstance(value, list | dict):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _wrong(item, f"{path}[{key}]")
    elif hasattr(value, "from_json"):
        hints = typing.get_type_hints(type(value))
        for name, item in vars(value).items():
            if not _fits(item, hints.get(name, object)):
                yield f"{path}.{name} is {item!r}"
            yield from _wrong(item, f"{path}.{name}")


def _fits(value: Any, declared: Any) -> bool:
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if declared in (Any, object):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(_fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, arguments[1]) for item in value.values())
    if isinstance(value, bool) or declared is bool:
        return isinstance(value, bool) and declared is bool
    if declared is float:
        return isinstance(value, int | float)
    if inspect.isclass(declared) and issubclass(declared, enum.Enum):
        return value in [member.value for member in declared]
    # Links and transformations are left as they were written.
    return isinstance(value, declared) or (isinstance(value, dict) and hasattr(declared, "from_json"))
