"""The command `attribution`: quick help, and failures that are sentences."""

from __future__ import annotations

import importlib
import keyword
import os
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main
from stack.state import StateFolder

ROOT = Path(__file__).parents[2]


def attribution(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, with no setting but ``environment``."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_where_the_table_says_and_says_what_the_table_says(name: str) -> None:
    python_name = f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")
    command = getattr(importlib.import_module(f"cli.{python_name}"), python_name)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.get_short_help_str(limit=200).rstrip(".") == COMMANDS[name].rstrip(".")


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    for name, line in COMMANDS.items():
        assert f"{name} " in shown
        assert line in shown


def test_help_imports_nothing_that_is_slow() -> None:
    script = """
import sys
from cli.main import main
main(["--help"], standalone_mode=False)
print("slow:", *{"celery", "sqlalchemy", "redis", "pydantic", "starlette", "aiohttp"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "slow:"
    assert done.stderr == ""


def test_the_version_is_that_of_pyproject() -> None:
    assert attribution("--version").stdout == "engagement-attribution 0.1.0\n"


def test_an_unknown_command_is_a_usage_error() -> None:
    done = attribution("database")
    assert done.returncode == 2
    assert "No such command 'database'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["worker"], {"ATTRIBUTION_DATABASE_URL": "mysql://example.com"}, "it must start with postgresql://"),
        (["migrate"], {}, "ATTRIBUTION_DATABASE_URL: it is required"),
        (["receiver"], {}, "anyone could post events"),
        (["receiver", "--insecure"], {"ATTRIBUTION_HOST": "0.0.0.0"}, "set ATTRIBUTION_HOST=127.0.0.1"),  # noqa: S104
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(
    arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    done = attribution(*arguments, **environment)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_down_is_one_sentence() -> None:
    done = attribution("migrate", ATTRIBUTION_DATABASE_URL="postgresql://attribution:secret@127.0.0.1:1/attribution")
    assert done.returncode == 1
    assert "127.0.0.1" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_flower_is_not_opened_to_a_network_without_a_password() -> None:
    for environment in ({}, {"ATTRIBUTION_FLOWER_AUTH": "user:"}, {"ATTRIBUTION_FLOWER_AUTH": "password"}):
        for options in (["--host=0.0.0.0"], ["--host=0.0.0.0", "--insecure"], []):
            done = attribution("flower", *options, **environment)
            assert done.returncode == 2
            assert "ATTRIBUTION_FLOWER_AUTH" in done.stderr


def test_a_taken_port_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = str(stranger.getsockname()[1])
        done = attribution("up", "--port", port, "--state-dir", str(tmp_path))
    assert done.returncode == 2
    assert f"Port {port} is taken" in done.stderr
    assert "--port" in done.stderr


def test_a_stack_that_is_in_use_is_one_sentence(tmp_path: Path) -> None:
    with StateFolder(tmp_path).owned():
        ports = ("--port", "15001", "--flower-port", "15002", "--metrics-port", "15003")
        done = attribution("up", *ports, "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"already in use by process {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr
