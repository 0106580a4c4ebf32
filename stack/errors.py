"""What can go wrong with the local stack. A class names the state that broke; its docstring is the default message."""

from __future__ import annotations

import inspect


class StackError(Exception):
    """The local stack failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))


class StackBusy(StackError):
    """Another process owns this stack."""


class StackUnusable(StackError):
    """The folder of the stack cannot be used by this user."""


class ServerMissing(StackError):
    """The embedded servers are not installed. Run `make setup`."""


class ServerFailed(StackError):
    """A server of the stack did not start, or did not stop."""


class ProcessDied(StackError):
    """A process of the stack ended by itself."""
