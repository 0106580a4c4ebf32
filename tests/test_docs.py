"""The documentation is true: what it names exists, what it lists is complete, and its tables are the code's."""

from __future__ import annotations

import ast
import hashlib
import re
import runpy
import shlex
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import click
import pytest

from cli.main import main
from db.models import State
from db.tables import metadata
from tasks.reasons import Reason
from tests import generated_tables
from tests.generated_tables import as_written, fields_of, variable
from tests.pages import (
    ROOT,
    anchors,
    code_spans,
    commands,
    links,
    name_of,
    pages,
    read,
    repository_files,
    section,
    table_rows,
)
from worker import queues, streams
from worker.settings import CommonSettings, ReceiverSettings, WorkerSettings

every_page = pytest.mark.parametrize("page", [name_of(path) for path in pages()])

_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+(?:::\w+)?)")
_PATH = re.compile(r"(?:worker|tasks|db|migrations|cli|stack|simulator|benchmarks|tests|docs)/[\w./-]*\w/?")
_ADR = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


# What is made from the code.


@pytest.mark.parametrize("page", sorted({page for page, _ in generated_tables.TABLES}))
def test_tables_made_from_the_code_are_those_of_the_code(page: str) -> None:
    assert read(page) == generated_tables.filled(page), "write them anew: python -m tests.generated_tables"


@pytest.mark.parametrize("settings", [ReceiverSettings, WorkerSettings])
def test_each_default_can_be_written_as_settings_md_shows_it(
    settings: type[CommonSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = {
        name: field.default
        for kind in (CommonSettings, settings)
        for name, field in fields_of(kind).items()
        if not field.is_required() and as_written(field.default)
    }
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user:password@host:5432/name")
    monkeypatch.setenv("ATTRIBUTION_EVENT_SECRETS", "a secret of the tests")
    for name, default in defaults.items():
        monkeypatch.setenv(variable(name), as_written(default))
    read_back = settings.read()
    assert {name: getattr(read_back, name) for name in defaults} == defaults


def test_durations_are_written_in_each_of_the_ways_that_settings_md_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user:password@host:5432/name")
    (line,) = [line for line in read("docs/settings.md").splitlines() if "**duration**" in line]
    seconds = []
    for written in code_spans(line):
        monkeypatch.setenv("ATTRIBUTION_CLAIM_AFTER", written)
        seconds.append(WorkerSettings.read().claim_after.total_seconds())
    assert seconds == [90, 0.5, 90, 7 * 86_400]


# What has to be listed.


def test_every_reason_is_told_in_quarantine_md() -> None:
    told = re.findall(r"^### `(\w+)`$", read("docs/quarantine.md"), re.MULTILINE)
    given = {*Reason} | _reasons_of_migrations()
    assert Counter(told) == Counter(given)


def _reasons_of_migrations() -> set[str]:
    """Return the reasons that migrations write by themselves: literals in their inserts into the quarantine."""
    inserts = re.compile(r"INSERT INTO attribution_quarantine .*?SELECT .*?'(?:event|message)', '(\w+)'", re.DOTALL)
    files = [path for path in repository_files() if path.suffix == ".sql" and ROOT / "migrations" in path.parents]
    return {reason for path in files for reason in inserts.findall(path.read_text())}


def test_architecture_names_every_key_table_queue_task_and_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", "postgresql://user:password@host:5432/name")
    celery = runpy.run_path(str(ROOT / "worker" / "celeryconfig.py"))
    text = read("ARCHITECTURE.md")
    spans = set(code_spans(text))
    keys = {value for name, value in vars(streams).items() if name.isupper() and str(value).startswith("attribution:")}
    assert len(keys) >= 2
    tables = {*metadata.tables}
    tasks = {*celery["task_routes"]}
    assert not (keys | {*queues.ALL} | tables | tasks) - spans
    diagram = section(text, "States")
    assert all(re.search(rf"--> {state}\b", diagram) for state in State)


def test_architecture_tells_each_import_contract_by_its_name() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    told = [row[0] for row in table_rows(section(read("ARCHITECTURE.md"), "Who may import whom"))][1:]
    assert told == [contract["name"] for contract in contracts]


def test_each_of_the_ten_invariants_names_a_test() -> None:
    text = section(read("ARCHITECTURE.md"), "Invariants")
    invariants = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    assert len(invariants) == 10
    for invariant in invariants:
        assert _TEST.search(invariant), invariant


def test_decisions_are_numbered_without_a_gap_and_tell_what_was_weighed() -> None:
    decisions = sorted(path for path in pages() if path.parent == ROOT / "docs" / "adr" and path.name != "README.md")
    numbers = [int(found[1]) for path in decisions if (found := _ADR.fullmatch(path.name))]
    assert numbers == list(range(1, len(decisions) + 1))
    titles = [path.read_text().splitlines()[0] for path in decisions]
    entries = re.findall(r"^(\d+\. )\[(.+)\]\((.+)\)$", read("docs/adr/README.md"), re.MULTILINE)
    assert [f"# {number}{title}" for number, title, _ in entries] == titles
    assert [file for _, _, file in entries] == [path.name for path in decisions]
    for path in decisions:
        headings = re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE)
        assert headings == ["Context", "Decision", "Alternatives considered", "Consequences"], path.name


def test_the_glossary_has_each_word_once_in_one_sentence_and_every_word_is_used() -> None:
    words = table_rows(read("docs/glossary.md"))[1:]
    assert all(len(row) == 2 for row in words)
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(words))
    assert [word for word, meaning in words if not re.fullmatch(r"[^.]+(`[^`]+`[^.]+)*\.", meaning)] == []
    runtime = ("worker", "tasks", "db", "cli")
    sources = [
        path
        for path in repository_files()
        if path.suffix in {".py", ".sql"} and path.relative_to(ROOT).parts[0] in runtime
    ]
    code = " ".join(path.read_text().casefold() for path in sources)
    assert [word for word, _ in words if not re.search(re.sub("[ -]", r"[\\s_-]*", word.casefold()), code)] == []


