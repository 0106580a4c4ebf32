"""The Markdown pages of this repository, and what they say in code: commands, paths, tests, links."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

#: Languages of fenced blocks that hold commands. In ``console`` a command follows ``$ ``, and the rest is its output.
_SHELLS: Final = frozenset({"sh", "bash", "console"})

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_PIPE = re.compile(r"\s*(?:\||&&|;)\s+")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def repository_files() -> list[Path]:
    """Return every file that git tracks, or would track if it were added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = {ROOT / name for name in listed.stdout.split("\0") if name}
    return sorted(path for path in paths if path.is_file())


def pages() -> list[Path]:
    """Return every Markdown page."""
    return [path for path in repository_files() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    """Return the path as one writes it, from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def read(page: str) -> str:
    """Return the text of a page, named from the repository's root."""
    return (ROOT / page).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands under ``heading``, down to the next heading of its rank."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"there is no heading {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", _blank_out_fences(rest), re.MULTILINE)
    return rest[: end.start()] if end else rest


def code_spans(text: str) -> list[str]:
    """Return what stands between single backticks; a span that wraps is one line."""
    return [" ".join(span.split()) for span in _SPAN.findall(_FENCE.sub("", text))]


def commands(text: str) -> Iterator[str]:
    """Yield each command that a page shows: in a shell's block, or as a span of its own."""
    for language, block in _FENCE.findall(text):
        if language in _SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                if language != "console" or line.startswith("$ "):
                    yield from _PIPE.split(line.removeprefix("$ ").strip())
    for span in code_spans(text):
        yield from _PIPE.split(span)


def links(text: str) -> list[str]:
    """Return the targets of all links to pages and files of this repository."""
    return [target for target in _LINK.findall(_FENCE.sub("", text)) if "://" not in target]


def anchors(text: str) -> set[str]:
    """Return the fragments by which a page's headings can be linked to, as GitHub makes them."""
    headings = _HEADING.findall(_blank_out_fences(text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of every row of every table, without the rules; a backslash keeps a bar inside its cell."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def _blank_out_fences(text: str) -> str:
    return _FENCE.sub(lambda fence: re.sub(r"[^\n]", " ", fence[0]), text)
