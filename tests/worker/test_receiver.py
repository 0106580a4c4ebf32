"""What the receiver does beyond its table: naming bad items, telling callers apart, counting."""

from __future__ import annotations

import json

import pytest
import redis

from tests.worker.receiving import EVENT_SECRET, Caller, ServeReceiver, entries
from worker.streams import EVENTS, MESSAGES

EVENT_GRID = b'[{"id": "8a1f"}]'
TRACKING = {"internet_message_id": "<c42.6f1d@mail.example.com>", "campaign_id": 7}


def test_bad_items_are_named_one_by_one(caller: Caller) -> None:
    items = [TRACKING, {"internet_message_id": "<a@b.example.com>", "campaign_id": 0}, {"campaign_id": 7}, "text"]

    answer = caller.post_messages(json.dumps(items).encode())

    refused = json.loads(answer.body)
    assert (refused["accepted"], refused["refused"]) == (0, 3)
    assert [(error["index"], error["field"]) for error in refused["errors"]] == [
        (1, "campaign_id"),
        (2, "internet_message_id"),
        (3, ""),
    ]
    assert all(error["error"].startswith(("it ", "expected ")) for error in refused["errors"])


def test_a_422_names_a_thousand_items_and_counts_the_rest(caller: Caller) -> None:
    answer = caller.post_messages(b"[" + b",".join([b"{}"] * 1500) + b"]")

    refused = json.loads(answer.body)
    assert (answer.status, refused["refused"], len(refused["errors"])) == (422, 1500, 1000)


def test_an_id_that_acs_would_replace_is_accepted_with_a_warning(caller: Caller, redis_client: redis.Redis) -> None:
    before = caller.metric("attribution_message_warnings_total")
    items = [TRACKING, TRACKING | {"internet_message_id": "<5b1e3c44-guid>"}]

    answer = caller.post_messages(json.dumps(items).encode())

    told = json.loads(answer.body)
    assert (answer.status, told["accepted"], told["warned"]) == (202, 2, 1)
    (warning,) = told["warnings"]
    assert (warning["index"], warning["field"]) == (1, "internet_message_id")
    assert "because it has no @" in warning["sentence"]
    (entry,) = entries(redis_client, MESSAGES)
    assert [each["internet_message_id"] for each in json.loads(entry[b"body"])] == [
        "<c42.6f1d@mail.example.com>",
        "<5b1e3c44-guid>",
    ]
    assert caller.metric("attribution_message_warnings_total") == before + 1


def test_a_202_names_a_thousand_warnings_and_counts_the_rest(caller: Caller) -> None:
    item = json.dumps(TRACKING | {"internet_message_id": "<guid>"}).encode()
    told = json.loads(caller.post_messages(b"[" + b",".join([item] * 1500) + b"]").body)
    assert (told["accepted"], told["warned"], len(told["warnings"])) == (1500, 1500, 1000)


def test_messages_are_switched_off_without_a_secret(
    serve: ServeReceiver, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caller = serve(redis_url, message_secrets="")

    answer = caller.send("POST", "/messages", {"Authorization": "Bearer "}, json.dumps(TRACKING).encode())

    assert answer.status == 404
    assert "ATTRIBUTION_MESSAGE_SECRETS is not set" in caplog.text


def test_insecure_lets_anyone_post(serve: ServeReceiver, redis_url: str, redis_client: redis.Redis) -> None:
    caller = serve(redis_url, insecure=True, event_secrets="", message_secrets="")

    assert caller.send("POST", "/eventgrid", body=EVENT_GRID).status == 200
    assert caller.send("POST", "/messages", body=json.dumps(TRACKING).encode()).status == 202
    assert len(entries(redis_client, EVENTS)) == len(entries(redis_client, MESSAGES)) == 1


@pytest.mark.parametrize("sent", [{}, {"WebHook-Request-Origin": "evil.example.net"}], ids=["nobody", "a stranger"])
def test_cloudevents_handshake_is_not_granted_to(sent: dict[str, str], caller: Caller) -> None:
    answer = caller.send("OPTIONS", "/eventgrid", sent)

    assert answer.status == 200
    assert answer.headers == {"allow": "POST", "content-length": "0"}


def test_secret_that_is_not_ascii_is_percent_decoded(serve: ServeReceiver, redis_url: str) -> None:
    caller = serve(redis_url, event_secrets="geheim+nis-ä-0123456789")

    assert caller.send("POST", "/eventgrid?code=geheim+nis-%C3%A4-0123456789", body=EVENT_GRID).status == 200
    assert caller.send("POST", "/eventgrid?code=geheim%2Bnis-%c3%a4-0123456789", body=EVENT_GRID).status == 200
    assert (
        caller.send("POST", "/eventgrid", {"X-Attribution-Secret": "geheim+nis-ä-0123456789"}, EVENT_GRID).status == 200
    )
    assert caller.send("POST", "/eventgrid?code=geheim+nis-a-0123456789", body=EVENT_GRID).status == 404


def test_requests_are_counted(caller: Caller) -> None:
    def counted(name: str, **labels: str) -> float:
        return caller.metric(f"attribution_{name}_total", **labels)

    stored = counted("requests", route="eventgrid", status="200")
    refused = counted("requests", route="eventgrid", status="404")
    wrong = counted("callers_refused", route="eventgrid", reason="secret")
    missing = counted("callers_refused", route="messages", reason="missing")
    appended = counted("entries_appended", stream=EVENTS)

    caller.post_events(EVENT_GRID)
    caller.send("POST", "/eventgrid?code=wrong-secret-012345", body=EVENT_GRID)
    caller.send("POST", "/messages", body=EVENT_GRID)

    assert counted("requests", route="eventgrid", status="200") == stored + 1
    assert counted("requests", route="eventgrid", status="404") == refused + 1
    assert counted("callers_refused", route="eventgrid", reason="secret") == wrong + 1
    assert counted("callers_refused", route="messages", reason="missing") == missing + 1
    assert counted("entries_appended", stream=EVENTS) == appended + 1
    assert caller.metric("attribution_redis_seconds_count") >= 1


@pytest.mark.parametrize("path", [f"/eventgrid?code={EVENT_SECRET}", "/messages"])
def test_a_fault_of_ours_is_answered_500_logged_and_sent_again_by_event_grid(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async def fail(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("worker.receiving.endpoints.EventEndpoint._answer", fail)
    monkeypatch.setattr("worker.receiving.endpoints.MessageEndpoint._answer", fail)
    assert caller.send("POST", path, {}, b"[]").status == 500
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
