"""A whole pipeline, standing alone or in listmonk's database, with a person and neighbours in every corner of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.privacy.site import KEY, Site, open_site


@pytest.fixture(params=["alone", "listmonk"])
def site(request: pytest.FixtureRequest, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    fixture = "database_url" if request.param == "alone" else "listmonk_database_url"
    database_url = str(request.getfixturevalue(fixture))
    monkeypatch.setenv("ATTRIBUTION_DATABASE_URL", database_url)
    monkeypatch.setenv("ATTRIBUTION_REDIS_URL", redis_url)
    monkeypatch.setenv("ATTRIBUTION_RECIPIENT_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    with open_site(database_url, redis_url, listmonk=request.param == "listmonk") as opened:
        yield opened


@pytest.fixture
def runner() -> CliRunner:
    return CliRunner()
