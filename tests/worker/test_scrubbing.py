"""What is taken out of texts that others have worded."""

from __future__ import annotations

import pytest

from worker.telemetry.scrubbing import scrub_text


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("no mail for ada.l+x@mail.example.com, sorry", "no mail for [address], sorry"),
        ("email=ada%40example.com&x=1", "email=[address]&x=1"),
        ("<Ada@mail.example.com> is taken", "[message-id] is taken"),
        ("GET https://host/path?email=x#y failed", "GET https://host/path?[query] failed"),
        ("POST /eventgrid?a=b&code=secret&c=d failed", "POST /eventgrid?a=b&code=[code]&c=d failed"),
        ("redis://user:secret@host:6379/0", "redis://[login]@host:6379/0"),
        ("no redis://:c2VjcmV0cw==@host:6379/0 there", "no redis://[login]@host:6379/0 there"),
        (
            "unknown command 'XADD', with args beginning with: 'events' 'ada'",
            "unknown command 'XADD', with args beginning with: [hidden]",
        ),
        ("duplicate key\nDETAIL:  Key (a)=(b) already exists.\nand more", "duplicate key\nDETAIL: [hidden]"),
        ("no row  DETAIL:  Failing row contains (ada)", "no row  DETAIL: [hidden]"),
        ("bad\nCONTEXT:  COPY t, line 1: ada\n\nDuring handling", "bad\nCONTEXT: [hidden]\n\nDuring handling"),
        (
            "bad\n[SQL: SELECT 1]\n[parameters: {'a': 'ada'}]\n(Background on x)",
            "bad\nSQL: [hidden]\n(Background on x)",
        ),
        ("bad\n[parameters: {'a': 'ada'}]", "bad\nparameters: [hidden]"),
        ("a plain sentence: nothing of it is confidential", "a plain sentence: nothing of it is confidential"),
    ],
)
def test_only_what_is_confidential_goes(text: str, scrubbed: str) -> None:
    assert scrub_text(text) == scrubbed


@pytest.mark.parametrize(
    "text", ["a" * 10**6 + "@", "a@" * 10**5, "<" + "a" * 10**6, "http:" + "a" * 10**6, "://" * 10**5]
)
def test_a_long_text_takes_no_longer_than_its_length(text: str) -> None:
    assert len(scrub_text(text)) <= len(text) + 10
