"""deploy/azure/, checked without Azure: that it is Bicep, and that it agrees with the code and with itself."""

from __future__ import annotations

import re
import tomllib

import pytest
import redis

from cli.main import COMMANDS
from tasks.wire import DELIVERY_REPORT, ENGAGEMENT_REPORT
from tests.deploy.bicep import (
    FILES,
    FOLDER,
    SITES,
    container_of,
    environment_of,
    is_required,
    is_secure,
    modules,
    parameters,
    parsed,
    resources,
    secrets_of,
    words,
)
from tests.deploy.compose import ROOT
from tests.deploy.expected import LONG_RUNNING, OBSERVED, needed_by, receivers_routes, seconds_to_end, settings_of
from worker.settings import ReceiverSettings, WorkerSettings
from worker.stream_consumer import StreamConsumer, connect
from worker.streams import EVENTS, GROUP, MESSAGES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
APPS = resources("Microsoft.App/containerApps")
JOBS = resources("Microsoft.App/jobs")
#: Of what a name tells that its value opens something. A receiver's URL does not.
OPENS = re.compile(r"password|secrets?$|secret|(database|redis)Url|auth$|key$|dsn$", re.IGNORECASE)
#: Lines in which a secret may stand: it is declared, made, passed on, kept, hashed, or sent.
SECRETS_GO = re.compile(
    r"param |var redisUrl = |var sentryVariables = empty\(|    \w+: |          value: "
    r"| {14}value: (?:uniqueString\(|deliverySecret$)"
)
#: A variable that only makes a changed secret take effect.
HASH = "SECRETS_HASH"


@pytest.mark.parametrize("name", FILES)
def test_each_parameter_is_used(name: str) -> None:
    text = (FOLDER / name).read_text()
    for parameter in parameters(name):
        assert (
            len(re.findall(rf"\b{parameter}\b", re.sub(r"//.*|^@description.*", "", text, flags=re.MULTILINE))) > 1
        ), parameter


@pytest.mark.parametrize("name", FILES)
def test_what_opens_something_is_secure(name: str) -> None:
    for parameter, declared in parameters(name).items():
        assert is_secure(declared) == bool(OPENS.search(parameter)), parameter


@pytest.mark.parametrize("name", FILES)
def test_no_secret_leaves_and_none_stands_here(name: str) -> None:
    """A secret goes to another module, into a secret, or into the header that Event Grid sends; never to an output."""
    secure = {parameter for parameter, declared in parameters(name).items() if is_secure(declared)}
    assert not secure & set(words(parsed(name).get("outputs", {})))
    for parameter in secure:
        assert not parameters(name)[parameter]["default"]
    for line in (FOLDER / name).read_text().splitlines():
        if {word for word in re.findall(r"\w+", line.partition("//")[0])} & secure:
            assert SECRETS_GO.match(line), line


@pytest.mark.parametrize("name", FILES)
def test_versions_of_apis_are_final(name: str) -> None:
    for resource in parsed(name).get("resources", {}).values():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", resource["api_version"])


def test_each_module_is_called_with_what_it_declares() -> None:
    called = modules()
    assert set(called) == {name for name in FILES if name.startswith("modules/")}
    for name, passed in called.items():
        assert set(passed) == set(parameters(name)), name
        for parameter, declared in parameters(name).items():
            passed_on = set(words(passed[parameter])) & {
                each for each, its in parameters("main.bicep").items() if is_secure(its)
            } or ("redisUrl" in words(passed[parameter]))
            assert bool(passed_on) == is_secure(declared), f"{name}: {parameter}"


def test_it_is_the_whole_system() -> None:
    assert set(APPS) == set(LONG_RUNNING)
    assert set(JOBS) == {"migrate"}


@pytest.mark.parametrize("name", [*LONG_RUNNING, "migrate"])
def test_each_container_runs_a_command_with_settings_that_it_reads(name: str) -> None:
    app = (APPS | JOBS)[name]
    container = container_of(app)
    assert container["args"][0] == name
    assert name in COMMANDS
    assert container["image"] == "${registryServer}/${image}"
    given = environment_of(container)
    assert needed_by(name) <= set(given)
    assert set(given) - {HASH} <= settings_of(name)
    secrets = secrets_of(app)
    used = {each["secretRef"] for each in given.values() if "secretRef" in each}
    assert used <= set(secrets)
    assert {each["name"] for each in given.values() if OPENS.search(each["name"].replace("_", ""))} - {HASH} == {
        each["name"] for each in given.values() if "secretRef" in each
    }


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_secret_that_changes_takes_effect(name: str) -> None:
    """Azure makes a new revision of a changed template, and of a changed secret alone none."""
    app = APPS[name]
    secrets = {("sentryDsn" if key == "sentry-dsn" else value) for key, value in secrets_of(app).items()}
    assert ("sentryDsn" in secrets) == (name in OBSERVED)
    hashed = set(words(environment_of(container_of(app))[HASH]["value"]))
    assert secrets - {"redisPassword"} <= hashed  # which is a part of redisUrl


