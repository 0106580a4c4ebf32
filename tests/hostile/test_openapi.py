"""`worker/receiving/openapi.yaml` is true: it names what there is; each answer it names is given, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import redis
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi import checks
from starlette.routing import Route

import worker
from tests.acceptance.programs import Program, free_port
from tests.waiting import eventually
from tests.worker.receiving import EVENT_SECRET, MESSAGE_SECRET, Caller, read_answer, receiver_settings, serving
from tests.worker.receiving import request_bytes as as_bytes
from worker.messages import MOST_TRACKINGS
from worker.receiver import create_receiver
from worker.streams import EVENTS, MESSAGES

FILE: Final = Path(worker.__file__).parent / "receiving" / "openapi.yaml"
DOCUMENT: Final[dict[str, Any]] = yaml.safe_load(FILE.read_text())
#: Every route, and all that it may answer.
OPERATIONS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    (method.upper(), path): operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
#: What Event Grid takes for final, and drops the events.
NEVER_RETRIED: Final = {"400", "401", "403", "413"}
SECRETS: Final = {"/messages": MESSAGE_SECRET}
TRACKING: Final = b'{"campaign_id": 7, "internet_message_id": "<c42@mail.example.com>"}'


@pytest.fixture(scope="module")
def caller(redis_url: str) -> Iterator[Caller]:
    with serving(receiver_settings(redis_url)) as caller:
        yield caller


@pytest.fixture(scope="module")
def patient_caller(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A receiver that is not impatient when the machine is busy; a process, because Hypothesis wants to be alone."""
    port = free_port()
    environment = {
        "ATTRIBUTION_REDIS_URL": redis_url,
        "ATTRIBUTION_EVENT_SECRETS": EVENT_SECRET,
        "ATTRIBUTION_MESSAGE_SECRETS": MESSAGE_SECRET,
        "ATTRIBUTION_PORT": str(port),
        "ATTRIBUTION_BODY_TIMEOUT": "30",
        "ATTRIBUTION_REDIS_TIMEOUT": "30",
    }
    receiver = Program("receiver", environment=environment, folder=tmp_path_factory.mktemp("receiver"))
    try:
        eventually(lambda: assert_ready(f"http://127.0.0.1:{port}"), within=30)
        yield Caller(port)
    finally:
        receiver.end()


def assert_ready(url: str) -> None:
    try:
        assert httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError as error:
        raise AssertionError(str(error)) from error


@pytest.fixture
def caller_without_redis() -> Iterator[Caller]:
    with serving(receiver_settings("redis://127.0.0.1:1")) as caller:
        yield caller


def secret(path: str) -> dict[str, str]:
    return {"X-Attribution-Secret": SECRETS.get(path, EVENT_SECRET)}


def body(path: str) -> bytes:
    return TRACKING if path == "/messages" else b"[]"


#: What is asked of each answer. It is not asked to refuse what the document does not describe: the receiver takes more.
#: Nor is it asked for 401, which Event Grid would take for final.
ALWAYS: Final[list[CheckFunction]] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.response_headers_conformance,
]
IN_A_BODY: Final[list[CheckFunction]] = [checks.content_type_conformance, checks.response_schema_conformance]
#: Requests to each route, by chance.
EXAMPLES: Final = 30
#: The same endpoint under another path.
ALIAS: Final = "/webhooks/service/azure"


# What there is.


def test_it_is_served_as_it_stands_in_its_file(caller: Caller) -> None:
    answer = caller.send("GET", "/openapi.yaml")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/yaml")
    assert answer.body == FILE.read_bytes()


def test_it_names_the_routes_that_there_are_and_no_others(redis_url: str) -> None:
    routes = [route for route in create_receiver(receiver_settings(redis_url)).routes if isinstance(route, Route)]
    there = {(method, route.path) for route in routes for method in route.methods or ()}
    assert {(method, path) for method, path in there if method != "HEAD"} == OPERATIONS.keys()


def test_of_what_event_grid_never_retries_there_is_only_413_and_only_where_a_body_is_read() -> None:
    final = {key: NEVER_RETRIED & set(operation["responses"]) for key, operation in OPERATIONS.items()}
    assert {key for key, statuses in final.items() if statuses} == {key for key in OPERATIONS if key[0] == "POST"}
    assert set().union(*final.values()) == {"413"}


def test_only_the_routes_for_operation_and_the_handshake_ask_for_no_secret() -> None:
    free = {key for key, operation in OPERATIONS.items() if not operation["security"]}
    assert free == {key for key in OPERATIONS if key[0] in ("GET", "OPTIONS")}


# Each answer that it names.


def _slow(caller: Caller, path: str) -> int:
    with caller.connect() as connection:
        connection.sendall(as_bytes("POST", path, secret(path) | {"Content-Length": "10"}))
        return read_answer(connection).status


