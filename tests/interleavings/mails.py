"""Mails and what is told of them, in a few words each: trackings, and the events that Azure makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from tests.tasks.payloads import delivery, engagement

#: When everything happens, as Azure dates it.
AT = datetime(2026, 1, 10, 10, 26, 40, tzinfo=UTC)
OFFER = "https://www.example.com/offer"


class Mail(NamedTuple):
    """A mail: its two ids, and whom it is credited to."""

    internet: str
    azure: str
    campaign: int
    subscriber: int


def _mail(number: int, name: str, campaign: int = 7) -> Mail:
    azure = UUID(int=0x5B1E3C44_0000_4000_8000_000000000000 + number)
    return Mail(f"<{name}@example.com>", str(azure), campaign, 10 + number)


#: In the order of both their ids.
A, B, C, D = (_mail(number, name) for number, name in enumerate("abcd", start=1))
#: Of another campaign.
OF_ANOTHER = _mail(5, "e", campaign=8)
#: The reverse: Azure's id of the first mail is the last.
TWISTED = {mail: mail._replace(azure=azure) for mail, azure in zip((A, B), (B.azure, A.azure), strict=True)}


def tracking(mail: Mail, *, internet: bool = True, azure: bool = False) -> dict[str, Any]:
    """Return what a mailer says of a mail, with the ids that it knows."""
    ids = ({"internet_message_id": mail.internet} if internet else {}) | (
        {"azure_message_id": mail.azure} if azure else {}
    )
    return {**ids, "campaign_id": mail.campaign, "subscriber_id": mail.subscriber}


def opened(mail: Mail, event_id: str, *, internet: bool = True, seconds: float = 0) -> dict[str, Any]:
    """Return a view, so many seconds after `AT`."""
    return _engaged(mail, event_id, "view", None, internet=internet, seconds=seconds)


def clicked(mail: Mail, event_id: str, url: str = OFFER, *, internet: bool = True, seconds: float = 0) -> Any:
    """Return a click on ``url``."""
    return _engaged(mail, event_id, "click", url, internet=internet, seconds=seconds)


def delivered(mail: Mail, event_id: str) -> dict[str, Any]:
    """Return a delivery report, which carries both ids."""
    return delivery(event_id, internet_message_id=mail.internet, messageId=mail.azure)


def _engaged(
    mail: Mail, event_id: str, kind: str, url: str | None, *, internet: bool, seconds: float
) -> dict[str, Any]:
    return engagement(
        event_id,
        internet_message_id=mail.internet if internet else None,
        messageId=mail.azure,
        engagementType=kind,
        engagementContext=url,
        userActionTimestamp=(AT + timedelta(seconds=seconds)).isoformat(),
    )
