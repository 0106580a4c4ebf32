"""What the demo shows at its end: the figures of each campaign, and what was repaired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from simulator.accident import NEW, OLD, Accident
from simulator.campaigns import Figures, InListmonk
from simulator.past import ACCIDENT_NAMES
from simulator.repair_oracle import provable_events
from simulator.story import CANCELLED, NAMES, RUNNING
from simulator.verdict import Fault

#: What looks into a database.
FURTHER = ("stats", "why", "parked", "accuracy", "repair --dry-run")
#: Faults of a repair that are listed one by one.
_LISTED = 10


def campaign_table(figures: Mapping[int, Figures]) -> RenderableType:
    """Return the figures of each campaign, as a table."""
    table = Table(title="Campaigns", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("Campaign", no_wrap=True)
    for name in ("sent", "delivered", "failed", "opens", "clicks", "parked", "with ID"):
        table.add_column(name, justify="right")
    for campaign_id, name in NAMES.items():
        of = figures[campaign_id]
        counts = (of.sent, of.delivered, of.other_reports, of.opens, of.clicks, of.parked)
        table.add_row(name, *(f"{count:,}" for count in counts), f"{of.population_rate:.1%}")
    table.caption = "with ID: the share of its events that carry a Message-ID"
    table.caption_justify = "left"
    return table


def suppressed_line(figures: Mapping[int, Figures]) -> Text:
    """Say why some events of a tracked campaign stay parked."""
    return Text(
        f"The {figures[RUNNING].parked:,} parked reports of the newsletter are of suppressed mails. Azure names them"
        " only by its own id, which a mailer on SMTP never learns; no other report ties it to the Message-ID.",
        style="dim",
    )


def replaced_rule_line(wrong: Mapping[tuple[int, int], int]) -> Text:
    """Say what crediting the newest campaign for the reader's address would have done."""
    count = sum(wrong.values())
    sentence = (
        f"Crediting the newest campaign for each address, as the replaced system did, would have put {count:,} opens"
    )
    return Text(f"{sentence} and clicks of the cancelled campaign down to the running one.", style="yellow")


def listmonk_table(campaigns: Mapping[int, InListmonk]) -> RenderableType:
    """Return what listmonk's own tables hold of each campaign, and who has counted it, as a table."""
    table = Table(title="The same in listmonk's tables", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("Campaign", no_wrap=True)
    for name in ("views", "clicks", "bounces", "seen by both"):
        table.add_column(name, justify="right")
    for campaign_id in (CANCELLED, RUNNING):
        of = campaigns.get(campaign_id, InListmonk())
        table.add_row(
            NAMES[campaign_id],
            _sum(of.native_views, of.our_views),
            _sum(of.native_clicks, of.our_clicks),
            f"{of.bounces:,}",
            f"{of.seen_by_both:,}",
        )
    table.caption = "listmonk's own + ours = all; seen by both, it and Azure: counted once"
    table.caption_justify = "left"
    return table


def _sum(native: int, ours: int) -> str:
    return f"{native:,} + {ours:,} = {native + ours:,}"


def repair_intro() -> Text:
    """Say what there is to repair, and by which command."""
    return Text.assemble(
        f"Long ago the replaced system credited events of campaign {NEW}, {ACCIDENT_NAMES[NEW]}, to campaign {OLD},"
        f" {ACCIDENT_NAMES[OLD]}.\n",
        ("$ attribution backfill", "bold"),
    )


def repair_output(printed: str) -> Text:
    """Return what the backfill printed, from its table of campaigns on: what it learnt for that is its own story."""
    lines = printed.rstrip().splitlines()
    begins = next((number for number, line in enumerate(lines) if line.startswith("campaign ")), 0)
    return Text("\n".join(lines[begins:]))


def repair_line(accident: Accident, faults: Sequence[Fault]) -> Text:
    """Say whether the repair has put everything where it belongs; if not, what is off."""
    if not faults:
        return Text(
            f"Repaired: each of {provable_events(accident):,} events that can be proven is on its true campaign, and so"
            " is every row in listmonk's tables that can be.",
            style="bold green",
        )
    listed = "".join(f"\n  {fault.subject} {fault.sentence}" for fault in faults[:_LISTED])
    return Text(f"Not repaired: {len(faults):,} things are off.{listed}", style="bold red")


def further_line() -> Text:
    """Say how to look further. Nothing of the demo is left by then."""
    return Text.assemble(
        ("attribution up", "bold"),
        " runs all of it until Ctrl-C, on a database that stays. To look into that: ",
        (", ".join(f"attribution {command}" for command in FURTHER), "bold"),
        ".",
        style="dim",
    )
