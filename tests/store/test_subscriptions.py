"""Subscriptions: once per account and topic, listed by shards, bounded, forgotten with the account."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import SHARDS, shard_of
from domain.messages import InvalidTopicError
from store import subscriptions
from store.connections import open_mongodb
from store.subscriptions import SubscriptionStore, TooManySubscriptionsError, shards_of_part

NOW = datetime(2026, 11, 22, 4, tzinfo=UTC)


def test_subscriptions_of_an_account(
    mongodb_uri: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MAX_TOPICS_PER_ACCOUNT", 3)

    async def main() -> None:
        async with open_mongodb(mongodb_uri, 20_000) as client:
            store = SubscriptionStore(client[database_name])
            await store.ensure_indexes()
            assert await store.subscribe("ann", "stop:1")
            assert not await store.subscribe("ann", "stop:1")
            assert await store.subscribe("ann", "route:1")
            assert await store.subscribe("bob", "stop:1")
            with pytest.raises(InvalidTopicError):
                await store.subscribe("ann", "nothing")
            assert await store.subscribe("ann", "item:1")
            with pytest.raises(TooManySubscriptionsError):
                await store.subscribe("ann", "item:2")
            assert await store.list_topics("ann") == ["item:1", "route:1", "stop:1"]
            assert await store.estimate(["stop:1", "route:1", "item:9"]) == 3
            both = await store.list_accounts(["stop:1", "route:1"], 0, SHARDS)
            assert sorted(both) == ["ann", "bob"]
            shard = shard_of("ann")
            assert "ann" in await store.list_accounts(["route:1"], shard, shard + 1)
            assert await store.list_accounts(["route:1"], shard + 1, SHARDS) == []
            await store.load("stop:1", ["ann", "eve", "bob"])
            assert sorted(await store.list_accounts(["stop:1"], 0, SHARDS)) == ["ann", "bob", "eve"]
            topics = ["item:1", "route:1", "stop:1"]
            assert await store.export_account("ann") == [{"topic": topic} for topic in topics]
            assert await store.erase_account("ann", now=NOW) == 3
            assert await store.erase_account("ann", now=NOW) == 0
            assert await store.list_topics("ann") == []
            assert sorted(await store.list_accounts(["stop:1"], 0, SHARDS)) == ["bob", "eve"]

    asyncio.run(main())


@given(st.integers(0, 12))
def test_parts_cover_every_shard_once(power: int) -> None:
    splits = 1 << power
    covered = [shard for part in range(splits) for shard in range(*shards_of_part(part, splits))]
    assert covered == list(range(SHARDS))
