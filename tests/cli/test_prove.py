"""`attribution prove`: what it refuses, and what it does to an installation of somebody's own."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from proof.catalogue import FAULTS
from proof.sabotage import SABOTAGES


def prove(*options: str) -> Result:
    return CliRunner().invoke(main, ["prove", *options])


def test_it_lists_every_fault_with_its_targets_and_every_way_to_break_a_build() -> None:
    shown = prove("--list").output
    for kind, fault in FAULTS.items():
        assert kind in shown
        assert all(target in shown for target in fault.targets)
    for name, sabotage in SABOTAGES.items():
        assert f"{name}: {sabotage.SENTENCE}" in shown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--only", "earthquake"], "There is no fault 'earthquake'; --list names them all."),
        (["--sabotage", "rust"], "There is no way to break a build named 'rust'; --list names them all."),
        (["--target", "http://127.0.0.1:1/eventgrid"], "--target and --database go together"),
        (["--database", "postgresql://127.0.0.1/x"], "--target and --database go together"),
    ],
)
def test_what_it_cannot_do_it_says_before_anything_is_started(
    options: list[str], sentence: str, tmp_path: Path
) -> None:
    result = prove(*options, "--state-dir", str(tmp_path / "state"))
    assert result.exit_code == 2
    assert sentence in result.output
    assert not (tmp_path / "state").exists()


def test_a_history_that_is_none_is_refused(tmp_path: Path) -> None:
    result = prove("--replay", str(tmp_path / "nothing.jsonl"))
    assert result.exit_code == 1
    assert "cannot be read: No such file or directory." in result.output


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    result = prove("--state-dir", str(tmp_path), "--events", "10", "--only", "cut")
    assert result.exit_code == 1
    assert "holds something else than a proof left there" in result.output
    assert (tmp_path / "precious").exists()


def test_in_listmonks_database_it_asks_for_a_campaign(listmonk_database_url: str, tmp_path: Path) -> None:
    result = prove(
        "--target", "http://127.0.0.1:1/eventgrid", "--database", listmonk_database_url, "--state-dir", str(tmp_path)
    )
    assert result.exit_code == 1
    assert "name it with --campaign" in result.output


def test_a_target_that_is_not_there_is_named_without_its_secret(database_url: str, tmp_path: Path) -> None:
    result = prove(
        "--target", "http://127.0.0.1:1/eventgrid", "--database", database_url, "--state-dir", str(tmp_path / "prove"),
        "--secret", "a-secret-of-the-test", "--events", "10",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "the receiver could not be reached" in result.output
    assert "a-secret-of-the-test" not in result.output
    assert urlsplit(database_url).path[1:] not in result.output
    assert not (tmp_path / "prove").exists(), "the folder of a world is for worlds"
    (ledger,) = tmp_path.glob("prove-history/*.truth.jsonl")
    assert ledger.read_text() == ""
    (written,) = {*tmp_path.glob("prove-history/*.jsonl")} - {ledger}
    assert [json.loads(line)["type"] for line in written.read_text().splitlines()] == ["options", "stopped"]
    assert "a-secret-of-the-test" not in written.read_text()
