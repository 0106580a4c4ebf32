"""deploy/kubernetes/, checked without a cluster: against Kubernetes's schemas, the code, and itself."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from cli.main import COMMANDS
from tests.deploy.compose import ROOT, SERVICES, memory_limit
from tests.deploy.expected import LONG_RUNNING, OBSERVING, needed_by, receivers_routes, seconds_to_end, settings_of
from worker.settings import ReceiverSettings, WorkerSettings
from worker.streams import EVENTS, MESSAGES

FOLDER: Final = ROOT / "deploy" / "kubernetes"
FILES: Final = sorted(path.name for path in FOLDER.glob("*.yaml"))
#: Whose schemas are not Kubernetes's own.
ELSEWHERE: Final = ("kustomization.yaml", "keda.yaml")
#: The versions of Kubernetes that are looked after when this is written, and the newest that the package knows.
VERSIONS: Final = ("1.34", "1.37")
DOCUMENTS: Final = {
    f"{name}: {document['kind']} {document['metadata'].get('name', document['metadata'].get('generateName'))}": document
    for name in FILES
    for document in yaml.safe_load_all((FOLDER / name).read_text())
    if name != "kustomization.yaml"
}
KUSTOMIZATION: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SECRETS: Final = "/run/secrets/attribution"


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the documents of a kind, by name."""
    return {
        document["metadata"].get("name", document["metadata"].get("generateName", "").rstrip("-")): document
        for document in DOCUMENTS.values()
        if document["kind"] == kind
    }


DEPLOYMENTS: Final = of_kind("Deployment")
WORKLOADS: Final = DEPLOYMENTS | of_kind("Job")
PODS: Final = {name: workload["spec"]["template"] for name, workload in WORKLOADS.items()}


def container_of(name: str) -> dict[str, Any]:
    (container,) = PODS[name]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not name.startswith(ELSEWHERE)])
def test_it_is_what_kubernetes_takes(name: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[name], version, strict=True)


def test_what_kubernetes_does_not_take_is_noticed() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(DEPLOYMENTS["beat"]))
    wrong["spec"]["template"]["spec"]["securityContext"]["runAsNoRoot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_kustomize_is_told_of_every_file_but_those_that_it_names() -> None:
    listed = KUSTOMIZATION["resources"]
    assert sorted([*listed, "kustomization.yaml", "migrate.yaml", "secret.yaml", "keda.yaml"]) == FILES
    assert "migrate.yaml is run before a release" in (FOLDER / "kustomization.yaml").read_text()
    (image,) = KUSTOMIZATION["images"]
    assert (image["name"], image["newTag"]) == (PROJECT["name"], PROJECT["version"])
    # In the files, too: applied without kustomize they would be of no version.
    assert {container_of(name)["image"] for name in WORKLOADS} == {f"{PROJECT['name']}:{PROJECT['version']}"}


def test_everything_is_in_its_namespace() -> None:
    (namespace,) = of_kind("Namespace")
    assert KUSTOMIZATION["namespace"] == namespace
    for document in DOCUMENTS.values():
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == namespace


def test_it_is_the_whole_system() -> None:
    assert set(DEPLOYMENTS) == set(LONG_RUNNING)
    assert set(WORKLOADS) - set(DEPLOYMENTS) == {"migrate"}


@pytest.mark.parametrize("name", WORKLOADS)
def test_each_container_runs_a_command_with_settings_that_it_reads(name: str) -> None:
    container = container_of(name)
    assert container["args"][0] == name
    assert name in COMMANDS
    variables = {each["name"] for each in container["env"]}
    assert variables <= settings_of(name)
    files = {item["path"] for item in secrets_of(name)["items"]}
    assert all(item["key"] == item["path"] for item in secrets_of(name)["items"])
    assert files <= settings_of(name)
    assert needed_by(name) <= variables | files
    assert {each["name"]: each["value"] for each in container["env"]}["ATTRIBUTION_SECRETS_DIR"] == SECRETS
    assert {"name": "secrets", "mountPath": SECRETS, "readOnly": True} in container["volumeMounts"]


def secrets_of(name: str) -> dict[str, Any]:
    """Return the secrets that a pod must have, and under ``may`` the names of those that it has if they are there."""
    (volume,) = (each for each in PODS[name]["spec"]["volumes"] if each["name"] == "secrets")
    if "secret" in volume:
        return {**volume["secret"], "may": set()}
    must, may = (source["secret"] for source in volume["projected"]["sources"])
    assert (must["name"], "optional" in must) == (may["name"], False)
    assert may["optional"] is True
    assert all(item["key"] == item["path"] for item in may["items"])
    return {
        "secretName": must["name"],
        "defaultMode": volume["projected"]["defaultMode"],
        "items": must["items"],
        "may": {item["key"] for item in may["items"]},
    }


def test_each_secret_is_asked_for_without_a_value_and_goes_to_the_same_as_in_compose() -> None:
    (secret,) = of_kind("Secret").values()
    assert set(secret["stringData"].values()) == {""}
    given = {name: {item["key"] for item in secrets_of(name)["items"]} | secrets_of(name)["may"] for name in WORKLOADS}
    assert set(secret["stringData"]) == set().union(*given.values())
    assert given == {name: {each.upper() for each in SERVICES[name]["secrets"]} for name in WORKLOADS}
    assert {secrets_of(name)["secretName"] for name in WORKLOADS} == {secret["metadata"]["name"]}


def test_settings_for_all_are_settings_of_all() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    literals = {literal.partition("=")[0] for literal in generated["literals"]}
    for name in DEPLOYMENTS:
        assert literals - OBSERVING <= settings_of(name)  # who tells nobody what it does passes those over
        assert container_of(name)["envFrom"] == [{"configMapRef": {"name": generated["name"]}}]


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_can_do_no_more_than_they_must(name: str) -> None:
    pod, container = PODS[name]["spec"], container_of(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    user = f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n"
    assert user in (ROOT / "Dockerfile").read_text()
    # The files are root's, and for the group: whose number the process must have.
    assert secrets_of(name)["defaultMode"] == 0o440
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]  # noqa: S108 - Celery needs one


@pytest.mark.parametrize("name", WORKLOADS)
def test_memory_is_limited_as_in_compose_and_the_processor_is_not(name: str) -> None:
    resources = container_of(name)["resources"]
    mebibytes = {"Mi": 1, "Gi": 1024}
    limit = resources["limits"]["memory"]
    assert int(limit[:-2]) * mebibytes[limit[-2:]] << 20 == memory_limit(name)
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}  # a throttled drain helps nobody


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_selectors_find_the_pods_they_mean(name: str) -> None:
    labels = PODS[name]["metadata"]["labels"]
    assert DEPLOYMENTS[name]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    others = [PODS[other]["metadata"]["labels"] for other in PODS if other != name]
    assert not any(DEPLOYMENTS[name]["spec"]["selector"]["matchLabels"].items() <= each.items() for each in others)


