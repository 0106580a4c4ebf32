"""The dashboard that is the runbook: docs/runbook.md, a panel for each section, so that links lead there everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from deploy.grafana.panels import Dashboard, Panel, Row

PAGE: Final = Path(__file__).parents[2] / "docs/runbook.md"
UID: Final = "attribution-runbook"

_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def sections() -> dict[str, str]:
    """Return what stands in each section of the page, by its heading; what stands before the first is under ``""``."""
    _, *parts = re.split(r"^#{1,2} (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (_, before), *others = zip(parts[::2], parts[1::2], strict=True)
    return {"": _without_links(before)} | {heading: _without_links(text) for heading, text in others}


def _without_links(text: str) -> str:
    """Name the pages that are linked to: relative links lead nowhere in Grafana. Those within the page are words."""

    def name(link: re.Match[str]) -> str:
        words, target = link.groups()
        page = target.partition("#")[0]
        return words if not page or page == words else f"{words} (docs/{page})"

    return _LINK.sub(name, text).strip()


def runbook() -> Dashboard:
    """Return the dashboard."""
    before, *alerts = [
        Panel(heading or "What to do when an alert fires", text, "none", [], "text", width=0 if heading else 24)
        for heading, text in sections().items()
    ]
    return Dashboard(
        UID,
        "Attribution: runbook",
        "What each alert means, what to look at first, its causes with their cures, and how it ends."
        " It is docs/runbook.md.",
        [Row("First of all", [before]), Row("Alerts", alerts)],
        refresh="",
    )


def links() -> dict[str, str]:
    """Return where in Grafana the section of each alert is."""
    placed = runbook().json({})["panels"]
    return {
        panel["title"]: f"/d/{UID}?viewPanel={panel['id']}"
        for panel in placed
        if panel["type"] == "text" and panel["title"].startswith("Attribution")
    }
