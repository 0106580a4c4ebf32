"""Which delivery reports are bounces, and of which type: by a list of rules that the operator may change. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_STATUS = r"([245]\.[0-7]\.\d{1,3})(?![\d.]*\d)"
#: An enhanced status (RFC 3463) such as 5.1.1, in a server's answer: behind its reply code, or anywhere; not a part of
#: an IP address or of the version of a program.
_ENHANCED_STATUS = (re.compile(rf"(?<!\d)[245]\d\d[ -]#?{_STATUS}"), re.compile(rf"(?<![\w.]){_STATUS}"))


class BounceRules:
    """The rules of ATTRIBUTION_BOUNCE_TYPES, each ``pattern:type``, of which the first that fits decides.

    A pattern is one of Azure's statuses, or a mask of the enhanced SMTP status, such as ``5.*`` or ``4.2.2``. Only
    reports whose Azure status is named by some rule are bounces at all: a code in the text of another proves nothing.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        self._rules = [(pattern, kind) for pattern, _, kind in (rule.rpartition(":") for rule in rules)]
        self._rules = [(rule[0].casefold(), rule[1]) for rule in self._rules]
        self._statuses = {pattern for pattern, _ in self._rules if not pattern[:1].isdigit()}
        self._type_of = lru_cache(maxsize=1024)(self._decide)

    def type_of(self, status: str, message: str | None) -> str | None:
        """Return ``hard``, ``soft`` or ``complaint``, or None if a report with this status and message is no bounce."""
        status = status.casefold()
        if status not in self._statuses:
            return None
        found = next(filter(None, (pattern.search(message) for pattern in _ENHANCED_STATUS)), None) if message else None
        return self._type_of(status, found[1] if found else None)

    def _decide(self, status: str, enhanced: str | None) -> str | None:
        for pattern, kind in self._rules:
            if pattern == status or (enhanced is not None and _fits(pattern, enhanced)):
                return kind
        return None


def _fits(pattern: str, enhanced: str) -> bool:
    """Tell whether an enhanced status begins as the pattern does, class by class; ``*`` stands for any."""
    wanted = pattern.split(".")
    return wanted[0].isdigit() and all(
        mine in ("*", theirs) for mine, theirs in zip(wanted, enhanced.split("."), strict=False)
    )


#: Rules by which no delivery report is a bounce.
NO_BOUNCES = BounceRules(())