def test_services_budgets_and_policies_find_the_pods_they_mean() -> None:
    for name, service in of_kind("Service").items():
        assert service["spec"]["selector"] == DEPLOYMENTS[name]["spec"]["selector"]["matchLabels"]
        ports = {port["name"] for port in container_of(name)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for name, budget in of_kind("PodDisruptionBudget").items():
        assert budget["spec"]["selector"] == DEPLOYMENTS[name]["spec"]["selector"]
    for name, policy in of_kind("NetworkPolicy").items():
        if name == "nobody":
            assert (policy["spec"]["podSelector"], policy["spec"].get("ingress")) == ({}, None)
            continue
        assert policy["spec"]["podSelector"] == DEPLOYMENTS[name]["spec"]["selector"]
        allowed = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert allowed == {port["name"] for port in container_of(name)["ports"]}
    assert set(of_kind("PodDisruptionBudget")) == {"receiver", "worker"}


def test_a_node_can_be_drained_and_a_receiver_stays() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"]["name"] == "receiver"
    assert scaler["spec"]["minReplicas"] > of_kind("PodDisruptionBudget")["receiver"]["spec"]["minAvailable"]
    assert "replicas" not in DEPLOYMENTS["receiver"]["spec"]  # each apply would undo the scaler's
    assert of_kind("PodDisruptionBudget")["worker"]["spec"]["maxUnavailable"] == 1


def test_beat_is_one_even_while_it_is_replaced() -> None:
    assert DEPLOYMENTS["beat"]["spec"]["replicas"] == 1
    assert DEPLOYMENTS["beat"]["spec"]["strategy"] == {"type": "Recreate"}


def test_a_worker_has_the_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://postgres/attribution")
    assert PODS["worker"]["spec"]["terminationGracePeriodSeconds"] >= seconds_to_end()


def test_probes_ask_what_is_answered() -> None:
    receiver = container_of("receiver")
    paths = {receiver[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {"/healthz", "/readyz"} <= receivers_routes()
    assert receiver["livenessProbe"]["httpGet"]["path"] == "/healthz"
    variables = {each["name"]: each["value"] for each in receiver["env"]}
    assert receiver["ports"] == [{"name": "http", "containerPort": int(variables["ATTRIBUTION_PORT"])}]
    worker = container_of("worker")
    assert worker["livenessProbe"]["tcpSocket"] == {"port": "metrics"}
    (port,) = worker["ports"]
    assert port["containerPort"] == WorkerSettings.model_fields["metrics_port"].default


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_a_worker_and_beat_are_asked_as_in_compose(name: str) -> None:
    """That command is run for real by tests/acceptance/test_compose.py."""
    shell, option, command = container_of(name)["readinessProbe"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    compose = SERVICES[name]["healthcheck"]["test"][1].replace("$$", "$")
    assert command.removeprefix("exec ").replace('"', "") == compose


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_prometheus_is_led_to_ports_that_are_there(name: str) -> None:
    annotations = PODS[name]["metadata"].get("annotations", {})
    if name in ("receiver", "worker"):
        ports = {str(port["containerPort"]) for port in container_of(name)["ports"]}
        assert annotations["prometheus.io/port"] in ports


def test_the_world_is_led_to_what_it_needs_only() -> None:
    (ingress,) = of_kind("Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    paths = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert set(paths) == {"/eventgrid", "/webhooks/service/azure", "/messages"} <= receivers_routes()
    assert set(paths.values()) == {"receiver"}
    limit = re.fullmatch(r"(\d+)m", ingress["metadata"]["annotations"]["nginx.org/client-max-body-size"])
    assert limit
    assert int(limit[1]) << 20 == ReceiverSettings.model_fields["body_limit_bytes"].default


def test_workers_are_scaled_by_what_waits_on_either_stream() -> None:
    (scaled,) = of_kind("ScaledObject").values()
    (authentication,) = of_kind("TriggerAuthentication")
    assert scaled["spec"]["scaleTargetRef"]["name"] == "worker"
    assert scaled["spec"]["minReplicaCount"] == 1
    triggers = scaled["spec"]["triggers"]
    assert {trigger["metadata"]["stream"] for trigger in triggers} == {EVENTS, MESSAGES}
    for trigger in triggers:
        assert set(trigger["metadata"]) == {"enableTLS", "stream", "streamLength"}
        assert int(trigger["metadata"]["streamLength"]) == WorkerSettings.model_fields["drain_batch_entries"].default
        assert trigger["authenticationRef"]["name"] == authentication
