"""What is asked unclearly is one sentence, and what strangers wrote steers no terminal."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import Engine

from tests.cli.why.asking import row_of, why
from tests.db.listmonk.acts import track, view
from tests.db.listmonk.counts import record
from tests.db.rows import click, report


def test_what_would_steer_a_terminal_is_printed_nowhere(engine: Engine) -> None:
    steering = "\x1b]0;x\x07\n\x9b31m\u2028\u202e"
    track(engine)
    record(
        engine,
        click(f"c{steering}", engagement_context=f"https://www.example.com/{steering}"),
        view(f"v{steering}", engagement_type=f"hover{steering}", uncounted="unknown_type"),
        report("d", status=f"Odd{steering}", recipient_domain=f"example.net{steering}"),
    )
    row = row_of(engine, f"c{steering}")
    for asked in (f"engagement:{row}", f"engagement:{row + 1}", "delivery:1", "campaign:7", "subscriber:12"):
        for output_format in ("text", "json"):
            shown = why(asked, "--format", output_format).stdout
            assert "\N{REPLACEMENT CHARACTER}" in shown or output_format == "json"
            assert not set(steering) - {"\n", *"]0;x31m"} & set(shown), asked
    events = json.loads(why(f"engagement:{row}", "--format", "json").stdout)["events"]
    assert events[0]["event_id"] == f"c{steering}", "JSON has it exactly"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["7"], 2, "A bare number may be anything. Say what it is: --event, --message, --campaign or --subscriber."),
        ([], 2, "Say what it is: --event, --message, --campaign or --subscriber, or give one EVENT-ID or MESSAGE-ID."),
        ([""], 2, "An empty id names nothing."),
        (["--event", " "], 2, "An empty id names nothing."),
        (["event:"], 2, "An empty id names nothing."),
        (["<>"], 1, "No event or message with this id is known"),
        (["e", "--campaign", "7"], 2, "Say what it is"),
        (["campaign:seven"], 2, "A campaign is named by its number, such as campaign:7."),
        (["--message", "two words"], 2, "That is no Message-ID"),
        (["campaign:98"], 1, "Nothing is known of campaign 98"),
        (["subscriber:98"], 1, "No event of subscriber 98 is known."),
        (["nowhere"], 1, "No event or message with this id is known"),
        (["<nowhere@example.com>"], 1, "No event or message with this id is known"),
        (["--event", "7"], 1, "No event with this id is known"),
    ],
)
def test_what_is_unclear_or_unknown_is_one_sentence(
    engine: Engine, arguments: list[str], code: int, sentence: str
) -> None:
    result = why(*arguments)
    assert result.exit_code == code
    assert sentence in result.output.replace("\n", " ")
    assert "Traceback" not in result.output
