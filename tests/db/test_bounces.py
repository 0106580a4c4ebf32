"""Which reports are bounces, by what the other server said."""

from __future__ import annotations

import pytest

from db.bounces import BounceRules

RULES = BounceRules(["FilteredSpam:complaint", "5.1.*:hard", "5.*:soft", "4.2.2:complaint", "4.*:soft", "Bounced:hard"])


@pytest.mark.parametrize(
    ("status", "message", "bounce_type"),
    [
        ("Bounced", "550 5.1.1 no such user", "hard"),
        ("bounced", "550-5.7.26 unauthenticated", "soft"),
        ("Bounced", "smtp; 452 4.2.2 mailbox full", "complaint"),
        ("Bounced", "the status is (5.1.10), said mx1.example.net [203.0.113.5]", "hard"),
        ("Bounced", "550 Unrouteable address (Exim 4.94.2)", "hard"),
        ("Bounced", "v4.1.2 of something", "hard"),
        ("Bounced", "client 5.1.1.7 is blocked", "hard"),
        ("Bounced", "554 5.7.1 rejected by filter 4.2.2", "soft"),
        ("Bounced", None, "hard"),
        ("FilteredSpam", "550 5.1.1", "complaint"),
        ("Delivered", "550 5.1.1", None),
        ("Teleported", None, None),
    ],
)
def test_the_first_rule_that_fits_decides(status: str, message: str | None, bounce_type: str | None) -> None:
    assert RULES.type_of(status, message) == bounce_type
