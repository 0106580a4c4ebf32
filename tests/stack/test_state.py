"""A folder has one owner, also while one removes it and another comes."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from stack.errors import StackBusy
from stack.state import StateFolder


def test_whoever_comes_while_a_folder_is_removed_does_not_own_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, lock = StateFolder(tmp_path / "state"), fcntl.flock

    def lock_too_late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        with state.owned():
            (state.path / "postgres").mkdir()
            state.remove()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with pytest.raises(StackBusy, match="is being removed by another process"), state.owned():
        pass
    assert not state.path.exists()
    with state.owned(), pytest.raises(StackBusy, match="already in use"), state.owned():
        pass


def test_what_a_new_owner_has_made_in_a_folder_that_is_removed_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, rmdir = StateFolder(tmp_path / "state"), Path.rmdir

    def somebody_comes(folder: Path) -> None:
        (folder / "lock").touch()
        rmdir(folder)

    monkeypatch.setattr(Path, "rmdir", somebody_comes)
    with state.owned():
        state.remove()
    assert (state.path / "lock").exists()
