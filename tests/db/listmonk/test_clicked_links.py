"""The link that a click is counted on: one for all readers, and none that leads out."""

from __future__ import annotations

import threading

import psycopg
from sqlalchemy import Engine

from db.results import Results
from simulator import listmonk as fake
from tests.db.listmonk.acts import OFFER, Listmonk, track
from tests.db.listmonk.counts import clicks, record, uncounted
from tests.db.rows import click, message, stored
from tests.waiting import eventually


def test_clicks_of_different_readers_share_one_link(engine: Engine, listmonk: Listmonk) -> None:
    readers = [str(uuid) for (uuid,) in listmonk.execute("SELECT uuid FROM subscribers WHERE id IN (1, 2) ORDER BY id")]
    track(engine, message("<1@example.com>", subscriber=1), message("<2@example.com>", subscriber=2))
    results = Results(personal_parameters={"uid"})
    record(
        engine,
        *(
            click(f"{n}{k}", f"<{n}@example.com>", engagement_context=url.format(n=n, reader=readers[n - 1]))
            for n in (1, 2)
            for k, url in enumerate(
                [
                    "https://shop.example.com/?uid={n}&x=1",
                    "https://SHOP.example.com/?x=1&who={reader}",
                    "https://shop.example.com/?x=1&to=reader{n}%40example.net",
                ]
            )
        ),
        results=results,
    )
    assert listmonk.execute("SELECT url FROM links").fetchall() == [("https://shop.example.com/?x=1",)]
    assert [row[:2] for row in clicks(listmonk)] == [(7, 1)] * 3 + [(7, 2)] * 3


def test_a_tracked_link_is_counted_as_the_link_it_stands_for(engine: Engine, listmonk: Listmonk) -> None:
    link = fake.link(listmonk, OFFER)
    track(engine)
    record(engine, click("c", engagement_context=fake.tracked_link(listmonk, link, 7, 12)))
    assert clicks(listmonk) == [(7, 12, OFFER)]
    assert listmonk.execute("SELECT count(*) FROM links").fetchone() == (1,)


def test_a_link_that_listmonk_registered_in_these_words_is_that_link(engine: Engine, listmonk: Listmonk) -> None:
    url = "https://www.example.com/plans?sub=basic"
    fake.link(listmonk, url)
    track(engine)
    record(engine, click("c", engagement_context=url), results=Results(personal_parameters={"sub"}))
    assert clicks(listmonk) == [(7, 12, url)]


def test_unsubscribe_clicks_and_clicks_on_nothing_are_stored_and_not_counted(
    engine: Engine, listmonk: Listmonk
) -> None:
    track(engine)
    record(
        engine,
        click("way out", uncounted="unsubscribe_link", engagement_context="https://example.com/unsubscribe"),
        click("nothing", engagement_context=" "),
        click("odd", engagement_type="hover", uncounted="unknown_type"),
    )
    assert clicks(listmonk) == []
    assert {event: why for event, (why, _) in uncounted(engine).items()} == {
        "way out": "unsubscribe_link",
        "nothing": "no_url",
        "odd": "unknown_type",
    }
    assert {state for state, *_ in stored(engine).values()} == {"attributed"}


def test_a_tracked_link_that_leads_out_is_not_counted(engine: Engine, listmonk: Listmonk) -> None:
    link = fake.link(listmonk, "https://www.example.com/unsubscribe")
    track(engine)
    record(engine, click("c", engagement_context=fake.tracked_link(listmonk, link, 7, 12)))
    assert clicks(listmonk) == []
    assert uncounted(engine) == {"c": ("unsubscribe_link", None)}


def test_readers_are_kept_out_of_links_though_the_message_names_none(engine: Engine, listmonk: Listmonk) -> None:
    readers = [str(uuid) for (uuid,) in listmonk.execute("SELECT uuid FROM subscribers WHERE id < 6")]
    track(engine, message(subscriber=None))
    urls = ["https://e.example.com/hello/{}", "https://e.example.com/?s={}", "https://e.example.com/u/{}@example.net"]
    record(
        engine,
        *(
            click(f"{n} {reader}", engagement_context=url.format(reader))
            for n, url in enumerate(urls)
            for reader in readers
        ),
    )
    assert len(readers) == 5
    assert sorted({url for *_, url in clicks(listmonk)}) == [
        "https://e.example.com/",
        "https://e.example.com/hello/00000000-0000-0000-0000-000000000000",
        "https://e.example.com/u/nobody",
    ]


def test_two_batches_adding_the_same_links_at_once_both_succeed(engine: Engine, listmonk: Listmonk) -> None:
    track(engine)
    with listmonk.transaction():  # another batch has added it and not committed yet
        listmonk.execute("INSERT INTO links (uuid, url) VALUES (gen_random_uuid(), %s)", [OFFER])
        thread = threading.Thread(target=lambda: record(engine, click("c")))
        thread.start()
        with psycopg.connect(listmonk.info.dsn, password=listmonk.info.password, autocommit=True) as observer:
            eventually(lambda: _assert_someone_waits(observer))
    thread.join(10)
    assert clicks(listmonk) == [(7, 12, OFFER)]
    assert listmonk.execute("SELECT count(*) FROM links").fetchone() == (1,)


def _assert_someone_waits(observer: Listmonk) -> None:
    assert observer.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,)
