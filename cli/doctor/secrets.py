"""Secrets: could they be guessed, and does each open one door only. What they are is never told."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from cli.doctor.distance import Distance, distance_of
from cli.doctor.findings import Finding, Subject, failure, hint, warning
from cli.doctor.installation import Installation
from cli.flower import AUTH
from worker.secret_files import read_secret

subject: Final = Subject("secrets", "Secrets")

#: What stands in examples, and what people write who mean to change it later. In letters alone, lower case.
_PLACEHOLDERS: Final = (
    "changeme", "changethis", "change", "secret", "password", "passwort", "example", "default", "placeholder",
    "replace", "attribution", "listmonk", "eventgrid", "todo", "tests", "test", "demo", "admin", "letmein", "qwerty",
    "asdf", "yourown", "sample", "dummy", "insert", "xxxx", "postgres", "redis", "event", "message", "the", "new",
    "old",
)  # fmt: skip

_LETTERS: Final = str.maketrans("01345$@", "oieassa")

#: Bits below which a secret is weak, by an estimate that finds a few less than there are: sixteen random hexadecimal
#: digits, which have 64, are never found to have so few, and what people think up to fill sixteen characters often is.
_FEWEST_BITS: Final = 30


@subject.check("strength", "No secret can be guessed.")
def strength(installation: Installation) -> Iterator[Finding]:
    """Look for secrets that are placeholders, repeat themselves, count up, or have little variety."""
    for name, secrets in sorted(_secrets(installation).items()):
        for secret in secrets:
            if why := weakness(secret):
                which = f"A secret of {name}" if len(secrets) > 1 else name
                yield failure(f"{which} can be guessed: {why}.", _cure(name))


def _cure(name: str) -> str:
    if name.endswith("_KEY"):
        return (
            "Make a new one, with `openssl rand -hex 32`: the sooner the better, for what was hashed with the old one"
            " is not found by its address any more."
        )
    recipe = 'echo "whsec_$(openssl rand -base64 32)"' if "WEBHOOK" in name else "openssl rand -hex 24"
    return (
        f"Make a new one, with `{recipe}`. Put it beside the old one, change the other side, then remove the old one:"
        " docs/operations.md."
    )


@subject.check("shared", "Each secret is for one thing.")
def shared(installation: Installation) -> Iterator[Finding]:
    """Look for one secret in several settings."""
    users = defaultdict(set)
    for name, secrets in (*_secrets(installation).items(), *_passwords(installation).items()):
        for secret in secrets:
            users[secret].add(name)
    for names in sorted(sorted(each) for each in users.values() if len(each) > 1):
        # The same server named twice is one thing.
        if not set(names) <= {"the password in ATTRIBUTION_REDIS_URL", "the password in ATTRIBUTION_BROKER_URL"}:
            yield warning(
                f"One secret is used for several things: {' and '.join(names)}. Whoever learns it by the one has the"
                " other.",
                "Give each its own.",
            )


@subject.check("servers", "The servers' passwords cannot be guessed.")
def server_passwords(installation: Installation) -> Iterator[Finding]:
    """Look for servers in other machines' reach that have no password, or one that anybody would try."""
    for name, url in _urls(installation).items():
        parts = urlsplit(url)
        password = unquote(parts.password or "")
        if _is_near(parts.netloc):
            continue
        if not password and "sslcert" not in parts.query and "ssl_certfile" not in parts.query:
            yield warning(
                f"{name} names no password, and the server is another machine.",
                "Give the server's user a password, unless it knows this machine by a certificate or an identity.",
            )
        elif password and (why := weakness(password)):
            yield warning(
                f"The password in {name} can be guessed: {why}.", "Make a new one, with `openssl rand -hex 24`."
            )


@subject.check("flower", "Flower asks for a password that is one.")
def flower(installation: Installation) -> Iterator[Finding]:
    """Look at what protects Flower, which can stop workers."""
    _ = installation.worker
    auth = read_secret(AUTH)
    user, _, password = auth.partition(":")
    if not auth:
        yield hint(
            f"{AUTH} is not set here: Flower, which can stop workers, does not start, or is open to this whole"
            " machine.",
            f"Where Flower runs, set {AUTH} to user:password.",
        )
    elif not user or not password or "," in auth:
        yield failure(
            f"{AUTH} is not user:password, so Flower does not start.",
            "Write a user, a colon and a password, without a comma.",
        )
    elif why := weakness(password):
        yield failure(
            f"The password in {AUTH} can be guessed: {why}. Flower can stop workers.",
            "Make a new one, with `openssl rand -hex 24`.",
        )


def weakness(secret: str) -> str | None:
    """Say why ``secret`` is weak, without a part of it; None if it is not."""
    # A word with digits behind it, or in place of letters, is no better than the word.
    core = secret.casefold().rstrip("0123456789!?.").translate(_LETTERS)
    letters = re.sub("[^a-z]", "", core)
    unknown = re.sub("|".join(_PLACEHOLDERS), "", letters)
    if 2 * len(letters) >= len(core) and 2 * len(unknown) <= len(letters):
        return "it is made of words that stand in examples"
    if _unit(secret) != secret:
        return "it repeats itself"
    if information(secret) < _FEWEST_BITS:
        return "it is too regular, or too short"
    return None


def information(secret: str) -> float:
    """Estimate the bits in ``secret``: its variety, over the characters that do not just go on as those before."""
    codes = [ord(character) for character in _unit(secret)]
    # 0123…, zyx…, aaaa: a character that is as far from the one before as that from its own is no surprise.
    steps = [after - before for before, after in pairwise(codes)]
    surprises = [
        code
        for position, code in enumerate(codes)
        if position < 2 or abs(steps[position - 1]) > 1 or steps[position - 1] != steps[position - 2]
    ]
    counts = Counter(surprises)
    variety = -sum(count / len(surprises) * math.log2(count / len(surprises)) for count in counts.values())
    return variety * len(surprises)


def _unit(secret: str) -> str:
    """Return the shortest text that ``secret`` is a repetition of, the last time perhaps not whole."""
    for length in range(1, len(secret) // 2 + 1):
        unit = secret[:length]
        if (unit * (len(secret) // length + 1))[: len(secret)] == secret:
            return unit
    return secret


def _secrets(installation: Installation) -> dict[str, list[str]]:
    """Return the secrets that callers or the other side prove themselves with, by the variable they stand in."""
    found: dict[str, list[str]] = {}
    for settings in installation.settings:
        for field in type(settings).model_fields:
            if field.endswith(("_secrets", "_key")):
                value = getattr(settings, field)
                given = value if isinstance(value, tuple) else (value,) if value else ()
                found[f"ATTRIBUTION_{field.upper()}"] = [
                    each.get_secret_value() for each in given if isinstance(each, SecretStr)
                ]
    return found


def _urls(installation: Installation) -> dict[str, str]:
    """Return the addresses of the servers, by the variable they stand in."""
    found = {}
    for settings in installation.settings:
        for field in ("redis_url", "broker_url", "database_url"):
            if value := getattr(settings, field, None):
                found[f"ATTRIBUTION_{field.upper()}"] = value.get_secret_value()
    return found


def _passwords(installation: Installation) -> dict[str, list[str]]:
    found = {
        f"the password in {name}": [unquote(password)]
        for name, url in _urls(installation).items()
        if (password := urlsplit(url).password)
    }
    if password := read_secret(AUTH).partition(":")[2]:
        found[f"the password in {AUTH}"] = [password]
    return found


def _is_near(netloc: str) -> bool:
    return all(distance_of(host) is Distance.HERE for host in netloc.rpartition("@")[2].split(","))
