"""Settings from files: what is read, what wins, and that no file is passed over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from worker import secret_files
from worker.errors import SettingsInvalid
from worker.secret_files import FOLDER, read_secret, secrets_folder
from worker.settings import ReceiverSettings, WorkerSettings

SECRET = "a-secret-for-the-tests"
DATABASE = "postgresql://user:hunter2@db.example.com/attribution"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def test_a_file_is_a_setting_without_the_newline_that_an_editor_leaves(folder: Path) -> None:
    (folder / "attribution_database_url").write_text(f"{DATABASE}\n")
    assert WorkerSettings.read().database_url.get_secret_value() == DATABASE


def test_a_file_may_have_the_variables_name_as_it_is_written(folder: Path) -> None:
    (folder / "ATTRIBUTION_DATABASE_URL").write_text(DATABASE)
    assert WorkerSettings.read().database_url.get_secret_value() == DATABASE


def test_secrets_of_a_list_may_stand_one_on_a_line(folder: Path) -> None:
    (folder / "attribution_event_secrets").write_text(f"{SECRET}-new\n{SECRET}-old\n")
    assert [each.get_secret_value() for each in ReceiverSettings.read().event_secrets] == [
        f"{SECRET}-new",
        f"{SECRET}-old",
    ]


def test_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "attribution_database_url").write_text(DATABASE)
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", f"{DATABASE}_2")
    assert WorkerSettings.read().database_url.get_secret_value() == f"{DATABASE}_2"


def test_files_as_kubernetes_mounts_them_are_read(folder: Path) -> None:
    """Each key is a link through ``..data`` to the folder of this version, so that all keys change at once."""
    version = folder / "..2026_11_22_10_00_00.1"
    version.mkdir()
    (version / "attribution_database_url").write_text(DATABASE)
    (folder / "..data").symlink_to(version.name)
    (folder / "attribution_database_url").symlink_to("..data/attribution_database_url")
    assert WorkerSettings.read().database_url.get_secret_value() == DATABASE


def test_other_files_do_no_harm(folder: Path) -> None:
    (folder / "attribution_database_url").write_text(DATABASE)
    (folder / "kubernetes.io").mkdir()
    (folder / "somebody_elses").write_bytes(b"\xff")
    WorkerSettings.read()


def test_what_a_file_says_is_judged_as_in_the_environment_and_not_repeated(folder: Path) -> None:
    (folder / "attribution_event_secrets").write_text("hunter2")
    with pytest.raises(SettingsInvalid, match="ATTRIBUTION_EVENT_SECRETS: a secret is shorter") as refused:
        ReceiverSettings.read()
    assert "hunter2" not in str(refused.value)


def test_a_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "none"))
    with pytest.raises(SettingsInvalid, match=r"ATTRIBUTION_SECRETS_DIR names .*/none, which is no folder"):
        WorkerSettings.read()


@pytest.mark.parametrize("how", ["a folder", "a link out of the folder", "not UTF-8", "a loop of links"])
def test_a_file_that_cannot_be_read_is_not_passed_over(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, how: str
) -> None:
    file = folder / "attribution_message_secrets"  # it has a default, which must not step in
    (folder / "attribution_event_secrets").write_text(SECRET)
    if how == "a folder":
        file.mkdir()
    elif how == "not UTF-8":
        file.write_bytes(b"\xff\xfe" + SECRET.encode())
    elif how == "a loop of links":
        file.symlink_to(file.name)
    else:
        elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret"
        elsewhere.write_text(SECRET)
        file.symlink_to(elsewhere)
    with pytest.raises(SettingsInvalid, match="The settings cannot be used: ") as refused:
        ReceiverSettings.read()
    assert SECRET not in str(refused.value)


def test_a_setting_that_is_required_and_cannot_be_read_is_not_called_missing(folder: Path) -> None:
    (folder / "attribution_database_url").mkdir()
    with pytest.raises(SettingsInvalid, match=r"attribution_database_url.* found a directory instead") as refused:
        WorkerSettings.read()
    assert "required" not in str(refused.value)


def test_the_usual_folder_is_looked_into_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(secret_files, "USUAL", tmp_path)
    assert secrets_folder() == tmp_path
    monkeypatch.setattr(secret_files, "USUAL", tmp_path / "none")
    assert secrets_folder() is None
    monkeypatch.setattr(secret_files, "USUAL", tmp_path)
    monkeypatch.setenv(FOLDER, "")
    assert secrets_folder() is None


def test_flowers_password_may_stand_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "attribution_flower_auth").write_text("operator:a-password\n")
    assert read_secret("ATTRIBUTION_FLOWER_AUTH") == "operator:a-password"
    (folder / "attribution_flower_auth").write_text("operator\n")
    refused = CliRunner().invoke(main, ["flower"])
    assert "must be user:password" in refused.output
    monkeypatch.setenv("ATTRIBUTION_FLOWER_AUTH", "someone:else")
    assert read_secret("ATTRIBUTION_FLOWER_AUTH") == "someone:else"
