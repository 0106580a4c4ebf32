"""Look for bytes that break a property: ``python -m tests.fuzz [--seconds 60] [PROPERTY ...]``, which is `make fuzz`.

Guided by coverage (atheris, which is libFuzzer for Python): what reaches new lines of ours is kept and varied further.
Each property has its share of the time and a process of its own. What is found is written to tests/fuzz/found/, from
where every test run tries it again: commit it with the cure.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.properties import PROPERTIES
from tests.fuzz.seeds import FOUND, LARGEST_SEED, WORDS, is_small, seeds

#: Longest time that one input may take, in seconds: one that takes longer is a finding.
_ONE_INPUT_SECONDS: Final = 5
_MISSING: Final = (
    "The fuzzer needs the package atheris, which has wheels for Linux on x86_64 and Python 3.11 to 3.13 only. Run it"
    " there: `make setup PYTHON=python3.13 fuzz` on such a machine, or in a container of it. What it has found so far"
    " is tried on every machine: `make test ARGS=tests/fuzz`."
)


def main() -> int:
    """Fuzz each property for its share of the time; return how many were broken."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Look for bytes that break a property of a parser.")
    parser.add_argument("--seconds", type=int, default=60, help="time for all of them together; 60 if not given")
    parser.add_argument("properties", nargs="*", metavar="PROPERTY", help=f"of {', '.join(PROPERTIES)}; all if none")
    options = parser.parse_args()
    if unknown := set(options.properties) - PROPERTIES.keys():
        parser.error(f"there is no property {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        sys.exit(_MISSING)
    chosen = options.properties or list(PROPERTIES)
    broken = [name for name in chosen if not _fuzz(name, max(1, options.seconds // len(chosen)))]
    print(f"Broken: {', '.join(broken)}. See tests/fuzz/found." if broken else "No property was broken.")
    return len(broken)


def _fuzz(name: str, seconds: int) -> bool:
    """Fuzz one property; return whether it has held."""
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(filter(is_small, seeds(name).values())):
            (corpus / f"seed-{number}").write_bytes(bytes(seed))
        print(f"{name}: {seconds} s", flush=True)
        words = Path(folder, "words")
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        command = [sys.executable, "-m", "tests.fuzz.target", name, str(found), str(corpus), f"-dict={words}"]
        command += [f"-max_total_time={seconds}", f"-timeout={_ONE_INPUT_SECONDS}", f"-max_len={2 * LARGEST_SEED}"]
        command += [f"-artifact_prefix={found}/"]
        held = subprocess.run(command, check=False).returncode == 0
    if not any(found.iterdir()):
        found.rmdir()
    return held


if __name__ == "__main__":
    sys.exit(main())
