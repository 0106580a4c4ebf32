"""Log lines for machines and for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from worker.telemetry.logs import Throttle, configure_logs


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, uvicorn_access = logging.getLogger(), logging.getLogger("uvicorn.access")
    before = root.handlers[:], root.level, uvicorn_access.propagate
    yield
    root.handlers[:], root.level, uvicorn_access.propagate = before


def log(capsys: pytest.CaptureFixture[str], log_format: str) -> str:
    configure_logs(log_format, "INFO")  # type: ignore[arg-type]
    logger = logging.getLogger("worker.example")
    logger.debug("not said")
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        logger.exception("it took %d s", 3, extra={"subscription": "ACS\n\x1b[31mroot: all is well"})
    return capsys.readouterr().err


def test_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = log(capsys, "json").splitlines()

    said = json.loads(line)
    assert (said["level"], said["logger"], said["message"]) == ("ERROR", "worker.example", "it took 3 s")
    assert said["subscription"] == "ACS\n\x1b[31mroot: all is well"
    assert "\x1b" not in line
    assert said["error"].endswith("ValueError: broken\nin two")
    assert said["at"].endswith("+00:00")


def test_console_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    first, *rest = log(capsys, "console").splitlines()

    assert "\x1b[31mERROR  \x1b[0m  it took 3 s" in first
    assert r"'ACS\n\x1b[31mroot: all is well'" in first
    assert rest[0] == "Traceback (most recent call last):"


def test_a_console_line_of_another_library_cannot_begin_a_line_or_colour_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    configure_logs("console", "INFO")
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        logging.getLogger("some.library").exception("unknown task %s", "x\n00:00:00 INFO all is well\x1b[0m\x9b1m")
    said = capsys.readouterr().err

    assert r"unknown task x\n00:00:00 INFO all is well\x1b[0m\x9b1m" in said.splitlines()[0]
    assert said.splitlines()[-1] == r"ValueError: \x1b[31mred"
    assert "\x1b" not in said


def test_what_extra_brings_does_not_take_the_place_of_what_each_line_has(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "INFO")
    logging.getLogger("worker.example").info("so it is", extra={"level": "ERROR", "at": "never", "event": "other"})
    said = json.loads(capsys.readouterr().err)
    assert (said["level"], said["message"], said["event"]) == ("INFO", "so it is", "other")
    assert said["at"] != "never"
    assert list(said)[:5] == ["at", "level", "logger", "message", "process"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_is_scrubbed_and_shows_no_variables(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logs(log_format, "INFO")  # type: ignore[arg-type]
    held = "".join(("a local", " variable"))
    try:
        raise ValueError(f"refused: ada@example.com\nDETAIL:  Failing row contains ({held})")
    except ValueError:
        logging.getLogger("worker.example").exception("it failed")
    said = capsys.readouterr().err
    assert "ValueError: refused: [address]" in said
    assert "ada" not in said
    assert "a local variable" not in said


def test_auto_is_for_machines_unless_a_terminal_reads_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.loads(log(capsys, "auto"))
    assert said["message"] == "it took 3 s"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert "it took 3 s" in log(capsys, "auto").splitlines()[0]


def test_console_without_colour(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in log(capsys, "console")


def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "INFO")
    assert len(log(capsys, "json").splitlines()) == 1


def test_uvicorn_keeps_no_access_log() -> None:
    """Its lines hold query strings, which hold secrets; the uvicorn command gives it a handler."""
    access = logging.getLogger("uvicorn.access")
    access.addHandler(logging.StreamHandler())
    configure_logs("json", "INFO")
    assert not access.hasHandlers()


def test_throttle_lets_the_first_pass_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("worker.telemetry.logs.time.monotonic", lambda: now)
    throttle = Throttle(10)

    assert [throttle.count() for _ in range(4)] == [1, 0, 0, 0]
    now += 10
    assert [throttle.count() for _ in range(2)] == [4, 0]
