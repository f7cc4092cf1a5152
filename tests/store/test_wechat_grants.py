"""One-time consents: each report counts once, each message takes one, never more than there are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from domain.devices import MAX_GRANTS
from store.connections import open_mongodb
from store.wechat_grants import WechatGrantStore

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)


def with_store(uri: str, name: str, work: Callable[[WechatGrantStore], Awaitable[None]]) -> None:
    async def main() -> None:
        async with open_mongodb(uri, 20_000) as client:
            store = WechatGrantStore(client[name])
            await store.ensure_indexes()
            await work(store)

    asyncio.run(main())


def test_a_report_counts_once_and_a_message_takes_one(mongodb_uri: str, database_name: str) -> None:
    async def work(store: WechatGrantStore) -> None:
        assert await store.consume("o1", "t1", now=NOW) is False
        assert await store.grant("o1", "a", ["t1", "t2"], key="k1", now=NOW) == {"t1": 1, "t2": 1}
        assert await store.grant("o1", "a", ["t1", "t2"], key="k1", now=NOW) == {"t1": 1, "t2": 1}
        assert await store.grant("o1", "a", ["t1"], key="k2", now=NOW) == {"t1": 2}
        assert await store.get_left("o2", "t1") == 0
        taken = [await store.consume("o1", "t1", now=NOW) for _ in range(3)]
        assert taken == [True, True, False]
        await store.give_back("o1", "t1")
        assert await store.get_left("o1", "t1") == 1
        await store.clear("o1", "t1")
        assert await store.consume("o1", "t1", now=NOW) is False
        assert await store.get_left("o1", "t2") == 1

    with_store(mongodb_uri, database_name, work)


def test_no_more_are_taken_than_there_are_whoever_asks_at_once(mongodb_uri: str, database_name: str) -> None:
    async def work(store: WechatGrantStore) -> None:
        reports = [store.grant("o1", "a", ["t1"], key=f"k{number}", now=NOW) for number in range(5)]
        await asyncio.gather(*reports)
        assert await store.get_left("o1", "t1") == 5
        taken = await asyncio.gather(*(store.consume("o1", "t1", now=NOW) for _ in range(12)))
        assert sum(taken) == 5
        assert await store.get_left("o1", "t1") == 0

    with_store(mongodb_uri, database_name, work)


def test_consents_are_bounded(mongodb_uri: str, database_name: str) -> None:
    async def work(store: WechatGrantStore) -> None:
        for number in range(MAX_GRANTS + 3):
            await store.grant("o1", "a", ["t1"], key=f"k{number}", now=NOW)
        assert await store.get_left("o1", "t1") == MAX_GRANTS
        await store.give_back("o1", "t1")
        assert await store.get_left("o1", "t1") == MAX_GRANTS

    with_store(mongodb_uri, database_name, work)


def test_an_account_is_shown_and_erased_with_its_consents(mongodb_uri: str, database_name: str) -> None:
    async def work(store: WechatGrantStore) -> None:
        await store.grant("o1", "a", ["t1"], key="k1", now=NOW)
        await store.grant("o2", "b", ["t1"], key="k2", now=NOW)
        assert await store.export_account("a") == [
            {"_id": "o1:t1", "account_id": "a", "left": 1, "changed_at": NOW}
        ]
        assert await store.erase_account("a", now=NOW) == 1
        assert await store.export_account("a") == []
        assert await store.get_left("o2", "t1") == 1

    with_store(mongodb_uri, database_name, work)
