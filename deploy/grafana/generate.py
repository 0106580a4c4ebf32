"""``python -m deploy.grafana.generate`` writes the dashboards, each into a file that Grafana reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from deploy.grafana.campaigns import CAMPAIGNS
from deploy.grafana.matching import MATCHING
from deploy.grafana.overview import OVERVIEW
from deploy.grafana.panels import Dashboard
from deploy.grafana.park import PARK
from deploy.grafana.pipeline import PIPELINE
from deploy.grafana.runbook import links, runbook

FOLDER: Final = Path(__file__).parent / "dashboards"


def dashboards() -> list[Dashboard]:
    """Return all of them."""
    return [OVERVIEW, MATCHING, PARK, PIPELINE, CAMPAIGNS, runbook()]


def files() -> dict[str, str]:
    """Return the name and the contents of each file."""
    where = links()
    return {
        f"{dashboard.uid}.json": json.dumps(dashboard.json(where), indent=1, ensure_ascii=False) + "\n"
        for dashboard in dashboards()
    }


def main() -> None:
    """Write them, and remove those that are no more."""
    wanted = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