def test_one_beat_and_at_least_one_of_each_other() -> None:
    scales = {name: app["properties"]["template"]["scale"] for name, app in APPS.items()}
    assert all(scale["minReplicas"] == 1 for scale in scales.values())
    assert scales["beat"]["maxReplicas"] == scales["flower"]["maxReplicas"] == 1
    assert scales["worker"]["maxReplicas"] == "maxWorkers"


def test_who_is_reached_from_where() -> None:
    ingress = {name: app["properties"]["configuration"].get("ingress") for name, app in APPS.items()}
    assert ingress["receiver"]["external"] is True
    assert ingress["flower"]["external"] is False
    assert ingress["worker"] is ingress["beat"] is None
    ports = {name: its["targetPort"] for name, its in ingress.items() if its}
    assert ports["receiver"] == int(environment_of(container_of(APPS["receiver"]))["ATTRIBUTION_PORT"]["value"])


def test_a_worker_has_the_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://postgres/attribution")
    grace = APPS["worker"]["properties"]["template"]["terminationGracePeriodSeconds"]
    assert seconds_to_end() <= grace <= 600  # which is the most that Container Apps give


def test_probes_ask_what_is_answered() -> None:
    receiver = {probe["type"]: probe["httpGet"] for probe in container_of(APPS["receiver"])["probes"]}
    assert {kind: its["path"] for kind, its in receiver.items()} == {"Liveness": "/healthz", "Readiness": "/readyz"}
    assert {its["path"] for its in receiver.values()} <= receivers_routes()
    (worker,) = container_of(APPS["worker"])["probes"]
    assert worker["tcpSocket"]["port"] == WorkerSettings.model_fields["metrics_port"].default


def test_workers_are_scaled_by_what_waits_on_either_stream() -> None:
    rules = [rule["custom"] for rule in APPS["worker"]["properties"]["template"]["scale"]["rules"]]
    assert {rule["metadata"]["stream"] for rule in rules} == {EVENTS, MESSAGES}
    for rule in rules:
        assert rule["type"] == "redis-streams"
        # With a group, or a lag, KEDA would ask for something else than the length: see the next test.
        assert set(rule["metadata"]) == {"address", "enableTLS", "stream", "streamLength"}
        assert int(rule["metadata"]["streamLength"]) == WorkerSettings.model_fields["drain_batch_entries"].default
        assert rule["auth"] == [{"secretRef": "redis-password", "triggerParameter": "password"}]


def test_redis_does_not_know_the_lag_when_drains_acknowledge_in_another_order_than_they_read(
    redis_url: str, redis_client: redis.Redis
) -> None:
    """Why workers are not scaled by the lag (decision 30): with several of them there often is none."""
    consumer = StreamConsumer(connect(redis_url), (MESSAGES, EVENTS))
    consumer.create_group()
    for _ in range(30):
        redis_client.xadd(EVENTS, {"body": b"[]"})

    def lag() -> object:
        (group,) = redis_client.xinfo_groups(EVENTS)
        assert group["name"] == GROUP.encode()
        return group["lag"]

    first, second = consumer.read(count=10, block=None), consumer.read(count=10, block=None)
    assert lag() == 10
    consumer.acknowledge(second)
    assert lag() is None
    assert redis_client.xlen(EVENTS) == 20  # ten that wait and ten in hand, as it should be
    consumer.acknowledge(first)
    assert redis_client.xlen(EVENTS) == 10


SUBSCRIPTION = resources("Microsoft.EventGrid/systemTopics/eventSubscriptions")["events"]["properties"]
WEBHOOK = SUBSCRIPTION["destination"]["properties"]


def test_event_grid_sends_what_is_read_to_where_it_is_taken() -> None:
    assert set(SUBSCRIPTION["filter"]["includedEventTypes"]) == {DELIVERY_REPORT, ENGAGEMENT_REPORT}
    assert WEBHOOK["endpointUrl"].removeprefix("${receiverUrl}") in receivers_routes()
    topic = resources("Microsoft.EventGrid/systemTopics")["events"]
    assert topic["properties"]["topicType"] == "Microsoft.Communication.CommunicationServices"


