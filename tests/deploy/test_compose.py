"""docker-compose.yml and what belongs to it, checked without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from cli.main import COMMANDS
from tests.conftest import MakeRedis
from tests.deploy.compose import (
    COMPOSE,
    MOUNTED,
    OPTIONAL,
    OTHERS,
    OURS,
    ROOT,
    SERVICES,
    memory_limit,
    mounts,
    redis_flags,
    size,
    strings,
)
from tests.deploy.expected import seconds_to_end, settings_of
from worker.errors import RedisUnsafe
from worker.redis_checks import check_redis, require_safe_redis
from worker.settings import WorkerSettings

#: Names of variables whose value opens something.
SECRET = re.compile(r"PASSWORD|SECRET|AUTH(?!_MODE)|_URL|KEY|DSN|TOKEN")

#: What the images of others read of the environment, each from its image's documentation.
KNOWN = {
    "postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"},
    "grafana": {
        "GF_SECURITY_ADMIN_USER",
        "GF_SECURITY_ADMIN_PASSWORD__FILE",
        "GF_USERS_ALLOW_SIGN_UP",
        "GF_ANALYTICS_REPORTING_ENABLED",
        "GF_ANALYTICS_CHECK_FOR_UPDATES",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "GF_PLUGINS_PREINSTALL_DISABLED",
    },
}


def test_it_is_the_whole_system() -> None:
    assert set(OURS) == {"migrate", "receiver", "worker", "beat", "flower"}
    assert set(OTHERS) == {"postgres", "redis", "prometheus", "grafana"}


def test_it_is_a_compose_file() -> None:
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            ROOT / "docker-compose.yml",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_watched_or_runs_once(name: str) -> None:
    service = SERVICES[name]
    if name == "migrate":
        assert service["restart"] == "no"
        return
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", OURS)
def test_each_command_of_ours_exists(name: str) -> None:
    assert SERVICES[name]["command"][0] == name
    assert name in COMMANDS


@pytest.mark.parametrize("name", SERVICES)
def test_each_variable_exists_and_its_service_reads_it(name: str) -> None:
    known = settings_of(name) if name in OURS else KNOWN.get(name, set())
    assert set(SERVICES[name].get("environment", {})) <= known


@pytest.mark.parametrize("name", OURS)
def test_each_secret_is_a_setting_that_its_service_reads(name: str) -> None:
    assert {secret.upper() for secret in SERVICES[name]["secrets"]} <= settings_of(name)


def test_only_who_needs_a_secret_has_it() -> None:
    holders = {
        secret: {name for name, each in SERVICES.items() if secret in each.get("secrets", [])}
        for secret in COMPOSE["secrets"]
    }
    runtime = {"worker", "beat", "flower"}
    assert holders == {
        "postgres_password": {"postgres"},
        "redis.conf": {"redis"},
        "redis_password": {"redis"},
        "attribution_database_url": {"migrate", *runtime},
        "attribution_redis_url": {"receiver", *runtime},
        "attribution_event_secrets": {"receiver"},
        "attribution_message_secrets": {"receiver"},
        "attribution_recipient_key": {"worker"},
        "attribution_flower_auth": {"flower"},
        "attribution_sentry_dsn": {"receiver", "worker", "beat"},
        "grafana_password": {"grafana"},
    }


def test_secrets_are_files_and_stand_nowhere_else() -> None:
    """With read-only roots Compose refuses secrets from the environment: docker/compose, pull request 12531."""
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert re.fullmatch(rf"{MOUNTED}/\w+", value), f"{name}: {variable}"
                assert value.removeprefix(f"{MOUNTED}/") in service["secrets"]


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_that_a_service_reads_are_mounted_into_it(name: str) -> None:
    read = re.findall(rf"{MOUNTED}/([\w.]+)", " ".join(strings(SERVICES[name])))
    assert set(read) <= set(SERVICES[name].get("secrets", []))


def made_secrets(folder: Path) -> dict[str, str]:
    subprocess.run(["sh", ROOT / "deploy" / "make-secrets.sh", folder], check=True, capture_output=True)
    return {file.name: file.read_text().strip() for file in folder.iterdir()}


def test_secrets_are_made_once_at_random_and_each_that_is_mounted(tmp_path: Path) -> None:
    made = made_secrets(tmp_path / "secrets")
    assert {f"./secrets/{name}" for name in made} == {secret["file"] for secret in COMPOSE["secrets"].values()}
    assert made_secrets(tmp_path / "secrets") == made
    others = made_secrets(tmp_path / "others")
    assert [name for name in made if not made[name]] == ["attribution_sentry_dsn"]  # which nobody can make
    assert set(made.values()) & set(others.values()) == {""}
    (tmp_path / "secrets" / "attribution_event_secrets").unlink()
    anew = made_secrets(tmp_path / "secrets")
    assert anew.pop("attribution_event_secrets") != made.pop("attribution_event_secrets")
    assert anew == made


def test_nobody_else_on_the_machine_reads_them_and_every_container_does(tmp_path: Path) -> None:
    made_secrets(tmp_path / "secrets")
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o444}


def test_they_are_not_committed() -> None:
    assert {".env", "/secrets/"} <= set((ROOT / ".gitignore").read_text().splitlines())


def test_what_may_be_chosen_stands_in_the_example_with_its_default() -> None:
    assert not re.search(r"\$\{\w+(?!:-)\W", (ROOT / "docker-compose.yml").read_text())
    optional = {name: default for value in strings(COMPOSE) for name, default in OPTIONAL.findall(value)}
    example = (ROOT / ".env.example").read_text()
    lines = [line for line in example.splitlines() if line and not line.startswith("# ")]
    assert sorted(lines) == sorted(f"#{name}={default}" for name, default in optional.items())
    assert not any(SECRET.search(name) for name in optional)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.match(r"v?\d+\.\d+", tag), f"{image} has no full version"
    if name in OURS:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert (image, tag) == (project["name"], project["version"])


def test_data_are_in_named_volumes() -> None:
    kept = {name: target for name in SERVICES for target, source in mounts(name).items() if "/" not in source}
    # PostgreSQL's image keeps its data one level higher since 18. Mounted lower, they would not survive the container.
    assert kept == {
        "postgres": "/var/lib/postgresql",
        "redis": "/data",
        "prometheus": "/prometheus",
        "grafana": "/var/lib/grafana",
    }
    assert set(COMPOSE["volumes"]) == set(kept)
    assert SERVICES["postgres"]["image"].startswith("postgres:18.")


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_that_is_mounted_is_there_and_cannot_be_written(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        if mount.startswith("."):
            source, _, mode = mount.split(":")
            assert (ROOT / source).is_dir()
            assert mode == "ro"


def test_nothing_is_published_beyond_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"receiver", "flower", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_who_has_no_business_with_the_data_cannot_reach_it() -> None:
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    reach = {name for name, service in SERVICES.items() if "stores" in service.get("networks", ["default"])}
    assert reach == {"postgres", "redis", *OURS}
    assert all(SERVICES[name]["networks"] == ["stores"] for name in ("postgres", "redis"))


def test_nothing_starts_before_what_it_needs() -> None:
    def needs(name: str) -> dict[str, str]:
        return {on: needed["condition"] for on, needed in SERVICES[name].get("depends_on", {}).items()}

    assert needs("migrate") == {"postgres": "service_healthy"}
    assert needs("receiver") == {"redis": "service_healthy"}
    for name in ("worker", "beat", "flower"):
        assert needs(name) == {"migrate": "service_completed_successfully", "redis": "service_healthy"}
    assert needs("prometheus") == {}
    for service in SERVICES.values():
        for on, needed in service.get("depends_on", {}).items():
            assert needed["condition"] != "service_healthy" or "healthcheck" in SERVICES[on]


@pytest.mark.parametrize("name", SERVICES)
def test_containers_can_do_no_more_than_they_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name in OTHERS:  # ours is in the Dockerfile
        user, _, group = service["user"].partition(":")
        assert int(user) > 0
        assert group.isdigit()


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_can_take_all_of_the_machine(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert memory_limit(name) >= 512 * 1024**2
    assert 50 <= limits["pids"] <= 300
    assert SERVICES[name]["logging"]["options"] == {"max-size": "10m", "max-file": "5"}


def test_redis_is_not_killed_before_it_is_full() -> None:
    assert memory_limit("redis") >= 2 * size(redis_flags()["maxmemory"])


def test_a_worker_has_the_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://postgres/attribution")
    minutes, unit = re.fullmatch(r"(\d+)(m)", SERVICES["worker"]["stop_grace_period"]).groups()  # type: ignore[union-attr]
    assert unit == "m"
    assert int(minutes) * 60 >= seconds_to_end()


def test_redis_is_one_that_the_receiver_accepts() -> None:
    check_redis(redis_flags())


@pytest.mark.parametrize("flag", ["appendonly", "appendfsync", "maxmemory-policy"])
def test_the_check_would_notice(flag: str) -> None:
    with pytest.raises(RedisUnsafe, match=flag):
        check_redis(redis_flags() | {flag: "other"})


def test_a_server_takes_those_flags(private_redis: MakeRedis) -> None:
    flags = redis_flags()
    server = private_redis(**flags | {"save": f'"{flags["save"]}"'})
    require_safe_redis(server.url)
    with redis.Redis.from_url(server.url, protocol=2) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(1024**3)}


def test_prometheus_asks_what_answers_and_finds_all_of_them() -> None:
    jobs = {job["job_name"]: job for job in prometheus()["scrape_configs"]}
    assert set(jobs) == {"receiver", "worker", "prometheus"}
    (receiver,) = jobs["receiver"]["dns_sd_configs"]
    assert (receiver["names"], receiver["port"]) == (
        ["receiver"],
        SERVICES["receiver"]["environment"]["ATTRIBUTION_PORT"],
    )
    (worker,) = jobs["worker"]["dns_sd_configs"]
    assert (worker["names"], worker["type"]) == (["worker"], "A")
    assert worker["port"] == WorkerSettings.model_fields["metrics_port"].default
    assert SERVICES["worker"]["environment"]["ATTRIBUTION_METRICS_HOST"] == "0.0.0.0"  # noqa: S104
    for name in ("receiver", "worker"):
        assert "default" in SERVICES[name]["networks"]


def prometheus() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    return loaded


def test_grafana_finds_prometheus_and_its_dashboards() -> None:
    (source,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    # Of it Grafana makes $__rate_interval: with a shorter one rates would have gaps.
    assert source["jsonData"]["timeInterval"] == prometheus()["global"]["scrape_interval"]
    (provider,) = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/attribution.yml").read_text())[
        "providers"
    ]
    assert provider["options"]["path"] in mounts("grafana")
