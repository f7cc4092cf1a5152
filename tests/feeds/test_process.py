from __future__ import annotations

import asyncio
import importlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli import refusals
from cli.refusals import TEXTS, explain_refusal
from domain.errors import DomainError
from feeds.__main__ import PUBLICATION_DELAY, Popularity, Publication
from feeds.catalogue_import import CatalogueShrunkError
from settings import Settings
from store.catalogue import CHANNEL, CatalogueStore
from store.connections import open_mongodb, open_redis

START = datetime(2026, 11, 22, 8, tzinfo=UTC)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def test_changed_views_are_announced_once(mongodb_uri: str, redis_url: str, database_name: str) -> None:
    async def main() -> None:
        async with open_mongodb(mongodb_uri, 5000) as client, open_redis(redis_url, 5000) as redis:
            store = CatalogueStore(client[database_name])
            popularity = Popularity(store, redis, Clock())
            assert await popularity.refresh() is False
            await store.add_views(START.date(), {"a": 2, "b": 1})
            async with redis.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                assert await popularity.refresh() is True
                assert await popularity.refresh() is False
                revision = (await store.get_state()).revision
                # The first is the confirmation of the subscription.
                messages = [await channel.get_message(timeout=0.2) for _ in range(5)]
            assert revision == 1
            assert [each["data"] for each in messages if each and each["type"] == "message"] == [b"1"]

    asyncio.run(main())


def test_only_what_waited_for_some_time_is_published(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with open_mongodb(mongodb_uri, 5000) as client, open_redis(redis_url, 5000) as redis:
            store, clock = CatalogueStore(client[database_name]), Clock()
            publication = Publication(store, redis, Settings(home=tmp_path), clock)
            await store.set_published(1, 0, START)
            assert await publication.publish_pending() is False
            await store.mark_pending()
            assert await publication.publish_pending() is False
            clock.now += PUBLICATION_DELAY - timedelta(seconds=1)
            assert await publication.publish_pending() is False
            clock.now += timedelta(seconds=1)
            assert await publication.publish_pending() is True
            state = await store.get_state()
            assert (state.version, state.pending) == (2, False)
            assert await publication.publish_pending() is False
            # Somebody else's publication starts the wait anew.
            await store.mark_pending()
            assert await publication.publish_pending() is False
            await store.set_published(3, 0, clock.now)
            clock.now += PUBLICATION_DELAY
            assert await publication.publish_pending() is False

    asyncio.run(main())


def test_nothing_is_published_while_an_import_is_unfinished(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with open_mongodb(mongodb_uri, 5000) as client, open_redis(redis_url, 5000) as redis:
            store, clock = CatalogueStore(client[database_name]), Clock()
            publication = Publication(store, redis, Settings(home=tmp_path), clock)
            await store.set_published(1, 0, START)
            await store.mark_pending()
            load = await store.imports.begin("national", "file:1", now=START)
            await store.imports.release(load, now=START)
            for _ in range(3):
                assert await publication.publish_pending() is False
                clock.now += PUBLICATION_DELAY
            assert (await store.get_state()).version == 1
            await store.imports.finish(load, {}, now=clock.now)
            assert await publication.publish_pending() is False
            clock.now += PUBLICATION_DELAY
            assert await publication.publish_pending() is True
            assert (await store.get_state()).version == 2

    asyncio.run(main())


def test_every_refusal_of_feeds_and_store_is_explained() -> None:
    root = Path(refusals.__file__).parents[1]
    for package in ("feeds", "store"):
        for path in (root / package).glob("*.py"):
            importlib.import_module(f"{package}.{path.stem}")
    codes = {
        error.code
        for error in DomainError.__subclasses__()
        if error.__module__.split(".")[0] in {"feeds", "store"}
    }
    assert codes <= set(TEXTS)
    error = CatalogueShrunkError(feed="national", missing=30, items=100)
    assert explain_refusal(error) == (
        "This full load lacks 30 of the 100 items of feed national. "
        "None was withdrawn; add --force if they are really gone."
    )