def test_event_grid_proves_itself_by_a_header_that_nobody_can_read() -> None:
    (header,) = WEBHOOK["deliveryAttributeMappings"]
    assert (header["name"], header["type"]) == ("x-attribution-secret", "Static")
    assert header["properties"] == {"value": "deliverySecret", "isSecret": True}
    # The other schema's handshake needs the secret, and may come without the header.
    assert SUBSCRIPTION["eventDeliverySchema"] == "CloudEventSchemaV1_0"


def test_event_grid_tries_for_as_long_as_it_can_and_then_keeps_it() -> None:
    assert SUBSCRIPTION["retryPolicy"] == {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440}
    by_identity = SUBSCRIPTION["deadLetterWithResourceIdentity"]["operator"]["operands"]
    assert by_identity["condition"] == "byIdentity"
    assert by_identity["true_value"]["deadLetterDestination"] == "deadLetters"
    by_key = SUBSCRIPTION["deadLetterDestination"]["operator"]["operands"]
    assert (by_key["condition"], by_key["false_value"]) == ("byIdentity", "deadLetters")
    destination = parsed("modules/events.bicep")["variables"]["deadLetters"]["value"]
    assert destination["endpointType"] == "StorageBlob"


def test_batches_fit_into_event_grids_limits_and_ours() -> None:
    assert 1 <= WEBHOOK["maxEventsPerBatch"] <= 5000
    assert 1 <= WEBHOOK["preferredBatchSizeInKilobytes"] <= 1024
    # One large event may make a batch larger than is preferred; an event has 1 MiB at most.
    assert (WEBHOOK["preferredBatchSizeInKilobytes"] + 1024) * 1024 < ReceiverSettings.model_fields[
        "body_limit_bytes"
    ].default


def test_redis_is_one_that_keeps_what_it_takes_and_has_one_slot() -> None:
    database = resources("Microsoft.Cache/redisEnterprise/databases")["redis"]["properties"]
    assert database["clusteringPolicy"] == "NoCluster"
    assert database["evictionPolicy"] == "NoEviction"
    assert database["persistence"] == {"aofEnabled": True, "aofFrequency": "aofFrequency"}
    assert (database["clientProtocol"], database["accessKeysAuthentication"]) == ("Encrypted", "Enabled")
    for site in SITES:
        (port,) = re.findall(r"^param redisAddress = '.+:(\d+)'$", (FOLDER / site).read_text(), re.MULTILINE)
        assert int(port) == database["port"]


def test_sites_share_the_registry_and_may_pull_from_wherever_it_is() -> None:
    for site in SITES:
        assert re.search(r"^param registryResourceGroup = '\w+'$", (FOLDER / site).read_text(), re.MULTILINE)
    registry = parsed("main.bicep")["modules"]["registry"]["config"]
    assert "registryResourceGroup" in set(words(registry["scope"]))
    assert set(resources("Microsoft.ManagedIdentity/userAssignedIdentities")) == {"puller", "deadletters"}


def test_dead_letters_are_written_by_key_unless_somebody_asks() -> None:
    """A global system topic, which that of Communication Services is, can have no identity, says Azure."""
    assert re.search(r"^param deadLettersByIdentity bool = false$", (FOLDER / "main.bicep").read_text(), re.MULTILINE)
    account = resources("Microsoft.Storage/storageAccounts")["deadletters"]["properties"]
    assert set(words(account["allowSharedKeyAccess"])) == {"not", "byIdentity"}
    made = parsed("modules/deadletters.bicep")["resources"]
    assert {each["config"].get("condition") for each in (made["writer"], made["mayWrite"])} == {"byIdentity"}


def test_there_are_two_sites() -> None:
    assert len(SITES) == 2


@pytest.mark.parametrize("site", SITES)
def test_a_site_gives_what_is_asked_and_no_secret(site: str) -> None:
    text = (FOLDER / site).read_text()
    using = re.search(r"^using '\./(\S+)'$", text, re.MULTILINE)
    assert using
    main = using[1]
    given = dict(re.findall(r"^param (\w+) = (.+)$", text, re.MULTILINE))
    declared = parameters(main)
    assert set(given) <= set(declared)
    assert {name for name in declared if is_required(main, name)} <= set(given)
    for name, value in given.items():
        if is_secure(declared[name]):
            assert re.fullmatch(
                r"readEnvironmentVariable\('\w+'(, '')?\)|az\.getSecret\('[\w-]+', '[\w-]+', '[\w-]+', '[\w-]+'\)",
                value,
            )
        else:
            assert "readEnvironmentVariable" not in value
    assert given["image"] == f"'{PROJECT['name']}:{PROJECT['version']}'"
    for setting in re.findall(r"^  (\w+): ", text, re.MULTILINE):
        assert setting in settings_of("worker") | settings_of("receiver")
        assert not OPENS.search(setting.replace("_", ""))
