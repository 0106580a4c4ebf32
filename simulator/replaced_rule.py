"""What the replaced system would have made of it: when in doubt, it credited the newest campaign for the address."""

from __future__ import annotations

from collections import Counter, defaultdict

from simulator.truth import Sent, Truth


def misattributed(truth: Truth) -> Counter[tuple[int, int]]:
    """Count opens and clicks that the replaced rule would have credited wrongly, by (rightful, credited) campaign.

    The rule takes the message most recently sent to the reader's address when the event happened. Events of messages to
    several people name no address, and are left out.
    """
    sent_to: defaultdict[str, list[Sent]] = defaultdict(list)
    for message in truth.messages.values():
        for recipient in message.recipients:
            sent_to[recipient].append(message)
    for messages in sent_to.values():
        messages.sort(key=lambda message: message.sent_at)
    wrong: Counter[tuple[int, int]] = Counter()
    for event in truth.events.values():
        if event.what not in {"view", "click"} or event.message is None or event.at is None:
            continue
        rightful = truth.messages[event.message]
        if len(rightful.recipients) != 1:
            continue
        newest = rightful
        for message in sent_to[rightful.recipients[0]]:
            if message.sent_at <= event.at:
                newest = message
        if newest.campaign_id != rightful.campaign_id:
            wrong[rightful.campaign_id, newest.campaign_id] += 1
    return wrong
