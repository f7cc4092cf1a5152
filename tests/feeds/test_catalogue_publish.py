from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from redis.asyncio import Redis

from domain.catalogue import ServiceItem
from feeds import catalogue_publish
from feeds.catalogue_import import import_catalogue
from feeds.catalogue_publish import PublicationRunningError, publish_catalogue
from feeds.catalogue_sources import GeneratedSource
from feeds.demo.catalogue import generate
from loaders.catalogue_snapshot import CatalogueSnapshot
from operations.catalogue import restore_items, withdraw_items
from store.catalogue import CHANNEL, CatalogueStore, VersionConflictError
from store.connections import open_mongodb, open_redis

T = TypeVar("T")
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def _run(uri: str, url: str, name: str, act: Callable[[CatalogueStore, Redis], Awaitable[T]]) -> T:
    async def run() -> T:
        async with open_mongodb(uri, 30_000) as client, open_redis(url, 5_000) as redis:
            store = CatalogueStore(client[name])
            source = GeneratedSource("demo", partial(generate, 1, limit=300), fingerprint="demo")
            await import_catalogue(source, "national", store)
            return await act(store, redis)

    return asyncio.run(run())


def _open(home: Path, version: int) -> CatalogueSnapshot:
    return CatalogueSnapshot.open(home / "snapshots" / f"catalogue-{version}")


def test_publishing_brings_versions_and_keeps_two(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path
) -> None:
    async def act(store: CatalogueStore, redis: Redis) -> None:
        assert (await store.get_state()).pending
        async with redis.pubsub() as channel:
            await channel.subscribe(CHANNEL)
            await channel.get_message(timeout=1)
            told: list[int] = []
            for version in (1, 2, 3):
                assert (
                    await publish_catalogue(store, redis, tmp_path, now=NOW, progress=told.append) == version
                )
            state = await store.get_state()
            assert (state.version, state.revision, state.item_count) == (3, 3, 300)
            assert (state.published_at, state.pending) == (NOW, False)
            assert told
            heard = [await channel.get_message(timeout=1) for _ in range(3)]
            assert b"3" in [message["data"] for message in heard if message]
        await store.open_snapshot(3, tmp_path / "elsewhere")

    _run(mongodb_uri, redis_url, database_name, act)
    names = {path.name for path in (tmp_path / "snapshots").iterdir()}
    assert names == {"catalogue-2", "catalogue-3", ".publish.lock"}
    item = next(generate(1, limit=300))
    for snapshot in (_open(tmp_path, 3), CatalogueSnapshot.open(tmp_path / "elsewhere")):
        view = snapshot.item(item["row_guid"])
        assert view is not None
        assert view.name == item["task_name"]


def test_what_is_withdrawn_while_building_stays_hidden(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = (row["row_guid"] for row in list(generate(1, limit=300))[:2])

    async def act(store: CatalogueStore, redis: Redis) -> None:
        assert await publish_catalogue(store, redis, tmp_path, now=NOW) == 1
        assert await withdraw_items(store, redis, [early], now=NOW + timedelta(minutes=1)) == 1
        assert (await store.get_state()).withdrawn == {early}
        save = store.save_snapshot

        async def withdraw_before(version: int, directory: Path) -> None:
            await withdraw_items(store, redis, [late], now=NOW + timedelta(minutes=11))
            await save(version, directory)

        with monkeypatch.context() as patch:
            patch.setattr(store, "save_snapshot", withdraw_before)
            assert await publish_catalogue(store, redis, tmp_path, now=NOW + timedelta(minutes=10)) == 2
        state = await store.get_state()
        assert (state.withdrawn, state.item_count) == ({late}, 299)
        assert await restore_items(store, redis, [late, early]) == 2
        state = await store.get_state()
        assert (state.withdrawn, state.pending) == (frozenset(), True)
        assert await publish_catalogue(store, redis, tmp_path, now=NOW + timedelta(minutes=20)) == 3
        assert (await store.get_state()).item_count == 300

    _run(mongodb_uri, redis_url, database_name, act)


def test_a_failure_leaves_the_old_version(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(store: CatalogueStore, redis: Redis) -> None:
        await publish_catalogue(store, redis, tmp_path, now=NOW)
        before = await store.get_state()

        def broken(*_: object, **__: object) -> None:
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(catalogue_publish, "build_snapshot", broken)
            with pytest.raises(OSError, match="disk full"):
                await publish_catalogue(store, redis, tmp_path, now=NOW)
        assert await store.get_state() == before
        assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {"catalogue-1", ".publish.lock"}
        with pytest.raises(VersionConflictError):
            await store.set_published(1, 5, NOW)
        assert await store.get_state() == before
        assert await publish_catalogue(store, redis, tmp_path, now=NOW) == 2

    _run(mongodb_uri, redis_url, database_name, act)


# The builder's files are closed by the collector, which says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cancelled_publication_leaves_the_old_version(
    mongodb_uri: str, redis_url: str, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(store: CatalogueStore, redis: Redis) -> None:
        begun, never = asyncio.Event(), asyncio.Event()

        async def stuck() -> AsyncIterator[ServiceItem]:
            begun.set()
            await never.wait()
            raise AssertionError
            yield

        with monkeypatch.context() as patch:
            patch.setattr(store, "iterate_items", stuck)
            build = asyncio.create_task(publish_catalogue(store, redis, tmp_path, now=NOW))
            await begun.wait()
            with pytest.raises(PublicationRunningError):
                await publish_catalogue(store, redis, tmp_path, now=NOW)
            build.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(build, 20)
        assert (await store.get_state()).version == 0
        assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {".publish.lock"}
        assert await publish_catalogue(store, redis, tmp_path, now=NOW) == 1

    _run(mongodb_uri, redis_url, database_name, act)