# What is named exists.


@every_page
def test_links_lead_somewhere(page: str) -> None:
    for target in links(read(page)):
        path, _, fragment = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        if fragment:
            assert fragment in anchors(file.read_text()), target


@every_page
def test_files_that_are_named_exist(page: str) -> None:
    for span in code_spans(read(page)):
        if _PATH.fullmatch(span):
            assert (ROOT / span).exists(), span


@every_page
def test_tests_that_are_named_exist(page: str) -> None:
    for file, test in _TEST.findall(read(page)):
        assert test in _functions(ROOT / file), f"{file}::{test}"


def _functions(file: Path) -> set[str]:
    """Return the functions of a module, and the methods of its classes as ``Class::method``."""
    functions = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            functions.add(node.name)
        elif isinstance(node, ast.ClassDef):
            functions |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return functions


@every_page
def test_settings_that_are_named_exist(page: str) -> None:
    ours = {variable(name) for kind in (CommonSettings, ReceiverSettings, WorkerSettings) for name in fields_of(kind)}
    mailers = {name for path in (ROOT / "docs" / "examples").iterdir() for name in _variables(path.read_text())}
    elsewhere = {"ATTRIBUTION_FLOWER_AUTH", "ATTRIBUTION_SECRETS_DIR"}
    assert _variables(read(page)) <= ours | mailers | elsewhere


def _variables(text: str) -> set[str]:
    return set(re.findall(r"\bATTRIBUTION_[A-Z_]+[A-Z]\b", text))


@every_page
def test_make_targets_that_are_named_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", read("Makefile"), re.MULTILINE))
    for command in commands(read(page)):
        if re.match(r"make [a-z]", command):
            _, *words = shlex.split(command, comments=True)
            assert {word for word in words if "=" not in word} <= targets, command


@every_page
def test_commands_that_are_named_exist_with_their_options(page: str) -> None:
    for command in commands(read(page)):
        if re.match(r"attribution [a-z-]", command):
            _walk(shlex.split(command, comments=True)[1:])


def _walk(words: list[str]) -> None:
    """Follow ``words`` through the subcommands; each option has to be one of the command that it stands behind."""
    command: click.Command = main
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            options = {name: each for each in command.get_params(click.Context(command)) for name in each.opts}
            assert word in options, (command.name, word)
            if not getattr(options[word], "is_flag", False):
                next(rest)  # its value
        elif isinstance(command, click.Group):
            found = command.get_command(click.Context(command), word)
            assert found is not None, (command.name, word)
            command = found


# What must not be there.


def test_the_licence_is_the_unmodified_text_of_apache_2() -> None:
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


#: Where packages come from is the installer's business, and where this checkout lies is nobody's. Each is in two parts,
#: for this file is looked through as well.
_FOREIGN = re.compile(
    "|".join(
        (
            "py" + r"pi\.org",
            "python" + r"hosted\.org",
            "npm" + r"js\.org",
            r"--(extra-)?index" + r"-url|--find" + "-links|--trusted" + "-host",
            r"(?<![\w./])/(home|Users)" + r"/\w",
            r"(?<![\w./])/work" + "/",
            r"(?<![\w./])/tmp" + r"/(?!attribution)\w",
        )
    )
)


def test_no_file_holds_a_registrys_address_or_a_path_of_somebodys_machine() -> None:
    found = []
    for path in repository_files():
        text = path.read_bytes().decode(errors="replace")
        found += [(name_of(path), match[0]) for match in _FOREIGN.finditer(text)]
    assert found == []


@every_page
def test_addresses_in_pages_are_made_up(page: str) -> None:
    domains = set(re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", read(page)))
    assert {domain for domain in domains if not re.search(r"(^|\.)example\.(com|net|org)$", domain)} <= {"127.0.0.1"}
