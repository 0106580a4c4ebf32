"""What is kept of a run: enough to play it again, even if it was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proof.history import HistoryUnreadable, Judged, Options, Struck, history, read_options

OPTIONS = Options(seed=7, events=100, faults=None, kinds=("killed",), sabotage="no-unique-key")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_history_holds_what_it_takes_to_play_the_run_again(tmp_path: Path) -> None:
    with history(tmp_path, OPTIONS) as written:
        written.add(Struck(1, "killed", "Redis", at=1.5, lasted=0.2, recovery=2.0, detail="down"))
        written.add(Judged(sent=1, acknowledged=1, lost=(), twice=(), wrong=("event e1 waits",), given_up=0))
    assert read_options(written.path) == OPTIONS
    assert [line["type"] for line in lines(written.path)] == ["options", "struck", "judged"]


def test_a_run_that_is_cut_off_leaves_its_history_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), history(tmp_path, OPTIONS) as written:
        raise KeyboardInterrupt
    assert read_options(written.path) == OPTIONS
    assert lines(written.path)[-1] == {"type": "stopped", "reason": "KeyboardInterrupt: "}


@pytest.mark.parametrize("content", [b"", b"not JSON\n", b'{"type": "stopped", "reason": ""}\n', b'{"type": "sent"}\n'])
def test_a_file_that_is_no_history_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(content)
    with pytest.raises(HistoryUnreadable, match=r"is not the history of a run\. Name a file"):
        read_options(path)


def test_a_file_that_is_not_there_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HistoryUnreadable, match=r"cannot be read: No such file"):
        read_options(tmp_path / "nowhere.jsonl")
