"""The unprivileged user that PostgreSQL runs as when we are root, which it refuses to be."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.errors import StackUnusable

#: Users that every system has and that own nothing, best first. Not `postgres`: a server of the machine may be its.
_CANDIDATES = ("nobody", "daemon")

#: What a server of ours needs of our environment. Secrets, and settings of other PostgreSQL clients, are not among it.
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


@dataclass(frozen=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """Return what makes `subprocess` become this user, and leave every group of ours."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_run(self, command: Sequence[str | Path]) -> bool:
        """Say whether ``command`` runs and succeeds as this user.

        Tried rather than worked out from mode bits: access lists, mounts and capabilities have their say too.

        Raises:
            StackUnusable: we may not become this user at all.
        """
        try:
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=server_environment(),
                cwd="/",
                **self.popen_arguments(),
            )
        except subprocess.CalledProcessError:
            return False
        except OSError:
            if not self._can_be_become():
                raise StackUnusable(
                    f"PostgreSQL refuses to run as root, and this root may not become the user {self.name}. "
                    "Run the command as an ordinary user, or name a PostgreSQL in ATTRIBUTION_DATABASE_URL."
                ) from None
            return False
        return True

    def can_reach(self, folder: Path) -> bool:
        """Say whether this user may pass through ``folder`` and all its parents."""
        return self.can_run(["/bin/sh", "-c", 'cd "$1"', "sh", folder])

    def _can_be_become(self) -> bool:
        try:
            subprocess.run(["/bin/sh", "-c", ":"], check=True, cwd="/", **self.popen_arguments())
        except (OSError, subprocess.CalledProcessError):
            return False
        return True


def unprivileged_account() -> Account | None:
    """Return the user to drop to, or None if we are not root and so need not.

    Raises:
        StackUnusable: we are root on a machine without such a user.
    """
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StackUnusable(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(_CANDIDATES)} to run it as. "
        "Run the command as an ordinary user, or name a PostgreSQL in ATTRIBUTION_DATABASE_URL."
    )


def server_environment() -> dict[str, str]:
    """Return the environment that servers are started with."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    # macOS needs a locale in the environment for PostgreSQL to stay single-threaded.
    return {"PATH": os.defpath, **kept, "LC_ALL": "C"}
