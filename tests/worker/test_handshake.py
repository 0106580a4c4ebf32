"""What is a validation event, and what only looks like one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.receiving.handshake import validation_code

EVENT = {
    "id": "2d00",
    "data": {"validationCode": "512d"},
    "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
}


@pytest.mark.parametrize("body", [EVENT, [EVENT]], ids=["object", "array"])
def test_code_is_found(body: object) -> None:
    assert validation_code(json.dumps(body).encode()) == "512d"


@pytest.mark.parametrize(
    "body",
    [
        [],
        [EVENT, EVENT],
        [[EVENT]],
        {"data": {}},
        {"data": None},
        {"data": {"validationCode": ""}},
        {"data": {"validationCode": 512}},
        {"data": {"validationUrl": "https://rp-example.eventgrid.azure.net:553/validate"}},
        "512d",
        None,
    ],
    ids=json.dumps,
)
def test_what_has_no_code_is_none(body: object) -> None:
    assert validation_code(json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 60_000, b'{"data":' * 8_000], ids=lambda body: repr(body[:9])
)
def test_what_is_no_json_is_none(body: bytes) -> None:
    assert validation_code(body) is None


@given(st.binary())
def test_arbitrary_bytes_never_raise(body: bytes) -> None:
    assert validation_code(body) is None
