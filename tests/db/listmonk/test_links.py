"""What a clicked URL says."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.listmonk.links import (
    LONGEST_URL,
    NOBODY,
    TrackedLink,
    anonymous_url,
    canonical_url,
    is_way_out,
    tracked_link,
)

LINK, CAMPAIGN, READER = (f"{n}b1e3c44-0000-4000-8000-0000000000ab" for n in (1, 2, 3))
PERSONAL = frozenset({"subscriber", "mc_eid"})


def canonical(url: str, reader: str | None = READER) -> str | None:
    return canonical_url(url, personal_parameters=PERSONAL, readers={reader} if reader else set())


@pytest.mark.parametrize(
    "url",
    [
        f"https://news.example.com/link/{LINK}/{CAMPAIGN}/{READER}",
        f"news.example.com/link/{LINK.upper()}/{CAMPAIGN}/{READER}?utm_source=x",
        f"https://news.example.com/lists/link/{LINK}/{CAMPAIGN}/{READER}#top",
    ],
)
def test_a_tracked_link_names_link_campaign_and_reader(url: str) -> None:
    assert tracked_link(url) == TrackedLink(UUID(LINK), UUID(CAMPAIGN), UUID(READER))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://www.example.com/link/to/some/page",
        f"https://news.example.com/link/{LINK}/{CAMPAIGN}",
        f"https://news.example.com/link/{LINK}/{CAMPAIGN}/{READER}0",
        f"https://news.example.com/subscription/{CAMPAIGN}/{READER}",
    ],
)
def test_anything_else_is_no_tracked_link(url: str) -> None:
    assert tracked_link(url) is None


@pytest.mark.parametrize(
    "url",
    [
        f"https://news.example.com/subscription/{CAMPAIGN}/{READER}",
        f"https://news.example.com/subscription/{CAMPAIGN}/{READER}?manage=true",
        f"https://news.example.com/subscription/optin/{READER}?l=1",
        "https://shop.example.com/unsubscribe?u=7",
        "https://shop.example.com/mail/unsubscribe",
        "https://shop.example.com/newsletter-unsubscribe.html",
        "https://shop.example.com/?unsubscribe=1",
        "https://shop.example.com/opt-out",
        "mailto:unsubscribe@example.com?subject=stop",
    ],
)
def test_ways_out_are_told_from_interest(url: str) -> None:
    assert is_way_out(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example.com/",
        "https://shop.example.com/opt-outdoor-jackets",
        "https://shop.example.com/unsubscribed-fares-story",
        "https://shop.example.com/subscription/plans",
        "https://shop.example.com/how-to-unsubscribe-from-anything",
        "https://shop.example.com/" + "unsubscribe" * 10_000,
        f"https://news.example.com/link/{LINK}/{CAMPAIGN}/{READER}",
        "https://shop.example.com/?q=how+to+unsubscribe",
    ],
)
def test_interest_is_not_taken_for_a_way_out(url: str) -> None:
    assert not is_way_out(url)


@pytest.mark.parametrize(
    ("url", "counted_as"),
    [
        ("https://www.example.com/offer", "https://www.example.com/offer"),
        (" HTTPS://WWW.Example.COM/Offer?B=1&a=2#Top ", "https://www.example.com/Offer?B=1&a=2#Top"),
        ("www.example.com", "https://www.example.com"),
        ("//www.example.com/x", "https://www.example.com/x"),
        ("example.com:8443/x", "https://example.com:8443/x"),
        ("https://shop.example.com/?id=7&MC_EID=abc&x=1", "https://shop.example.com/?id=7&x=1"),
        ("https://shop.example.com/?subscriber=9", "https://shop.example.com/"),
        ("https://shop.example.com/?to=ada%40example.net&x=1", "https://shop.example.com/?x=1"),
        ("https://shop.example.com/?ada%40example.net&x=1", "https://shop.example.com/?x=1"),
        (f"https://shop.example.com/?{READER}", "https://shop.example.com/"),
        (f"https://shop.example.com/?who={READER.upper()}&x=%20y", "https://shop.example.com/?x=%20y"),
        (f"https://shop.example.com/for/{READER}/gift", f"https://shop.example.com/for/{NOBODY}/gift"),
        (
            f"https://news.example.com/campaign/{CAMPAIGN}/{LINK}",
            f"https://news.example.com/campaign/{CAMPAIGN}/{NOBODY}",
        ),
        ("mailto:shop@example.com", "mailto:shop@example.com"),
        ("http://[broken/x", "http://[broken/x"),
        ("  ", None),
        ("https://e.example.com/?x=" + "y" * LONGEST_URL, "https://e.example.com/"),
        ("https://e.example.com/" + "y" * LONGEST_URL, None),
        ("https://e.example.com/" + "\u4e2d" * 1200, None),  # 3,600 bytes
        ("https://e.example.com/?x=" + "y" * 1_000_000, None),
        (
            f"https://news.example.com/link/{LINK}/{CAMPAIGN}/{READER}",
            f"https://news.example.com/link/{LINK}/{CAMPAIGN}/{NOBODY}",
        ),
        ("https://e.example.com/u/ada@example.net/hello", "https://e.example.com/u/nobody/hello"),
        ("https://e.example.com/#email=ada@example.net", "https://e.example.com/#email=nobody"),
        ("https://e.example.com/u/ada%40example.net/hello", "https://e.example.com/u/nobody/hello"),
        ("https://e.example.com/u/ada%2540example.net", "https://e.example.com/u/nobody"),
        (
            "https://e.example.com/u/hashed-0123456789abcdef0123456789abcdef%40example.net",
            "https://e.example.com/u/nobody",
        ),
        ("https://e.example.com/a%20b/logo%402x.png", "https://e.example.com/a%20b/logo%402x.png"),
        ("https://e.example.com/?x=1&amp;mc_eid=7", "https://e.example.com/?x=1"),
        ("https://e.example.com/?to=ada%2540example.net", "https://e.example.com/"),
        ("http://[broken/x?email=ada@example.net", "http://[broken/x"),
        ("https://cdn.example.com/?img=a@2x.png", "https://cdn.example.com/?img=a@2x.png"),
        ("https://cdn.example.com/?p=lodash@4.17.21", "https://cdn.example.com/?p=lodash@4.17.21"),
        ("tel:5551234", "tel:5551234"),
        ("/relative/path", "/relative/path"),
        ("localhost:8080/x", "https://localhost:8080/x"),
    ],
)
def test_a_click_is_counted_under_one_url_for_every_reader(url: str, counted_as: str | None) -> None:
    assert canonical(url) == counted_as


@given(st.text(max_size=300))
def test_whatever_was_clicked_has_one_canonical_url_or_none(url: str) -> None:
    once = canonical(url)
    is_way_out(url)
    tracked_link(url)
    if once is not None:
        assert 0 < len(once) <= LONGEST_URL
        assert canonical(once) == once
        assert READER not in once


_ANY = "0b5c2d3e-1111-4222-8333-444455556666"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://www.example.com/2026/our-summer-offer", "https://www.example.com/2026/our-summer-offer"),
        ("https://www.example.com/a?reader=ada@example.net#token", "https://www.example.com/a"),
        (f"https://l.example.com/link/{_ANY}/{_ANY}/{_ANY}", f"https://l.example.com/link/{NOBODY}/{NOBODY}/{NOBODY}"),
        (f"https://www.example.com/x-{_ANY.upper()}.html", f"https://www.example.com/x-{NOBODY}.html"),
        (f"https://www.example.com/{_ANY.replace('-', '%2D')}", f"https://www.example.com/{NOBODY}"),
        ("https://www.example.com/u/ada@example.net/b", "https://www.example.com/u/nobody/b"),
        ("https://www.example.com/u/ada%40example.net", "https://www.example.com/u/nobody"),
        ("https://www.example.com/u/ada%2540example.net", "https://www.example.com/u/nobody"),
        ("https://www.example.com/u/ada@b%C3%BCcher.example", "https://www.example.com/u/nobody"),
        ("https://www.example.com/@author/post", "https://www.example.com/@author/post"),
        ("https://www.example.com/reset/0123456789abcdef01234567", "https://www.example.com/reset/…"),
        ("https://www.example.com/reset/c2-VjcmV0_LXRva2VuM-w", "https://www.example.com/reset/…"),
        ("https://www.example.com/a%3Fkey=x", "https://www.example.com/a"),
        ("https://www.example.com/a;jsessionid=x/b", "https://www.example.com/a/b"),
        ("https://ada:word@www.example.com:8443/a", "https://www.example.com:8443/a"),
        ("https://ada%40example.net@www.example.com", "https://www.example.com"),
        ("mailto:ada@example.net?subject=x", "mailto:nobody"),
        ("www.example.com/a", "www.example.com/a"),
        ("https://[broken/ada@example.net", "https://[broken/nobody"),
        ("", ""),
    ],
)
def test_of_a_url_people_see_the_page_and_neither_reader_nor_key(url: str, shown: str) -> None:
    assert anonymous_url(url) == shown


@pytest.mark.parametrize("part", ["a.%40", "a@", "%25", "0b5c2d3e-", "Aa1", "//", ";", "\n"])
def test_no_url_is_long_enough_to_keep_people_waiting_for_what_they_may_see_of_it(part: str) -> None:
    assert len(anonymous_url(part * 20_000)) <= 16_384
