"""Settings that stand in files, one in each, named after its variable: what Docker and Kubernetes mount as secrets.

A value in the environment is shown by ``docker inspect``, inherited by every child, and caught by crash reporters. A
file is not. Where both are there the environment wins, so that one value can be overruled without touching files.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic_settings import SettingsError

from worker.errors import SettingsInvalid

#: The variable that names the folder. Empty, it switches files off.
FOLDER: Final = "ATTRIBUTION_SECRETS_DIR"
#: Where Docker mounts secrets; looked into if the variable is not set.
USUAL: Final = Path("/run/secrets")


def secrets_folder() -> Path | None:
    """Return the folder whose files hold settings, or None if there is none.

    Raises:
        SettingsInvalid: ``ATTRIBUTION_SECRETS_DIR`` names something that is no folder.
    """
    named = os.environ.get(FOLDER)
    if named is None:
        return USUAL if USUAL.is_dir() else None
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        raise SettingsInvalid(
            f"The settings cannot be used. {FOLDER} names {folder}, which is no folder. Mount the secrets there, or"
            " unset it."
        )
    return folder


@contextmanager
def nothing_passed_over() -> Iterator[None]:
    """Have a file that cannot be read end the program, and not leave the setting at its default.

    pydantic-settings only warns of a folder in a file's place, and of a link that leads out of the folder.

    Raises:
        SettingsInvalid: a file cannot be read; which one, and why.
    """
    # Recorded, not turned into errors: for as long as that takes, it would be so in every thread.
    with warnings.catch_warnings(record=True) as passed_over:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except (SettingsError, OSError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"The settings cannot be used: {_reason(error)}") from None
        except ValueError:
            if not _of_files(passed_over):
                raise
    if found := _of_files(passed_over):
        raise SettingsInvalid(f"The settings cannot be used: {found[0]}")


def _of_files(met: list[warnings.WarningMessage]) -> list[str]:
    return [said for each in met if "secret file" in (said := str(each.message))]


def _reason(error: BaseException) -> str:
    """Say what is wrong with a file, without what is in it."""
    match error.__cause__ or error:
        case OSError() as cause:
            return f"{cause.filename} cannot be read ({cause.strerror}) by the user that this process runs as."
        case UnicodeDecodeError():
            return f"a file in {secrets_folder()} is not UTF-8."
        case cause:
            return f"{cause}"


def read_secret(variable: str) -> str:
    """Return the value of a variable that is no setting of ours, from the environment or its file; empty without.

    Raises:
        SettingsInvalid: as `secrets_folder` and `nothing_passed_over`.
    """
    if (value := os.environ.get(variable)) is not None:
        return value
    if folder := secrets_folder():
        for file in (folder / variable.lower(), folder / variable):
            if file.exists():
                with nothing_passed_over():
                    return file.read_text(encoding="utf-8").strip()
    return ""
