"""The example in the documentation verifies what is posted, and stores each event once."""

from __future__ import annotations

import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.tasks.webhook.conftest import Configure
from tests.tasks.webhook.sending import execute, fill, only, run
from tests.tasks.webhook_endpoint import OLD_SECRET, SECRET, Call, WebhookEndpoint
from tests.waiting import eventually

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "verify_webhook.py"


@pytest.mark.parametrize("verify", ["verify_by_library", "verify_by_hand"])
def test_the_example_verifies_what_is_posted_and_nothing_else(
    engine: Engine, endpoint: WebhookEndpoint, configure: Configure, verify: str
) -> None:
    configure(endpoint.url, secrets=(OLD_SECRET, SECRET))
    fill(engine, 3)
    run()
    (call,) = endpoint.calls
    check = runpy.run_path(str(EXAMPLE), run_name="example")[verify]
    assert check(SECRET, call.headers, call.body.encode()) == call.payload

    def changed(**headers: str) -> Call:
        return replace(call, headers=call.headers | {name.replace("_", "-"): value for name, value in headers.items()})

    for wrong in (
        replace(call, body=call.body + " "),
        changed(webhook_id="x"),
        changed(webhook_timestamp="1"),
        changed(webhook_timestamp="soon"),
        changed(webhook_timestamp=str(int(call.headers["webhook-timestamp"]) + 3600)),
        changed(webhook_signature="v1,AAAA"),
        changed(webhook_signature=""),
        replace(call, headers={}),
    ):
        with pytest.raises(Exception, match=r".") as refused:
            check(SECRET, wrong.headers, wrong.body.encode())
        assert type(refused.value).__name__ in {"WebhookVerificationError", "Refused"}


def test_the_example_stores_each_event_once_however_often_it_is_posted(
    engine: Engine, configure: Configure, tmp_path: Path
) -> None:
    command = [sys.executable, "-I", str(EXAMPLE), "--port=0", f"--database={tmp_path / 'events.sqlite'}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={"WEBHOOK_SECRET": SECRET}
    ) as receiver:
        try:
            assert receiver.stdout is not None
            url = receiver.stdout.readline().split()[-1]
            configure(url)
            fill(engine, 2)
            execute(
                engine,
                "INSERT INTO attribution_outbox (kind, event_row) SELECT kind, event_row FROM attribution_outbox",
            )
            assert run() == "delivered 1, events 4"
            stored = runpy.run_path(str(EXAMPLE), run_name="example")["stored"]
            eventually(lambda: _equal(stored(tmp_path / "events.sqlite"), 2))
            configure(url, secrets=(OLD_SECRET,))
            fill(engine)
            assert run() == "failed 1"
            assert only(engine).last_error == "answered 401"
        finally:
            receiver.terminate()


def _equal(one: object, other: object) -> None:
    assert one == other
