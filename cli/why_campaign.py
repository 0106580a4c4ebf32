"""How a campaign's numbers are made up: each number of `campaign_stats`, and the parts that add up to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.formats import printable
from cli.why_words import KEYS, RULES, door
from db.explaining import CampaignFacts, Facts

#: Rules under which an act of a campaign is no open and no click of it. (Native rows count theirs; that is one.)
_NO_ACT = {rule for rule in RULES if rule not in ("native", "unsubscribe_link")}


class Number(NamedTuple):
    """A number and its parts, which add up to it: in one way, or in several (by key, and by where it is counted)."""

    name: str
    total: int
    parts: dict[str, int]


def numbers(facts: CampaignFacts) -> list[Number]:
    """Return the numbers of a campaign. Those of one name have one total."""
    return [*_sent(facts), *_reports(facts), *_acts(facts, "view", "opens"), *_acts(facts, "click", "clicks"),
            *_left_out(facts), *_parked(facts), *_rows(facts)]  # fmt: skip


def _sent(facts: CampaignFacts) -> Iterator[Number]:
    total = sum(row["messages"] for row in facts.sent)
    yield Number("sent", total, {door(row["tracked_via"]): row["messages"] for row in facts.sent})
    identified = sum(row["identified"] for row in facts.sent)
    yield Number("sent", total, {"Message-ID known": identified, "Message-ID not known": total - identified})


def _reports(facts: CampaignFacts) -> Iterator[Number]:
    def kind(row: Facts) -> str:
        return (
            f"bounced_{row['bounce_type']}"
            if row["bounce_type"]
            else "delivered"
            if row["status"] == "Delivered"
            else ""
        )

    for name in ("delivered", "bounced_hard", "bounced_soft", "bounced_complaint", ""):
        rows = [row for row in facts.reports if kind(row) == name]
        if not rows and not name:
            continue
        label = name or "other reports"
        if name.startswith("bounced"):
            yield _number(label, rows, lambda row: row["status"])
            if facts.bounces is not None:
                yield _number(
                    label, rows, lambda row: "with a row in bounces" if row["has_row"] else "without a row in bounces"
                )
        elif not name:
            yield _number(label, rows, lambda row: f"{row['status']}, which is no bounce")
        yield _number(label, rows, _key)


def _acts(facts: CampaignFacts, act: str, name: str) -> Iterator[Number]:
    rows = [row for row in facts.acts if row["engagement_type"] == act and row["uncounted"] in (None, "native")]
    yield _number(name, rows, _key)
    yield _number(name, rows, _where)


def _left_out(facts: CampaignFacts) -> Iterator[Number]:
    rows = [row for row in facts.acts if row["uncounted"] == "unsubscribe_link"]
    if rows:
        yield _number("unsubscribe_clicks", rows, lambda _: RULES["unsubscribe_link"])
    rows = [row for row in facts.acts if row["uncounted"] in _NO_ACT or _is_no_act(row)]
    if rows:
        yield _number("not counted", rows, lambda row: RULES.get(row["uncounted"], RULES["unknown_type"]))


def _is_no_act(row: Facts) -> bool:
    return row["engagement_type"] not in ("view", "click") and row["uncounted"] != "unsubscribe_link"


def _parked(facts: CampaignFacts) -> Iterator[Number]:
    acts, reports = (sum(row["parked_before"] for row in rows) for rows in (facts.acts, facts.reports))
    yield Number("parked", acts + reports, {"opens and clicks": acts, "delivery reports": reports})


def _rows(facts: CampaignFacts) -> Iterator[Number]:
    """Count listmonk's own rows, which its screens add up."""
    for table, rows in (("campaign_views", facts.views), ("link_clicks", facts.clicks)):
        if rows is not None:
            yield Number(
                f"rows of {table}",
                rows["rows"],
                {
                    "written for an event of ours": rows["own"],
                    "written for an event that is no longer of this campaign": rows["own_without_event"],
                    "native, and the same act as an event of ours": rows["native_counting_ours"],
                    "native, seen by listmonk alone": rows["native_alone"],
                },
            )
    if facts.bounces is not None:
        parts = {"written for a delivery report": facts.bounces["own"], "from elsewhere": facts.bounces["others"]}
        yield Number("rows of bounces", sum(parts.values()), parts)


def _number(name: str, rows: Sequence[Facts], part: Callable[[Facts], str]) -> Number:
    parts: Counter[str] = Counter()
    for row in rows:
        parts[part(row)] += row["events"]
    return Number(name, sum(parts.values()), dict(parts))


def _key(row: Facts) -> str:
    return f"by {KEYS.get(row['matched_by'], row['matched_by'])}"


def _where(row: Facts) -> str:
    table = "campaign_views" if row["engagement_type"] == "view" else "link_clicks"
    if row["uncounted"] == "native":
        return f"in native rows of {table}"
    if row["has_row"] is None:
        return "counted in campaign_stats"
    return f"in rows of ours in {table}" if row["has_row"] else f"without a row in {table}"


def campaign_document(facts: CampaignFacts) -> dict[str, Any]:
    """Return a campaign's facts as JSON has them."""
    return {
        "stats": facts.stats,
        "sent": facts.sent,
        "reports": facts.reports,
        "acts": facts.acts,
        "views": facts.views,
        "clicks": facts.clicks,
        "bounces": facts.bounces,
        "incidents": facts.incidents,
        "repairs": facts.repairs,
        "numbers": [each._asdict() for each in numbers(facts)],
    }


def show_campaign(console: Console, facts: CampaignFacts) -> None:
    """Print the numbers of a campaign, each with its parts."""
    console.print(Text(f"Campaign {facts.stats['campaign_id']}", style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    shown = ""
    for name, total, parts in numbers(facts):
        made_up = " + ".join(f"{count:,} {part}" for part, count in parts.items() if count)
        first = name != shown
        # A part may be a status, which is a stranger's text.
        made_up = f"= {printable(made_up)}" if made_up else ""
        table.add_row(name if first else "", f"{total:,}" if first else "", made_up)
        shown = name
    console.print(table)
    _show_people(console, facts.stats)
    for kind, count in facts.incidents.items():
        console.print(Text(f"{count:,} incidents: {kind}; see `attribution incidents --kind {kind}`", style="yellow"))
    for repair in facts.repairs:
        undone = " (undone since)" if repair["undone"] else ""
        console.print(
            Text(
                f"{repair['run_kind']} run {repair['run_id']}: +{repair['brought']:,} -{repair['taken']:,} rows of"
                f" {repair['table_name']}{undone}",
                style="yellow",
            )
        )


def _show_people(console: Console, stats: Mapping[str, Any]) -> None:
    if "unique_opens" in stats:
        console.print(
            f"Of {stats['unique_opens']:,} people who opened and {stats['unique_clicks']:,} who clicked; each counts"
            " once, by subscriber, or by message where the subscriber is not known."
        )
