"""Changing a running program from outside, and saying so where there is nothing any more that could be changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class CannotPatch(Exception):
    """What is to be changed is not there any more: the program has moved on, and its breaking has not."""


def patch(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace the attribute ``name`` of a module or a class by what ``make`` makes of it, for the rest of the process.

    Raises:
        CannotPatch: there is none.
    """
    try:
        found = getattr(owner, name)
    except AttributeError:
        where = getattr(owner, "__name__", type(owner).__name__)
        raise CannotPatch(f"{where} has no {name} any more. Look where it went, and patch it there.") from None
    setattr(owner, name, make(found))


def replace_in(text: str, what: str, by: str) -> str:
    """Return ``text`` with ``what``, which stands in it once, replaced.

    Raises:
        CannotPatch: it does not, or more than once.
    """
    if text.count(what) != 1:
        raise CannotPatch(f"{what!r} stands {text.count(what)} times, and not once, in what is to be changed.")
    return text.replace(what, by)