def _large(caller: Caller, path: str) -> int:
    with caller.connect() as connection:
        connection.sendall(as_bytes("POST", path, secret(path) | {"Content-Length": str(2**30)}))
        return read_answer(connection).status


PROVOKED: Final[dict[str, Callable[[Caller, str], int]]] = {
    "200": lambda caller, path: caller.send("POST", path, secret(path), body(path)).status,
    "202": lambda caller, path: caller.send("POST", path, secret(path), body(path)).status,
    "404": lambda caller, path: caller.send("POST", path, None, body(path)).status,
    "408": _slow,
    "413": _large,
    "415": lambda caller, path: caller.send("POST", path, secret(path) | {"Content-Encoding": "gzip"}, b"").status,
    "422": lambda caller, path: caller.send("POST", path, secret(path), b"{}").status,
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [(*key, status) for key, operation in OPERATIONS.items() for status in operation["responses"]],
)
def test_each_answer_that_it_names_is_given(
    method: str, path: str, status: str, caller: Caller, request: pytest.FixtureRequest
) -> None:
    if status == "503":
        without_redis: Caller = request.getfixturevalue("caller_without_redis")
        answered = without_redis.send(method, path, secret(path), body(path) if method == "POST" else b"").status
    elif method == "POST":
        answered = PROVOKED[status](caller, path)
    else:
        answered = caller.send(method, path).status
    assert answered == int(status)


def test_more_trackings_than_may_be_sent_at_once_are_answered_413(
    patient_caller: Caller, redis_client: redis.Redis
) -> None:
    maximum = OPERATIONS["POST", "/messages"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"][1]
    assert maximum["maxItems"] == MOST_TRACKINGS
    small = b'{"campaign_id":7,"internet_message_id":"a"}'
    answers = [patient_caller.post_messages(b"[" + b",".join([small] * n) + b"]") for n in (50_000, 50_001)]
    lines = patient_caller.post_messages(b"\n".join([small] * (MOST_TRACKINGS + 1)))
    assert [answer.status for answer in (*answers, lines)] == [202, 413, 413]
    assert json.loads(answers[1].body) == {"error": "more than 50000 trackings in one call; send fewer at once"}
    assert redis_client.xlen(MESSAGES) == 1


# What its examples say.


def _examples(content: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    for media_type, described in content.items():
        for example in described.get("examples", {}).values():
            value = example["value"]
            yield media_type, value.encode() if isinstance(value, str) else json.dumps(value).encode()


@pytest.mark.parametrize("path", [path for method, path in OPERATIONS if method == "POST"])
def test_each_of_its_examples_is_taken(path: str, caller: Caller, redis_client: redis.Redis) -> None:
    described = OPERATIONS["POST", path]["requestBody"]
    if "$ref" in described:
        described = DOCUMENT["components"]["requestBodies"][described["$ref"].rpartition("/")[2]]
    examples = list(_examples(described["content"]))
    assert len(examples) >= 3
    for media_type, example in examples:
        answer = caller.send("POST", path, secret(path) | {"Content-Type": media_type}, example)
        assert answer.status == (202 if path == "/messages" else 200)
    assert redis_client.xlen(MESSAGES if path == "/messages" else EVENTS) == len(examples)


# And no other ever is.


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        pytest.param(method, path, mode, id=f"{method}-{path}-{mode.value}")
        for method, path in OPERATIONS
        for mode in GenerationMode
        if path != ALIAS and (mode is GenerationMode.POSITIVE or method != "GET")  # there, nothing can be unsound
    ],
)
def test_whatever_is_sent_the_answer_is_named_and_only_what_is_confirmed_is_stored(
    method: str, path: str, mode: GenerationMode, patient_caller: Caller, redis_client: redis.Redis
) -> None:
    operation = schemathesis.openapi.from_path(FILE)[path][method]

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def send(case: Any) -> None:
        before = _stored(redis_client)
        response = case.call(base_url=f"http://127.0.0.1:{patient_caller.port}", headers=secret(path))
        case.validate_response(response, checks=[*ALWAYS, *(IN_A_BODY if response.content else ())])
        assert _stored(redis_client) - before == _confirmed(method, response)

    send()


def _stored(client: redis.Redis) -> int:
    return int(client.xlen(EVENTS)) + int(client.xlen(MESSAGES))


def _confirmed(method: str, response: schemathesis.Response) -> int:
    """Return how many entries an answer promises: a handshake promises none, nor does a call without trackings."""
    if method != "POST" or response.status_code not in (200, 202):
        return 0
    said = json.loads(response.content or b"{}")
    return int("validationResponse" not in said and said.get("accepted") != 0)
