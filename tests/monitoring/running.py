"""A real Prometheus beside the running system, with the rules as they are shipped, only in a hurry."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from celery import Celery

from tests.acceptance.programs import free_port
from tests.monitoring.expressions import RULES
from tests.monitoring.prometheus_binary import Binaries
from tests.pages import ROOT
from tests.waiting import eventually
from worker.queues import MAINTENANCE

#: What Grafana would put for its variable, and what times in the rules become: more than the 15 s between two measures.
WINDOW: Final = "30s"
#: Ages by which a rule judges that something has stopped. Each stands in some rule, or the test is out of date.
AGES: Final = {"> 120": "> 25", "< 120": "< 25"}


def hurried(rules: str) -> str:
    """Return rules whose times are seconds: what they ask, and what they compare, is left as it is."""
    rules = re.sub(r"\bfor: [1-9]\d*[mh]", "for: 1s", rules)
    rules = re.sub(r"\[\d+[mhd]\]", f"[{WINDOW}]", rules)
    rules = re.sub(r"\boffset \d+[mh]", "offset 5s", rules)
    for age, shorter in AGES.items():
        rules = rules.replace(age, shorter)
    return rules


@dataclass(frozen=True)
class Prometheus:
    """Where it answers."""

    url: str

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression is now: each series with its labels and its value."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """Return the value of an expression that has one."""
        found = self.ask(expression)
        assert len(found) == 1, (expression, found)
        return float(found[0]["value"][1])

    def firing(self) -> dict[str, str]:
        """Return the alerts that fire, each with what it says."""
        answer = httpx.get(f"{self.url}/api/v1/alerts", timeout=10).json()
        return {
            alert["labels"]["alertname"]: alert["annotations"]["description"]
            for alert in answer["data"]["alerts"]
            if alert["state"] == "firing"
        }

    def require_firing(self, *alerts: str) -> dict[str, str]:
        """Assert that these fire, and return what each that fires says. Names are without our prefix."""
        found = self.firing()
        assert {f"Attribution{alert}" for alert in alerts} <= set(found), sorted(found)
        return found

    def require_silent(self, *alerts: str) -> None:
        """Assert that these do not fire; with none named, that none does."""
        found = {alert.removeprefix("Attribution") for alert in self.firing()}
        assert not (found & set(alerts) if alerts else found), sorted(found)


@contextmanager
def prometheus(
    binaries: Binaries, folder: Path, *, receivers: Sequence[int], workers: Sequence[int]
) -> Iterator[Prometheus]:
    """Run it until the end, asking the ports of ``receivers`` and ``workers`` each second."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_configuration(folder, port, {"receiver": receivers, "worker": workers})))
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                binaries.prometheus,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    running = Prometheus(f"http://127.0.0.1:{port}")

    def is_ready() -> None:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            assert httpx.get(f"{running.url}/-/ready").status_code == 200, log.read_text()[-2000:]
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error

    try:
        eventually(is_ready, within=30, every=0.1)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _configuration(folder: Path, port: int, ports: dict[str, Sequence[int]]) -> dict[str, Any]:
    """Return the shipped configuration, with targets on this machine, and its rules written beside it."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    loaded["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    for job in loaded["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        targets = [f"127.0.0.1:{target}" for target in ports.get(job["job_name"], [port])]
        job["static_configs"] = [{"targets": targets}]
    (folder / "rules").mkdir()
    for path in RULES.glob("*.yml"):
        (folder / "rules" / path.name).write_text(hurried(path.read_text()))
    return loaded


def have_measured(running: Prometheus, broker_url: str, expression: str) -> None:
    """Have the gauges measured now, and not at beat's next tick, and see what became of it."""
    Celery(broker=broker_url).send_task("measure", queue=MAINTENANCE)
    assert running.ask(expression), expression
