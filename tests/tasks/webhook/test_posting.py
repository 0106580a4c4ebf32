"""What is posted: signed, in batches, each event once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from standardwebhooks import WebhookVerificationError

from tasks import webhook
from tests.tasks.webhook.conftest import Configure
from tests.tasks.webhook.sending import fill, kept, run
from tests.tasks.webhook_endpoint import OLD_SECRET, SECRET, WebhookEndpoint


def test_what_is_posted_is_signed_and_says_who_did_what_when(engine: Engine, sent_to: WebhookEndpoint) -> None:
    fill(engine)
    assert run() == "delivered 1, events 1"
    (call,) = sent_to.calls
    call.verify()
    assert call.headers["content-type"] == "application/json"
    assert abs(int(call.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert call.payload["type"] == "events.attributed"
    assert datetime.fromisoformat(call.payload["timestamp"]).tzinfo is not None
    (event,) = call.payload["data"]["events"]
    told = {name: event[name] for name in ("kind", "type", "campaign_id", "subscriber_id", "matched_by", "url")}
    assert told == {
        "kind": "engagement",
        "type": "click",
        "campaign_id": 7,
        "subscriber_id": 12,
        "matched_by": "internet_message_id",
        "url": "https://www.example.com/offer?a=1",
    }
    assert all(event[name].endswith("Z") for name in ("occurred_at", "received_at", "attributed_at"))
    assert kept(engine) == []
    assert run() == "nothing due"


def test_a_changed_body_another_secret_and_an_old_timestamp_do_not_pass(
    engine: Engine, sent_to: WebhookEndpoint
) -> None:
    fill(engine)
    run()
    (call,) = sent_to.calls
    an_hour_ago = str(int(call.headers["webhook-timestamp"]) - 3600)
    with pytest.raises(WebhookVerificationError):
        replace(call, body=call.body.replace('"campaign_id":7', '"campaign_id":8')).verify()
    with pytest.raises(WebhookVerificationError):
        call.verify(OLD_SECRET)
    with pytest.raises(WebhookVerificationError):
        replace(call, headers=call.headers | {"webhook-timestamp": an_hour_ago}).verify()


def test_while_secrets_are_rotated_either_verifies(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure
) -> None:
    configure(endpoint.url, secrets=(SECRET, OLD_SECRET))
    fill(engine)
    run()
    (call,) = endpoint.calls
    assert len(call.headers["webhook-signature"].split(" ")) == 2
    call.verify(SECRET)
    call.verify(OLD_SECRET)


def test_two_thousand_events_go_in_four_batches_each_once(engine: Engine, sent_to: WebhookEndpoint) -> None:
    fill(engine, 2000)
    assert run() == "delivered 4, events 2000"
    for call in sent_to.calls:
        call.verify()
    assert [len(call.keys) for call in sent_to.calls] == [500] * 4
    assert len({key for call in sent_to.calls for key in call.keys}) == 2000
    assert len({call.id for call in sent_to.calls}) == 4
    assert sent_to.connections <= webhook.SENDERS
